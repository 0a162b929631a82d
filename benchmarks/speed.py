"""Time the classifier at the paper's size against the plain layer-by-layer computation.

    python benchmarks/speed.py --threads 2 --batch 1 8 --repeats 7

One process, one thread count, all by turns; each figure is the fastest of the repeats with the
slowest behind it. The logits must agree. Peak memory is measured in a process of its own.

Training in pcinv tells the C library to keep freed memory; evaluation does not. The plain
computation runs as a script would, with the library's defaults, and once more with memory kept.
"""

import argparse
import ctypes
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import plain_risurconv
import torch
import torch.nn.functional as F

from pcinv.engine.memory import keep_freed_memory
from pcinv.models.registry import create_model

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4


def default_memory():
    """Handle memory as glibc does by itself once a process has freed large blocks."""
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 65536)
    libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
    libc.mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)
    libc.malloc_trim(0)


def make_batch(count, points):
    """Bumpy spheres in the unit ball with rough normals."""
    g = torch.Generator().manual_seed(0)
    direction = F.normalize(torch.randn(count, points, 3, generator=g), dim=-1)
    xyz = direction * (0.9 + 0.1 * torch.rand(count, points, 1, generator=g))
    normal = F.normalize(direction + 0.3 * torch.randn(count, points, 3, generator=g), dim=-1)
    return xyz, normal


def steps(model, plain, xyz, normal, training):
    """The contestants: how they handle memory, and functions without arguments giving logits."""
    target = torch.arange(len(xyz)) % 40

    def run(forward, module):
        if not training:
            with torch.inference_mode():
                return forward(xyz, normal)
        module.zero_grad(set_to_none=True)
        logits = forward(xyz, normal)
        F.cross_entropy(logits, target).backward()
        return logits.detach()

    def run_plain():
        return run(lambda x, n: plain_risurconv.forward(plain, x, n), plain)

    return {
        "pcinv": (keep_freed_memory if training else default_memory, lambda: run(model, model)),
        "plain": (default_memory, run_plain),
        "plain, memory kept": (keep_freed_memory, run_plain),
    }


def peak_resident():
    """Peak resident MiB of this process (ru_maxrss would include the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def peak_memory(who, batch, training, threads):
    """Peak resident MiB of one contestant in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--batch", str(batch),
               "--only", who, *(["--train"] if training else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--only", choices=("pcinv", "plain"), help="print this one's peak memory")
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = create_model("risurconv", preset=options.preset, dropout=0.0)
    plain = deepcopy(model)
    if options.only:
        xyz, normal = make_batch(options.batch[0], 1024)
        model.train(options.train), plain.train(options.train)
        memory, run = steps(model, plain, xyz, normal, options.train)[options.only]
        memory()
        run()
        print(peak_resident())
        return
    print(f"torch {torch.__version__}, {options.threads} threads, {options.repeats} repeats\n")
    print("| work | batch | pcinv ms a cloud | plain ms a cloud | ratio | memory kept | ratio"
          " | logits differ by | peak MiB pcinv, plain |")
    print("| --- " * 9 + "|")
    for training in (False, True):
        for batch in options.batch:
            if training and batch < 2:
                continue
            xyz, normal = make_batch(batch, 1024)
            model.train(training), plain.train(training)
            contestants = steps(model, plain, xyz, normal, training)
            logits = {who: run() for who, (_, run) in contestants.items()}
            times = {who: [] for who in contestants}
            for _ in range(options.repeats):
                for who, (memory, run) in contestants.items():
                    memory()
                    run()  # the first after a change of memory pays for it
                    start = time.perf_counter()
                    run()
                    times[who].append((time.perf_counter() - start) / batch * 1e3)
            best = {who: min(t) for who, t in times.items()}
            shown = {who: f"{min(t):.1f} ({max(t):.1f})" for who, t in times.items()}
            difference = float((logits["pcinv"] - logits["plain"]).abs().max())
            peaks = [f"{peak_memory(who, batch, training, options.threads):.0f}"
                     for who in ("pcinv", "plain")]
            work = "training step" if training else "inference"
            kept = "plain, memory kept"
            print(f"| {work} | {batch} | {shown['pcinv']} | {shown['plain']} | "
                  f"{best['plain'] / best['pcinv']:.1f} | {shown[kept]} | "
                  f"{best[kept] / best['pcinv']:.1f} | {difference:.1e} | "
                  f"{' / '.join(peaks)} |", flush=True)


if __name__ == "__main__":
    main()
