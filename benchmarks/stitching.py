"""Put the classifier of one training on the encoder of another, and compare their neighbourhoods.

    python benchmarks/stitching.py RUN_A RUN_B --dataset modelnet10 --root DIR

Runs with the head `relative` on the same data share their anchors. For runs with their own head
(`linear`) of equal width, the same is done with the vectors as they are, to compare with.
"""

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcinv.engine.clouds import evaluation_loader, iterate
from pcinv.engine.evaluator import prepare
from pcinv.nn.backbone import Features
from pcinv.nn.headed import Headed, stitched

NEIGHBOURS = 10


def vectors_of(run: str, options: dict) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the network, the vectors of the test split, turned, and the classes."""
    prepared = prepare(run, rotation="so3", device="cpu", **options)
    network, found, labels = prepared.loaded.model, [], []
    with torch.inference_mode():
        for batch in iterate(evaluation_loader(prepared.clouds, 32, 0, prepared.device)):
            found.append(network.forward_features(batch.xyz, batch.normal).global_)
            labels.append(batch.label)
    return network, torch.cat(found), torch.cat(labels)


def accuracy(network: nn.Module, z: Tensor, labels: Tensor) -> float:
    """Return the share of right classes that a network's head makes of vectors."""
    with torch.inference_mode():
        logits = network.forward_head(Features(z, None, z[:, None]))
    return float((logits.argmax(-1) == labels).float().mean())


def overlap(one: Tensor, two: Tensor) -> float:
    """Return the mean Jaccard index of the nearest ones in two spaces."""
    near = []
    for z in (one, two):
        cosine = F.normalize(z, dim=-1) @ F.normalize(z, dim=-1).T
        cosine.fill_diagonal_(-2)
        near.append([set(row) for row in cosine.topk(NEIGHBOURS).indices.tolist()])
    return sum(len(a & b) / len(a | b) for a, b in zip(*near, strict=True)) / len(one)


def main() -> None:
    """Print the accuracies of both networks, stitched both ways, and the overlaps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs=2, metavar="RUN")
    parser.add_argument("--dataset")
    parser.add_argument("--root")
    options = parser.parse_args()
    data = {"dataset": options.dataset, "root": options.root}
    (a, z_a, labels), (b, z_b, _) = (vectors_of(run, data) for run in options.runs)
    print(f"own heads: {accuracy(a, z_a, labels):.3f}, {accuracy(b, z_b, labels):.3f}")
    print(f"nearest {NEIGHBOURS} in common, vectors as they are: {overlap(z_a, z_b):.3f}")
    if isinstance(a, Headed):
        r_a, r_b = a.head.cosines(z_a, a.head.encoded), b.head.cosines(z_b, b.head.encoded)
        print(f"nearest {NEIGHBOURS} in common, relative: {overlap(r_a, r_b):.3f}")
        print(f"encoder a, head b: {accuracy(stitched(a, b), z_a, labels):.3f}")
        print(f"encoder b, head a: {accuracy(stitched(b, a), z_b, labels):.3f}")
        turn = torch.linalg.qr(torch.randn(z_a.shape[1], z_a.shape[1]))[0]
        turned = copy.deepcopy(a)
        turned.head.encoded.copy_(3 * a.head.encoded @ turn)
        print(f"a, its vectors turned and scaled: {accuracy(turned, 3 * z_a @ turn, labels):.3f}")
    else:
        print(f"encoder a, head b: {accuracy(b, z_a, labels):.3f}")
        print(f"encoder b, head a: {accuracy(a, z_b, labels):.3f}")


if __name__ == "__main__":
    main()
