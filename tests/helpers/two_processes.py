"""What each of two processes runs: torchrun --nproc-per-node 2 two_processes.py FOLDER."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from helpers.tiny import create_tiny, load_tiny
from pcinv.engine import datasets, loading
from pcinv.engine.config import from_tree
from pcinv.engine.trainer import train
from pcinv.errors import Interrupted, NonFiniteError


def make_config(limit: int, epochs: int, **overrides: object):
    """Return a configuration whose gradients depend on the global batch alone."""
    return from_tree({
        "model": {"overrides": {"norm": False, "dropout": 0.0, **overrides}},
        "data": {"num_points": 32, "limit": limit},
        "optim": {"name": "sgd", "lr": 0.05, "weight_decay": 0.0},
        "train": {"epochs": epochs, "batch_size": 6, "device": "cpu"},
    })


def main(folder: Path) -> None:
    """Train once straight, once stopped and resumed, and once with a last batch left out."""
    loading.create_model, datasets.load_dataset = create_tiny, load_tiny
    train(make_config(17, 4), output=folder / "uneven")  # batches of 6, 6 and 5: 3 + 2 clouds

    def stop(tick):  # in the first process only: the other one must follow
        if tick.step == 5:
            signal.raise_signal(signal.SIGINT)

    noisy = make_config(20, 4, dropout=0.3)  # batches of 6, 6, 6 and 2, which is left out
    train(noisy, output=folder / "straight")
    try:
        train(noisy, output=folder / "stopped", callback=stop)
    except Interrupted:
        train(resume=folder / "stopped")
    plain = create_tiny

    def broken(*arguments, **options):
        network = plain(*arguments, **options)
        network.register_forward_hook(fail_in_second)
        return network

    def fail_in_second(network, inputs, output):
        import torch.distributed

        return output * float("nan") if torch.distributed.get_rank() == 1 else output

    loading.create_model = broken
    try:
        train(make_config(20, 4), output=folder / "broken")
    except NonFiniteError:
        (folder / "broken" / f"raised{signal.SIGINT.value}").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
