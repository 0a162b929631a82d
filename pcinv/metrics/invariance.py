"""Measure how invariant a network is: the worst error that a search finds, not an average.

Rounding moves coordinates by about 1e-7 of the cloud's size in float32, so where two neighbours
are nearer than that to changing places the network may legitimately see another neighbourhood.
The margin of every decision is recorded by `pcinv.ops.track_margins`. Clouds with ties are measured
too, but reported apart. A large network takes so many decisions that hardly a cloud is without a
narrow one in float32; then an error is put down to a tie only if the same network in float64 keeps
its answer under the very same rotation. One that is not invariant does not.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pcinv.errors import InputError
from pcinv.geometry.rotation import axis_angle_to_matrix, random_rotation
from pcinv.ops import track_margins

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-9}
_TIE_MARGINS = {torch.float32: 1e-6, torch.float64: 1e-13}
"""Decisions closer than this, as a share of the cloud's radius, are ties."""
_GRID = 2.0**-13
"""Coordinates on this grid keep every bit when shifted by up to 1,024."""
_MAX_SHIFT = 1_000.0
_BATCH = 8


@dataclass(frozen=True)
class InvarianceReport:
    """The worst relative error found for each kind of change.

    errors : kind -> max |f(gx) - f(x)| / max |f(x)|.  max_error : the largest of them.
    passed : max_error <= tolerance.  num_clouds, num_rotations : size of the search.
    tied_clouds, tied_rotations, tied_error : clouds with decisions within rounding of a tie,
        rotations of measured clouds that crossed one, and the worst error of both kinds, outside
        the promise.  smallest_margin : of the measured clouds.
    """

    backbone: str
    task: str
    dtype: str
    errors: dict[str, float]
    max_error: float
    tolerance: float
    passed: bool
    num_clouds: int
    num_rotations: int
    tied_clouds: int
    tied_rotations: int
    tied_error: float
    smallest_margin: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Cloud:
    xyz: Tensor  # (N, 3)
    normal: Tensor | None
    category: Tensor | None

    def turned(self, rotation: Tensor) -> "_Cloud":
        """Rotate in float64, so that the input is wrong by one rounding and not by several."""
        def apply(v: Tensor) -> Tensor:
            return (v.double() @ rotation.T).to(v.dtype)

        normal = None if self.normal is None else apply(self.normal)
        return _Cloud(apply(self.xyz), normal, self.category)


class _Probe:
    """Runs the network on clouds and compares answers."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.device = next(model.parameters()).device

    def run(self, clouds: list[_Cloud]) -> Tensor:
        first = clouds[0]
        xyz = torch.stack([c.xyz for c in clouds])
        normal = None if first.normal is None else torch.stack([_given(c.normal) for c in clouds])
        extra = {}
        if first.category is not None:
            extra["category"] = torch.stack([_given(c.category) for c in clouds])
        with torch.inference_mode():
            moved = {key: value.to(self.device) for key, value in extra.items()}
            out: Tensor = self.model(
                xyz.to(self.device), None if normal is None else normal.to(self.device), **moved
            )
        return out.cpu()

    @cached_property
    def exact(self) -> "_Probe":
        """The same network in float64."""
        return _Probe(deepcopy(self.model).double())

    def is_exact(self, cloud: _Cloud, rotation: Tensor) -> bool:
        """Whether the network in float64 keeps its answer under this rotation."""
        normal = None if cloud.normal is None else cloud.normal.double()
        same = _Cloud(cloud.xyz.double(), normal, cloud.category)
        answers = self.exact.run([same, same.turned(rotation)])
        return float(self.error(answers[1:], answers[0]).max()) <= TOLERANCES[torch.float64]

    def margin(self, cloud: _Cloud) -> float:
        with track_margins() as margins:
            self.run([cloud])
        return float(margins.smallest)

    def error(self, answer: Tensor, truth: Tensor) -> Tensor:
        """Relative error of each answer: (B, ...) against (B, ...) or (...)."""
        difference = (answer - truth).abs().flatten(1).amax(1)
        relative = difference / truth.abs().max().clamp_min(torch.finfo(truth.dtype).tiny)
        return relative.nan_to_num(nan=float("inf"))  # an answer that is not a number is wrong


def _given(value: Tensor | None) -> Tensor:
    if value is None:
        raise InputError("some clouds have normals or categories and some have none",
                         where="clouds", hint="give them for all clouds or for none")
    return value


def _rotation_search(
    probe: _Probe, cloud: _Cloud, count: int, generator: torch.Generator, tied: list[float] | None
) -> float:
    """Try `count` random rotations, then climb from the worst ones by smaller and smaller turns.

    tied : takes the errors that are due to ties, which do not count; None where all count.
    """
    truth = probe.run([cloud])[0]

    def errors(rotations: Tensor) -> Tensor:
        parts = [
            probe.error(probe.run([cloud.turned(r) for r in chunk]), truth)
            for chunk in torch.split(rotations, _BATCH)
        ]
        found = torch.cat(parts)
        if tied is not None:
            for i in (found > TOLERANCES[truth.dtype]).nonzero()[:, 0].tolist():
                if probe.is_exact(cloud, rotations[i]):
                    tied.append(float(found[i]))
                    found[i] = 0
        return found

    tried = random_rotation(count, generator=generator, dtype=torch.float64)
    found = errors(tried)
    best, rows = found.topk(min(4, count))
    worst = tried[rows]
    for angle in (0.5, 0.1, 0.02, 0.004):
        turn = torch.randn(len(worst), 2, 3, generator=generator, dtype=torch.float64) * angle
        near = axis_angle_to_matrix(turn) @ worst[:, None]  # (4, 2, 3, 3)
        climbed, which = errors(near.flatten(0, 1)).view(len(worst), 2).max(1)
        better = climbed > best
        worst = torch.where(better[:, None, None], near[torch.arange(len(worst)), which], worst)
        best = torch.maximum(best, climbed)
    return float(best.max())


def _on_grid(cloud: _Cloud) -> _Cloud:
    return _Cloud((cloud.xyz / _GRID).round() * _GRID, cloud.normal, cloud.category)


def _translation_error(probe: _Probe, cloud: _Cloud, generator: torch.Generator) -> float:
    truth = probe.run([cloud])[0]
    shifts = (torch.rand(_BATCH, 3, generator=generator) * 2 - 1) * _MAX_SHIFT
    shifts[0] = _MAX_SHIFT
    shifts = ((shifts / _GRID).round() * _GRID).to(cloud.xyz.dtype)
    moved = [_Cloud(cloud.xyz + s, cloud.normal, cloud.category) for s in shifts]
    return float(probe.error(probe.run(moved), truth).max())


def _permutation_error(
    probe: _Probe, cloud: _Cloud, per_point: bool, generator: torch.Generator
) -> float:
    truth = probe.run([cloud])[0]
    worst = 0.0
    for _ in range(_BATCH):
        p = torch.randperm(len(cloud.xyz), generator=generator)
        shuffled = _Cloud(
            cloud.xyz[p], None if cloud.normal is None else cloud.normal[p], cloud.category
        )
        expected = truth[p] if per_point else truth
        worst = max(worst, float(probe.error(probe.run([shuffled]), expected).max()))
    return worst


def _batch_error(probe: _Probe, clouds: list[_Cloud], generator: torch.Generator) -> float:
    """Compare each cloud alone with itself among mates, in several orders and numbers."""
    alone = [probe.run([c])[0] for c in clouds]
    worst = 0.0
    for size in {1, 2, len(clouds), 2 * len(clouds)}:
        order = torch.randint(len(clouds), (max(size, 1),), generator=generator).tolist()
        answers = probe.run([clouds[i] for i in order])
        for i, answer in zip(order, answers, strict=True):
            worst = max(worst, float(probe.error(answer[None], alone[i])))
    return worst


def measure_invariance(
    model: nn.Module,
    draw: Callable[[int], tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"] | None, int]],
    *,
    backbone: str = "",
    rotations: int = 200,
    num_clouds: int = 4,
    max_draws: int = 24,
    with_normals: Iterable[bool] = (True, False),
    seed: int = 0,
) -> InvarianceReport:
    """Search for the worst error of an SO(3)-invariant network, in the dtype of its weights.

    draw : i -> points in the unit ball, their normals or None, and the object's category.
    rotations : random rotations in all, shared among the clouds; the worst are climbed from.
    num_clouds : clouds to measure, without ties if `max_draws` hold as many.
    with_normals : measure with given normals, with estimated ones, or both.

    Raises InputError if all clouds have exact ties, as lattices do.
    """
    dtype = next(model.parameters()).dtype
    generator = torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    probe = _Probe(model)
    tells_category = bool(getattr(model, "num_categories", 0))
    per_point = getattr(model, "task", "classification") in ("part_segmentation", "matching")
    tie = _TIE_MARGINS[dtype]
    errors = dict.fromkeys(("rotation", "translation", "permutation", "batch"), 0.0)
    tied_clouds, smallest, measured, crossed, apart = 0, float("inf"), 0, [0.0], [0.0]
    kinds = list(with_normals)
    for given in kinds:
        clear: list[tuple[float, _Cloud]] = []
        tied: list[tuple[float, _Cloud]] = []
        wanted = max(1, num_clouds // len(kinds))
        for i in range(max_draws):
            xyz, normal, category = draw(i)
            cloud = _on_grid(_Cloud(
                xyz.to(dtype),
                normal.to(dtype) if given and normal is not None else None,
                torch.tensor(category) if tells_category else None,
            ))
            margin = probe.margin(cloud)
            (clear if margin > tie else tied).append((margin, cloud))
            if len(clear) == wanted:
                break
        if len(clear) < wanted:  # the widest of the narrow, but for exact ties
            tied.sort(key=lambda pair: -pair[0])
            wide = [pair for pair in tied if pair[0] > _TIE_MARGINS[torch.float64]]
            taken = wide[: wanted - len(clear)]
            clear, tied = clear + taken, tied[len(taken) :]
        if not clear:
            raise InputError(f"each of {max_draws} clouds has ties", where="clouds",
                             hint="use clouds that are not on a grid")
        measured += len(clear)
        each = max(1, rotations // (len(clear) * len(kinds)))
        for margin, cloud in clear:
            smallest = min(smallest, margin)
            narrow = crossed if margin <= tie else None
            for kind, value in (
                ("rotation", _rotation_search(probe, cloud, each, generator, narrow)),
                ("translation", _translation_error(probe, cloud, generator)),
                ("permutation", _permutation_error(probe, cloud, per_point, generator)),
            ):
                errors[kind] = max(errors[kind], value)
        batch = _batch_error(probe, [cloud for _, cloud in clear], generator)
        errors["batch"] = max(errors["batch"], batch)
        tied_clouds += len(tied)
        for _, cloud in tied[:2]:
            apart.append(_rotation_search(probe, cloud, _BATCH, generator, None))
    model.train(was_training)
    worst = max(errors.values())
    return InvarianceReport(
        backbone=backbone,
        task=getattr(model, "task", "classification"),
        dtype=str(dtype).removeprefix("torch."),
        errors=errors,
        max_error=worst,
        tolerance=TOLERANCES[dtype],
        passed=worst <= TOLERANCES[dtype],
        num_clouds=measured,
        num_rotations=rotations,
        tied_clouds=tied_clouds,
        tied_rotations=len(crossed) - 1,
        tied_error=max(*crossed, *apart),
        smallest_margin=smallest,
    )
