"""What the tests of networks of points share: clouds, networks that look trained, changes."""

import torch
import torch.nn.functional as F

from pcinv.geometry.rotation import random_rotation
from pcinv.models.registry import create_model

TASKS = {"classification": 10, "part_segmentation": 6, "normals": 3}


def cloud(count=200, batch=2, seed=0, dtype=torch.float64):
    """Points on bumpy ellipsoids with clear axes and no symmetry."""
    g = torch.Generator().manual_seed(seed)
    direction = F.normalize(torch.randn(batch, count, 3, generator=g, dtype=torch.float64), dim=-1)
    bumps = 1 + 0.2 * (3 * direction[..., :1] + 2 * direction[..., 1:2] + 1).sin()
    return (direction * bumps * torch.tensor([1.0, 0.7, 0.4])).to(dtype)


def make(name, task="classification", dtype=torch.float64, seed=0, preset="light", **options):
    """A network whose statistics are uneven, as after training: zeros would hide an error."""
    torch.manual_seed(seed)
    model = create_model(name, task=task, num_classes=TASKS[task], preset=preset, **options)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, -1, 1)
            torch.nn.init.normal_(module.bias, std=0.3)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.05, 0.5)
    return model.to(dtype).eval()


def turn(seed=0):
    return random_rotation(generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def change(a, b):
    """Largest difference of answers, relative to the largest answer."""
    return float((a - b).detach().abs().max() / a.detach().abs().max())


def moved(xyz, seed=0, shift=5.0):
    return (xyz.double() @ turn(seed).T + shift).to(xyz.dtype)


def same_normals(a, b):
    """Largest difference of unit vectors up to their signs."""
    return float(torch.minimum((a - b).norm(dim=-1), (a + b).norm(dim=-1)).detach().max())


def padded(small, large, fill=9.0):
    """Two clouds in one batch, the rows of the small one among padding: xyz, mask, its rows."""
    n, total = small.shape[1], large.shape[1]
    xyz = torch.full((2, total, 3), fill, dtype=small.dtype)
    mask = torch.zeros(2, total, dtype=torch.bool)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    where = order[:n].sort().values
    xyz[0, where], mask[0, where] = small[0], True
    xyz[1], mask[1] = large[0], True
    return xyz, mask, where
