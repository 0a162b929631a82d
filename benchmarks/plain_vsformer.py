"""Time VSFormer against drawing one picture after the other by scattering.

    python benchmarks/plain_vsformer.py --threads 1 --batch 32 --repeats 5
    python benchmarks/plain_vsformer.py --preset paper --batch 2 --repeats 2

One process, both by turns; each figure is the fastest of the repeats with the slowest behind it.
The logits must agree. The layers are torch's own in both: what differs is the drawing.
"""

import argparse
import time

import torch
import torch.nn.functional as F

from pcinv.geometry.pca_frames import pca_frames
from pcinv.models.registry import create_model
from pcinv.nn.splat import FAINT, SURFACE, cameras


def draw_one(xyz, normal, axes, pixels, radius):
    """(N, 3) points and normals, (3, 3) right, up, back -> (2, H, H), as `pcinv.nn.splat` says."""
    place = xyz @ axes
    centre = (place[:, :2] + 1) / 2 * (pixels - 1)
    near, shade = 0.1 + 0.45 * (place[:, 2] + 1), (normal.double() @ axes[:, 2]).abs()
    reach = int(radius + 0.5)
    side = torch.arange(-reach, reach + 1)
    pixel = centre.round().long()[:, None] + torch.cartesian_prod(side, side)  # (N, K, 2)
    cover = (radius - (centre[:, None] - pixel).norm(dim=-1)).clamp(0, 1)
    column, row = pixel.unbind(-1)
    is_inside = (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)
    index, cover = ((pixels - 1 - row) * pixels + column)[is_inside], cover[is_inside]
    point = torch.arange(len(xyz))[:, None].expand_as(is_inside)[is_inside]
    value = cover * near[point]
    empty = torch.zeros(pixels**2, dtype=value.dtype)
    front = empty.scatter_reduce(0, index, value, "amax")
    shown = cover * (1 - (front[index] - value) / SURFACE).clamp_min(0)
    facing = empty.scatter_add(0, index, shown * shade[point])
    facing = facing / (empty.scatter_add(0, index, shown) + FAINT)
    return torch.stack([front, facing]).view(2, pixels, pixels)


def pictures(model, xyz, normal):
    """Draw each view of each cloud by itself."""
    hyper, all_views = model.hyper, []
    frames = pca_frames(xyz, group="SE3")
    for cloud, axes, frame, centre in zip(xyz.double(), normal, frames.axes, frames.centre,
                                          strict=True):
        local = cloud - centre
        local = local / local.norm(dim=-1).max()
        all_views.append(torch.stack([
            draw_one(local, axes, sign @ camera, hyper.pixels, hyper.radius)
            for sign in frame for camera in cameras(hyper.cameras)]))
    return torch.stack(all_views).float()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="light", choices=("light", "paper"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = create_model("vsformer", preset=options.preset)
    normal = F.normalize(torch.randn(options.batch, options.points, 3), dim=-1)
    xyz = normal * torch.tensor([1.0, 0.7, 0.4]) * (0.9 + 0.1 * torch.rand(*normal.shape[:2], 1))
    ways = {"pcinv": lambda: model.pictures(xyz, normal),
            "plain": lambda: pictures(model, xyz, normal)}

    def run(draw, is_training):
        start = time.perf_counter()
        if is_training:
            model.train().zero_grad(set_to_none=True)
            logits = model.forward_head(model.describe(draw()))
            logits.square().mean().backward()
        else:
            with torch.inference_mode():
                logits = model.eval().forward_head(model.describe(draw()))
        return time.perf_counter() - start, logits.detach()

    for is_training in (False, True):
        times = {name: [] for name in ways}
        for _ in range(options.repeats):
            answers = {}
            for name, draw in ways.items():
                seconds, answers[name] = run(draw, is_training)
                times[name].append(seconds)
            if not is_training:
                torch.testing.assert_close(answers["pcinv"], answers["plain"], rtol=1e-3, atol=1e-4)
        drawn = min(run_alone(ways["pcinv"]) for _ in range(options.repeats))
        fastest = {name: min(values) for name, values in times.items()}
        what = "training step" if is_training else "inference"
        shown = ", ".join(f"{name} {1e3 * fastest[name]:.0f} ms (to {1e3 * max(values):.0f})"
                          for name, values in times.items())
        print(f"{options.preset}, {what}, {options.batch} clouds: {shown}; "
              f"{fastest['plain'] / fastest['pcinv']:.2f} times as fast; "
              f"drawing alone {1e3 * drawn:.0f} ms", flush=True)


def run_alone(draw):
    start = time.perf_counter()
    draw()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
