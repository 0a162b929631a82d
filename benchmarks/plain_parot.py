"""PaRot written down layer by layer, as its sheet describes it: the baseline.

    OMP_NUM_THREADS=1 python benchmarks/plain_parot.py --repeats 5

Tensors are (M, C, K) and (B, C, S, K), every layer is a 1x1 convolution, every edge is put together
before it is mapped, samples and neighbours come from plain torch. It takes the weights of `pcinv`'s
network, with computed or predicted frames, and must give the same logits. Run as a program it times
both by turns: the fastest of the repeats, with the slowest behind it, in CPU time of the process.
"published" is the published computation at the same sizes: predicted frames, with a second branch
that evaluation runs too. Training in pcinv tells the C library to keep freed memory, evaluation
does not, and a plain script does neither: `--memory` says how all of one run handle it.
"""

import argparse
import time
from copy import deepcopy

import torch
import torch.nn.functional as F

from pcinv.engine.memory import keep_freed_memory
from pcinv.geometry.rotation import random_rotation
from pcinv.models.registry import create_model

SLOPE = 0.2


def layer(block, x, slope=0.0):
    """1x1 convolution, batch norm, activation on (R, C), (M, C, K) or (B, C, S, K)."""
    weight, norm = block.linear.weight, block.norm
    weight = weight.view(*weight.shape, *([1] * (x.dim() - 2)))
    x = {2: F.linear, 3: F.conv1d, 4: F.conv2d}[x.dim()](x, weight)
    x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias,
                     norm.training, norm.momentum, norm.eps)
    return F.leaky_relu(x, slope) if slope else F.relu(x)


def farthest(xyz, count):
    """Greedy farthest point samples from the outermost point on."""
    rows = torch.arange(len(xyz))
    last = xyz.norm(dim=-1).argmax(1)
    nearest2 = torch.full_like(xyz[..., 0], torch.inf)
    found = []
    for _ in range(count):
        found.append(last)
        nearest2 = torch.minimum(nearest2, (xyz - xyz[rows, last][:, None]).square().sum(-1))
        last = nearest2.argmax(1)
    return torch.stack(found, 1)


def pick(values, index):
    """values (B, N, ...), index (B, S) or (B, S, K) -> (B, S, ..) or (B, S, K, ...)."""
    rows = torch.arange(len(values)).view(-1, *([1] * (index.dim() - 1)))
    return values[rows, index]


def nearest(query, points, k):
    return torch.cdist(query, points, compute_mode="donot_use_mm_for_euclid_dist").topk(
        min(k, points.shape[1]), largest=False).indices


def gram_schmidt(first, second):
    """Rows of a rotation: along the first vector, in the plane of both, across."""
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (second * x).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -2)


def computed_frames(centre, near):
    """The formulas of `pcinv.models.parot_parts.exact_frames`."""
    distance = near.norm(dim=-1)
    radius = distance.amax(-1, keepdim=True)
    weight = (radius - distance) / (radius - distance).sum(-1, keepdim=True)
    mean = (weight[..., None] * near).sum(2) / radius
    spread = torch.einsum("bsk,bski,bskj->bsij", weight, near, near)
    spread = spread / spread.diagonal(dim1=2, dim2=3).sum(-1)[..., None, None]
    out = centre / centre.norm(dim=-1).amax(1)[:, None, None]
    normal = torch.linalg.solve(spread + 0.001 * torch.eye(3).to(spread), out[..., None])[..., 0]
    normal = F.normalize(normal, dim=-1)
    return gram_schmidt(normal, mean), gram_schmidt(out, normal + mean)


def point_net(net, patch):
    """(M, K, 3) -> content (M, C), directions (M, 2, 3) or None."""
    x = patch.transpose(1, 2)
    for block in net.points:
        x = layer(block, x)
    f = layer(net.top, x).amax(2)
    z = f
    for block in net.content:
        z = layer(block, z)
    found = []
    for hidden, last in zip(net.hidden, net.last, strict=True):
        d = f
        for block in hidden:
            d = layer(block, d)
        found.append(F.normalize(last(d), dim=-1))
    return z, torch.stack(found, 1) if found else None


def pose(a, b, offset):
    """[A B^T, A t, B t, |t|], batch first, components last."""
    length = offset.norm(dim=-1, keepdim=True)
    unit = offset / length.clamp_min(1e-30)
    turn = a @ b.transpose(-1, -2)
    seen = [(o @ unit[..., None])[..., 0] for o in (a, b)]
    return torch.cat([turn.flatten(-2), *seen, length], -1)


def edges(z, centre, frame, k):
    """The tensor of all pairs of patches, (B, 2 C + 16, S, K)."""
    index = nearest(centre, centre, k)
    theirs = pick(z, index)
    own = z[:, :, None].expand_as(theirs)
    mine = frame[:, :, None].expand(-1, -1, index.shape[2], -1, -1)
    other = pick(frame, index)
    lie = pose(mine, other, pick(centre, index) - centre[:, :, None])
    turn = lie[..., :9].unflatten(-1, (3, 3)).transpose(-1, -2).flatten(-2)  # O_j O_i^T
    return torch.cat([theirs, theirs - own, turn, lie[..., 9:]], -1).permute(0, 3, 1, 2)


def pair_net(net, x, slope):
    """(B, C + pose, S, K) -> (B, C, S, K)."""
    e = layer(net.embed, x[:, net.carried :], slope)
    x = layer(net.first, torch.cat([x[:, : net.carried], e], 1))
    for block in net.inner:
        x = layer(block, x)
    return layer(net.top, x)


def frames_of(model, centre, patches, published):
    """Frames and contents of both scales, and the sum of the losses of predicted frames."""
    hyper, nets = model.hyper, (model.near, model.whole)
    b, s = centre.shape[:2]
    if model.is_exact:
        frames = computed_frames(centre.double(), patches[0].double())
        frames = [o.to(centre) for o in frames]
        contents = [point_net(net, (p @ o.transpose(-1, -2)).flatten(0, 1))[0]
                    for net, p, o in zip(nets, patches, frames, strict=True)]
        return frames, contents, 0.0
    frames, contents, total = [], [], 0.0
    for i, (net, patch) in enumerate(zip(nets, patches, strict=True)):
        patch = patch.flatten(0, 1)
        one = torch.eye(3).to(patch).expand(len(patch), 3, 3)
        turns = [random_rotation(len(patch), dtype=patch.dtype) if model.training else one
                 for _ in range(2)]
        branches = [point_net(net, patch @ turn)
                    for turn in (turns if model.training or published else turns[:1])]
        d1 = branches[0][1] @ turns[0].transpose(1, 2)
        if len(branches) > 1:
            d2 = branches[1][1] @ turns[1].transpose(1, 2)
            total = (total + hyper.equivariance[i] * (d1 - d2).square().mean()
                     + hyper.orthogonality[i] * (d1[:, 0] * d1[:, 1]).sum(-1).square().mean())
        frames.append(gram_schmidt(d1[:, 0], d1[:, 1]).view(b, s, 3, 3))
        contents.append(branches[0][0])
    return frames, contents, total


def forward(model, xyz, category=None, *, published=False):
    """Logits, and the sum of the losses of predicted frames."""
    hyper = model.hyper
    xyz = (xyz.double() - xyz.double().mean(1, keepdim=True)).to(next(model.parameters()).dtype)
    n = xyz.shape[1]
    s, g = min(hyper.patches, n), min(hyper.whole, n)
    order = farthest(xyz, max(s, g))
    centre, few = pick(xyz, order[:, :s]), pick(xyz, order[:, :g])
    near = pick(xyz, nearest(centre, xyz, hyper.near)) - centre[:, :, None]
    whole = few[:, None] - centre[:, :, None]
    frames, (z, of_whole), losses = frames_of(model, centre, (near, whole), published)
    z, of_whole = (v.view(len(xyz), s, -1) for v in (z, of_whole))
    pairs = edges(z, centre, frames[0], hyper.neighbours)
    of_near = pair_net(model.intra.pairs, pairs, 0.0).amax(3)  # (B, C, S)
    lie = pose(*frames, centre)
    lie = torch.cat([lie[..., 15:], lie[..., :15]], -1).transpose(1, 2)  # (B, 16, S)
    own = torch.cat([of_near, of_whole.transpose(1, 2)], 1)
    x = torch.cat([own, layer(model.embed, lie, SLOPE)], 1)
    for block in model.encoder:
        x = layer(block, x, SLOPE)
    cloud = x.amax(2)
    if model.task == "classification":
        head = model.head
        for block in head.hidden:
            cloud = F.dropout(layer(block, cloud, SLOPE), head.dropout.p, model.training)
        return head.last(cloud), losses
    x = torch.cat([cloud[:, :, None].expand(-1, -1, s), own,
                   layer(model.embed_root, lie, SLOPE)], 1)
    for block in model.root:
        x = layer(block, x)
    head = model.head
    index = nearest(xyz, centre, hyper.nearest)  # (B, N, K)
    offset = xyz[:, :, None] - pick(centre, index)
    length = offset.norm(dim=-1, keepdim=True)
    unit = (offset / length.clamp_min(1e-30))[..., None]
    seen = [(pick(o, index) @ unit)[..., 0] for o in frames]
    parts = [pick(x.transpose(1, 2), index)]
    if category is not None:
        told = F.one_hot(category, model.num_categories).to(x)
        parts.append(told[:, None, None].expand(-1, n, index.shape[2], -1))
    pairs = torch.cat([*parts, length, *seen], -1).permute(0, 3, 1, 2)
    x = pair_net(head.pairs, pairs, SLOPE).sum(3)  # (B, C, N)
    for block in head.head:
        x = layer(block, x)
    x = F.dropout(x, head.dropout.p, model.training)
    return head.last(x.transpose(1, 2)), losses


def make_batch(count, points):
    """Bumpy ellipsoids in the unit ball."""
    g = torch.Generator().manual_seed(0)
    direction = F.normalize(torch.randn(count, points, 3, generator=g), dim=-1)
    bumps = 1 + 0.2 * (4 * direction[..., :1] + 2 * direction[..., 1:2]).sin()
    xyz = direction * bumps * torch.tensor([1.0, 0.7, 0.4])
    return xyz / xyz.norm(dim=-1).amax()


def contestants(task, preset, xyz, training):
    """Name -> function without arguments that gives logits."""
    is_parts = task == "part_segmentation"
    sizes = {"num_classes": 50, "num_categories": 16} if is_parts else {"num_classes": 40}
    target = torch.arange(len(xyz)) % 40
    target = target[:, None].expand(-1, xyz.shape[1]) if is_parts else target
    told = torch.arange(len(xyz)) % 16 if is_parts else None
    torch.manual_seed(0)
    model = create_model("parot", task=task, preset=preset, dropout=0.0, **sizes)
    plain = deepcopy(model)
    old = create_model("parot", task=task, preset=preset, dropout=0.0, frames="learned", **sizes)

    def act(module, run):
        module.train(training)
        if not training:
            with torch.inference_mode():
                return run()[0]
        module.zero_grad(set_to_none=True)
        logits, losses = run()
        (F.cross_entropy(logits.flatten(0, -2), target.flatten()) + losses).backward()
        return logits.detach()

    def run_pcinv():
        return act(model, lambda: (model(xyz, category=told), 0.0))

    def run_plain():
        return act(plain, lambda: forward(plain, xyz, told))

    def run_published():
        return act(old, lambda: forward(old, xyz, told, published=True))

    return {"pcinv": run_pcinv, "plain": run_plain, "published": run_published}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--presets", nargs="+", default=["light", "paper"])
    parser.add_argument("--tasks", nargs="+", default=["classification"])
    parser.add_argument("--work", nargs="+", default=["inference", "training"])
    parser.add_argument("--memory", choices=("default", "kept"), default="default")
    options = parser.parse_args()
    if options.memory == "kept":
        keep_freed_memory()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.batch} clouds "
          f"of {options.points} points, {options.repeats} repeats, memory {options.memory}\n")
    print("| task | preset | work | pcinv, CPU ms a cloud | layer by layer | ratio | published"
          " | ratio | differ by |")
    print("| --- " * 9 + "|")
    xyz = make_batch(options.batch, options.points)
    for task in options.tasks:
        for preset in options.presets:
            for work in options.work:
                runs = contestants(task, preset, xyz, work == "training")
                logits = {who: run() for who, run in runs.items()}
                times = {who: [] for who in runs}
                for _ in range(options.repeats):
                    for who, run in runs.items():
                        start = time.process_time()
                        run()
                        times[who].append((time.process_time() - start) / len(xyz) * 1e3)
                best = {who: min(t) for who, t in times.items()}
                shown = {who: f"{min(t):.1f} ({max(t):.1f})" for who, t in times.items()}
                differ = float((logits["pcinv"] - logits["plain"]).abs().max()
                               / logits["plain"].abs().max())
                print(f"| {task} | {preset} | {work} | {shown['pcinv']} | {shown['plain']} | "
                      f"{best['plain'] / best['pcinv']:.1f} | {shown['published']} | "
                      f"{best['published'] / best['pcinv']:.1f} | {differ:.0e} |", flush=True)


if __name__ == "__main__":
    main()
