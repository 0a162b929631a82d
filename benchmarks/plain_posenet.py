"""Time PoseNet against the same layers with every value at every point kept.

    python benchmarks/plain_posenet.py --threads 1 --batch 32 --repeats 5

One process, both by turns; each figure is the fastest of the repeats with the slowest behind it.
The answers must agree.
"""

import argparse
import time

import torch
import torch.nn.functional as F

from pcinv.geometry.rotation import random_rotation
from pcinv.losses.pose import rotation_matrix_loss
from pcinv.models.registry import create_model


def plain(model, first, second):
    """The network of the paper, layer by layer."""
    vectors = []
    for x in (first, second):
        for layer in model.point:
            x = F.leaky_relu(layer(x), model.hyper.slope)
        vectors.append(model.pool.linear(x).amax(1))
    return model.head(F.leaky_relu(model.join(torch.cat(vectors, 1)), model.hyper.slope))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="paper", choices=("light", "paper"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = create_model("posenet", task="pose", preset=options.preset)
    first = torch.randn(options.batch, options.points, 3)
    first = first - first.mean(1, keepdim=True)
    first = first / first.norm(dim=-1).amax()
    rotation = random_rotation(options.batch)
    second = first @ rotation.mT
    ways = {"pcinv": model, "plain": lambda *clouds: plain(model, *clouds)}
    for what in ("inference", "training step"):
        times, answers = {name: [] for name in ways}, {}
        for _ in range(options.repeats):
            for name, forward in ways.items():
                start = time.perf_counter()
                if what == "inference":
                    with torch.inference_mode():
                        answers[name] = forward(first, second)
                else:
                    model.zero_grad(set_to_none=True)
                    answers[name] = forward(first, second)
                    rotation_matrix_loss(answers[name], rotation).mean().backward()
                times[name].append(time.perf_counter() - start)
        torch.testing.assert_close(answers["pcinv"], answers["plain"], rtol=1e-3, atol=1e-4)
        shown = ", ".join(f"{name} {1e3 * min(values):.0f} ms (to {1e3 * max(values):.0f})"
                          for name, values in times.items())
        ratio = min(times["plain"]) / min(times["pcinv"])
        print(f"{options.preset}, {what}, {options.batch} pairs: {shown}; "
              f"{ratio:.2f} times as fast", flush=True)


if __name__ == "__main__":
    main()
