"""Compare ways to write a rotation as the output of a network (Zhou et al., CVPR 2019, section 5).

    python benchmarks/rotation_representations.py                       # both: half an hour
    python benchmarks/rotation_representations.py sanity --seeds 0 1 2  # 6,000 steps each
    python benchmarks/rotation_representations.py clouds --steps 4000 --representations 6d euler

sanity : a small network is shown a rotation matrix and has to give the same rotation, whatever it
    is; 20,000 rotations of the test are measured. With 6,000 steps it says whether 6D stays below
    0.8 degrees in the mean and 5 at most, and whether quaternions and Euler angles leave some
    rotation wrong by more than 90; the exit code is 1 where they do not.
clouds : PoseNet is shown a generated chair twice, the second time turned; the test is 3,200 other
    poses of it. The paper takes 2,290 airplanes and millions of steps.

Both train by Adam with a cosine schedule on uniformly random rotations. Angles are in degrees.
"""

import argparse
import math
import sys
import time

import torch
from torch import nn

from pcinv.geometry.representations import REPRESENTATIONS
from pcinv.geometry.rotation import random_rotation
from pcinv.losses.pose import rotation_matrix_loss
from pcinv.metrics.rotation_errors import rotation_errors_deg
from pcinv.models.posenet import RotationHead
from pcinv.models.registry import create_model

STEPS = {"sanity": 6000, "clouds": 1500}
MUST = {"6d": (0.8, 5.0)}
BREAK = ("quaternion", "euler")


class SanityNetwork(nn.Module):
    """9 -> 128 -> 128 -> 128 -> k: a rotation in, the same one out."""

    def __init__(self, representation, width=128):
        super().__init__()
        layers = []
        for before in (9, width, width):
            layers += [nn.Linear(before, width), nn.LeakyReLU()]
        self.body = nn.Sequential(*layers)
        self.head = RotationHead(width, representation)

    def forward(self, rotation):
        return self.head(self.body(rotation.flatten(-2)))


def train(network, draw, steps, lr):
    """Train on `draw()` -> (arguments, true rotations) and return the seconds it took."""
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    start = time.perf_counter()
    for _ in range(steps):
        arguments, true = draw()
        loss = rotation_matrix_loss(network(*arguments), true).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return time.perf_counter() - start


def errors(network, parts):
    """Return the angles between the answers and the truth over (arguments, true) in `parts`."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([rotation_errors_deg(network(*arguments), true)
                          for arguments, true in parts])


def sanity(representation, *, steps=6000, seed=0, batch=256, lr=1e-3, tests=20_000):
    """Return the angles of the sanity network after so many steps, and the seconds."""
    torch.manual_seed(seed)
    network = SanityNetwork(representation)
    generator = torch.Generator().manual_seed(1000 + seed)

    def draw(count=batch):
        rotation = random_rotation(count, generator=generator)
        return (rotation,), rotation

    seconds = train(network, draw, steps, lr)
    return errors(network, [draw(tests)]), seconds


def chairs(count, points):
    """Return generated chairs (M, N, 3), centred and in the unit ball."""
    from pcinv_data.generate.classes import CLASS_NAMES
    from pcinv_data.shapes import generate

    step, first = len(CLASS_NAMES), CLASS_NAMES.index("chair")
    xyz = torch.stack([torch.from_numpy(generate(0, "train", first + step * i, points).xyz)
                       for i in range(count)]).float()
    xyz = xyz - xyz.mean(1, keepdim=True)
    return xyz / xyz.norm(dim=-1).amax(1)[:, None, None]


def clouds(representation, *, steps=1500, seed=0, batch=64, lr=1e-3, points=64, objects=1,
           preset="light"):
    """Return the angles of PoseNet in poses that it has not seen, and the seconds."""
    torch.manual_seed(seed)
    network = create_model("posenet", task="pose", preset=preset, representation=representation)
    generator = torch.Generator().manual_seed(1000 + seed)
    shapes = chairs(objects, points)

    def draw():
        xyz = shapes[torch.randint(objects, (batch,), generator=generator)]
        rotation = random_rotation(batch, generator=generator)
        return (xyz, xyz @ rotation.mT), rotation

    seconds = train(network, draw, steps, lr)
    return errors(network, [draw() for _ in range(50)]), seconds


EXPERIMENTS = {"sanity": sanity, "clouds": clouds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", nargs="?", choices=EXPERIMENTS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--representations", nargs="+", choices=REPRESENTATIONS,
                        default=list(REPRESENTATIONS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    faults = []
    for name in [options.experiment] if options.experiment else list(EXPERIMENTS):
        steps = options.steps or STEPS[name]
        print(f"{name}, {steps} steps\n")
        print("| representation | seed | mean | median | max | std | time |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for representation in options.representations:
            for seed in options.seeds:
                angle, seconds = EXPERIMENTS[name](representation, steps=steps, seed=seed)
                mean, top = float(angle.mean()), float(angle.max())
                print(f"| {representation} | {seed} | {mean:.2f} | {float(angle.median()):.2f} | "
                      f"{top:.1f} | {float(angle.std()):.2f} | {seconds:.0f} s |", flush=True)
                if name == "sanity" and steps >= STEPS[name]:
                    low, high = MUST.get(representation, (math.inf, math.inf))
                    if mean >= low or top >= high or (representation in BREAK and top <= 90):
                        faults.append(f"{representation}, seed {seed}: {mean:.2f} and {top:.1f}")
    if faults:
        sys.exit("not as promised: " + "; ".join(faults))


if __name__ == "__main__":
    main()
