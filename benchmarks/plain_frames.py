"""Frame averaging written down as it is described, one frame after the other: the baseline.

    OMP_NUM_THREADS=1 python benchmarks/plain_frames.py --repeats 5

Tensors are (B, C, N) and (B, C, N, K) as in the published codes, every layer is a 1x1 convolution
on all points or edges, each frame looks for neighbours anew. It takes the weights of `pcinv`'s
networks and must give the same logits. Run as a program it times both by turns: the fastest of the
repeats, with the slowest behind it, in CPU time of the process, which other work on the machine
disturbs less. One frame after the other has batch statistics of its own for each in training, so
the logits are compared in inference; "one frame drawn" is a quarter of the work of the baseline.
"""

import argparse
import time
from copy import deepcopy

import torch
import torch.nn.functional as F

from pcinv.models.registry import create_model


def frames(xyz):
    """Principal axes of (B, N, 3) with the four signs of det +1, longest first: (B, 4, 3, 3)."""
    local = xyz.double() - xyz.double().mean(1, keepdim=True)
    _, axes = torch.linalg.eigh(local.transpose(1, 2) @ local)
    axes = axes.flip(-1)
    axes = axes * torch.linalg.det(axes)[:, None, None].sign()
    signs = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=axes.dtype)
    return axes[:, None] * signs[None, :, None]


def layer(block, x, slope, last=False):
    """1x1 convolution, batch norm, activation on (B, C, ...)."""
    weight = block.linear.weight.view(*block.linear.weight.shape, *([1] * (x.dim() - 2)))
    convolve = {3: F.conv1d, 4: F.conv2d}.get(x.dim(), F.linear)
    x = convolve(x, block.linear.weight if x.dim() == 2 else weight, block.linear.bias)
    norm = block.norm
    x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias,
                     norm.training, norm.momentum, norm.eps)
    return x if last else F.leaky_relu(x, slope)


def row_head(head, x):
    for block in head.hidden:
        x = F.dropout(layer(block, x, head.slope), head.dropout.p, head.training)
    return head.last(x)


def point_head(head, x, told=None):
    """x: (B, C, N) -> (B, N, outputs)."""
    if told is not None:
        x = torch.cat([x, told[:, :, None].expand(-1, -1, x.shape[2])], 1)
    x = F.dropout(layer(head.first, x, head.slope), head.dropout.p, head.training)
    for block in head.rest:
        x = layer(block, x, head.slope)
    x = F.dropout(x, head.dropout.p, head.training)
    return head.last(x.transpose(1, 2))


def pointnet(body, xyz, told=None):
    x, seen = xyz.transpose(1, 2), []
    for block in body.layers:
        x = layer(block, x, 0.0)
        seen.append(x)
    if body.task == "classification":
        return row_head(body.head, layer(body.top, x, 0.0).amax(2))
    x = layer(body.top, x, 0.0, last=True)
    pooled = x.amax(2, keepdim=True).expand_as(x)
    return point_head(body.head, torch.cat([pooled, *seen, x], 1), told)


def edges(x, k, graph=None):
    """x: (B, C, N) -> [x_j - x_i, x_i] (B, 2C, N, K)."""
    points = x.transpose(1, 2)
    index = torch.cdist(points, points).topk(k, largest=False).indices if graph is None else graph
    rows = torch.arange(len(x))[:, None, None]
    near = points[rows, index]  # (B, N, K, C)
    own = points[:, :, None].expand_as(near)
    return torch.cat([near - own, own], 3).permute(0, 3, 1, 2), index


def dgcnn(body, xyz, told=None):
    x, seen, graph = xyz.transpose(1, 2), [], None
    k = min(body.sizes.neighbours, xyz.shape[1])
    for conv in body.convs:
        e, found = edges(x, k, None if body.sizes.dynamic else graph)
        graph = found if graph is None else graph
        for block in conv.layers:
            e = layer(block, e, 0.2)
        x = e.mean(3) if conv.pool == "mean" else e.amax(3)
        seen.append(x)
    own = [xyz.transpose(1, 2)] if body.sizes.keep_points else []
    wide = layer(body.embedding, torch.cat([*own, *seen], 1), 0.2)
    if body.task == "classification":
        return row_head(body.head, torch.cat([wide.amax(2), wide.mean(2)], 1))
    pooled = wide.mean(2) if body.sizes.edge_pool == "mean" else wide.amax(2)
    pooled = pooled[:, :, None].expand(-1, -1, xyz.shape[1])
    out = point_head(body.head, torch.cat([pooled, *seen], 1), told)
    return 2 * out.sigmoid() - 1 if body.task == "normals" else out


def forward(model, xyz, count=None):
    """The mean of the logits over the frames; `count`: only so many of them."""
    body = model.body
    run = dgcnn if hasattr(body, "convs") else pointnet
    local = xyz.double() - xyz.double().mean(1, keepdim=True)
    if model.symmetry == "SIM(3)":
        local = local / local.square().sum(2).mean(1).sqrt()[:, None, None]
    axes = frames(xyz)[:, :count]
    total = 0
    for o in range(axes.shape[1]):
        out = run(body, (local @ axes[:, o]).to(xyz.dtype))
        if model.task == "normals":
            out = out @ axes[:, o].transpose(1, 2).to(out)
        total = total + out
    return total / axes.shape[1]


def make_batch(count, points):
    """Bumpy ellipsoids with clear axes."""
    g = torch.Generator().manual_seed(0)
    direction = F.normalize(torch.randn(count, points, 3, generator=g), dim=-1)
    bumps = 1 + 0.2 * (4 * direction[..., :1] + 2 * direction[..., 1:2]).sin()
    return direction * bumps * torch.tensor([1.0, 0.7, 0.4])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--names", nargs="+", default=["fa_pointnet", "fa_dgcnn"])
    parser.add_argument("--presets", nargs="+", default=["light", "paper"])
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
          f"{options.batch} clouds of {options.points} points\n")
    print("| network | preset | work | pcinv ms a cloud | one by one | ratio | differ by |")
    print("| --- " * 7 + "|")
    xyz = make_batch(options.batch, options.points)
    target = torch.arange(len(xyz)) % 40
    for name in options.names:
        for preset in options.presets:
            torch.manual_seed(0)
            every = create_model(name, preset=preset, dropout=0.0, draws=0)
            one = create_model(name, preset=preset, dropout=0.0)
            one.load_state_dict(every.state_dict())
            plain = deepcopy(every)

            def step(run, model):
                model.zero_grad(set_to_none=True)
                logits = run(xyz)
                F.cross_entropy(logits, target).backward()
                return logits.detach()

            def look(run, model):
                with torch.inference_mode():
                    return run(xyz)

            for work, act, mine, training in (
                ("inference", look, every, False), ("training, all frames", step, every, True),
                ("training, one frame drawn", step, one, True),
            ):
                mine.train(training), plain.train(training)
                runs = (lambda: act(mine, mine),  # noqa: B023
                        lambda: act(lambda x: forward(plain, x), plain))  # noqa: B023
                answers = [run() for run in runs]
                times = ([], [])
                for _ in range(options.repeats):
                    for spent, run in zip(times, runs, strict=True):
                        start = time.process_time()
                        run()
                        spent.append((time.process_time() - start) / len(xyz) * 1e3)
                shown = [f"{min(t):.1f} ({max(t):.1f})" for t in times]
                differ = float((answers[0] - answers[1]).abs().max() / answers[1].abs().max())
                same = "" if training else f"{differ:.0e}"
                print(f"| {name} | {preset} | {work} | {shown[0]} | {shown[1]} | "
                      f"{min(times[1]) / min(times[0]):.1f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
