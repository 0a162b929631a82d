"""What a trained network does on a data set, as a page: figures, mistakes, measured invariance."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcinv.engine.clouds import Clouds
from pcinv.engine.evaluator import Evaluation, Prepared, evaluate_prepared
from pcinv.engine.measure import forward
from pcinv.engine.runs import METRICS, versions
from pcinv.errors import InputError, LimitError, UsageError
from pcinv.metrics.invariance import InvarianceReport, measure_invariance
from pcinv.metrics.segmentation import restrict, shape_iou
from pcinv.tasks import Batch, Labels, collate
from pcinv.types import PointCloud
from pcinv.vis import plots
from pcinv.vis.report import Key, Report
from pcinv.vis.scene import make_scene, with_layers

EXAMPLES = 12
"""Pictures of clouds that went wrong; of parts half as many, in two pictures each."""
TURNED, POSES = 8, 4
"""Clouds that are turned, and how often each, for the invariance in use."""
SEARCHED, ROTATIONS = 2, 16
"""Clouds of the search for the worst error, and its rotations before the climb."""
SECONDS = 90.0
"""That turning clouds may take, and the search again."""
LONGER = "A longer search: pcinv check RUN."
BINS = 10
_WIDTH, _HEIGHT = 480, 400
Told = Callable[[str, str, int, int], None]
"""Takes where the work stands: what is done, counted in what, how many, of how many."""


@dataclass
class Answers:
    """Takes down what a network says of each cloud; `watch` of `evaluate_prepared`.

    rows : (index, true class, predicted class or -1, confidence or mean IoU) of each cloud.
    parts : index -> part (N,) of each point, of the clouds with the lowest IoU.
    """

    labels: Labels
    parts_wanted: int = 0
    rows: list[tuple[int, int, int, float]] = field(default_factory=list)
    parts: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, batch: Batch, logits: Tensor) -> None:
        if batch.part is None or logits.ndim < 3:
            sure, predicted = logits.softmax(-1).max(-1)
        else:
            allowed = self.labels.allowed.to(logits.device)[batch.label]
            found = restrict(logits, allowed)
            sure = shape_iou(found, batch.part, allowed)
            predicted = torch.full_like(batch.label, -1)
            self.parts |= dict(zip(batch.index.tolist(), found.short().cpu().numpy(), strict=True))
        self.rows += zip(batch.index.tolist(), batch.label.tolist(), predicted.tolist(),
                         sure.tolist(), strict=True)
        if self.parts:
            kept = [row[0] for row in self.worst(self.parts_wanted)]
            self.parts = {index: self.parts[index] for index in kept}

    def worst(self, count: int) -> list[tuple[int, int, int, float]]:
        """Return the rows to look at first.

        Of classes those that are wrong, the most confident first; where none is wrong, the least
        confident ones. Of parts those with the lowest IoU.
        """
        wrong = [row for row in self.rows if row[2] not in (-1, row[1])]
        if wrong:
            return sorted(wrong, key=lambda row: (-row[3], row[0]))[:count]
        return sorted(self.rows, key=lambda row: (row[3], row[0]))[:count]


@dataclass(frozen=True)
class Turned:
    """What turning clouds changes, in so many poses each.

    changed : share of the clouds (of parts: of the points) whose answer is another in some pose.
    difference : the largest change of a logit.  relative : to the largest logit of that cloud.
    """

    clouds: int
    poses: int
    changed: float
    difference: float
    relative: float


def _silent(text: str, unit: str, done: int, total: int) -> None:
    pass


def run_report(prepared: Prepared, *, command: str = "", batch_size: int = 32, told: Told = _silent
               ) -> tuple[Evaluation, Report]:
    """Measure a network on the clouds that it came with and return the metrics and the page.

    command : what was typed, to be told on the page.
    told : is called as the work goes on.

    Raises as `pcinv.engine.evaluator.evaluate`.
    """
    meta, source = prepared.loaded.meta, prepared.clouds.source
    if meta.config.model.task == "pose":
        raise UsageError("there is no report of poses", where="report",
                         hint="pcinv eval RUN --json has the figures, also of each class")
    answers = Answers(meta.labels, EXAMPLES // 2)
    found = evaluate_prepared(prepared, batch_size=batch_size,
                              watch=counting(len(prepared.clouds), told, answers))
    page = Report(f"{Path(found.run).name or found.run} on {found.dataset}")
    if command:
        page.code(command)
    page.facts({
        "run": found.run, "weights": found.weights, "backbone": meta.config.model.backbone,
        "task": meta.config.model.task, "trained": f"on {meta.config.data.dataset}, "
        f"protocol {meta.config.data.protocol}; weights of epoch {meta.epoch}",
        "data set": f"{found.dataset}, split {found.split}", "clouds": found.num_samples,
        "rotation": found.rotation, "seed": found.seed,
        "normals": "of the data" if found.normals == "data" else "estimated, where used",
        "computed on": str(prepared.device), "versions": versions(),
        "made": datetime.datetime.now().astimezone().isoformat(" ", "minutes")})
    page.heading("Figures")
    page.table(("metric", "value"), [
        (plots.TITLES.get(name, name), f"{value:.4f}") for name, value in found.metrics.items()])
    _classes(page, found, answers, meta.labels.class_names)
    if found.confusion is not None:
        _confidence(page, answers)
    _examples(page, answers, source, meta.labels)
    _invariance(page, prepared, told)
    metrics = Path(found.run) / METRICS
    if metrics.is_file():
        from pcinv.vis.compare_runs import read_metrics

        lines, note = read_metrics(metrics)
        if lines:
            page.heading("Training")
            page.figure(plots.learning_curves({Path(found.run).name: lines}), note or "")
    return found, page


def counting(total: int, told: Told, watch: Callable[[Batch, Tensor], None] | None = None
             ) -> Callable[[Batch, Tensor], None]:
    """Return a `watch` of `evaluate_prepared` that tells how many of the clouds are done."""
    done = 0
    told("measuring", "cloud", done, total)

    def watched(batch: Batch, logits: Tensor) -> None:
        nonlocal done
        if watch is not None:
            watch(batch, logits)
        done += len(batch.index)
        told("measuring", "cloud", done, total)

    return watched


def _classes(page: Report, found: Evaluation, answers: Answers, names: Sequence[str]) -> None:
    page.heading("Classes")
    counts = np.bincount([row[1] for row in answers.rows], minlength=len(names)).tolist()
    is_parts = found.confusion is None
    page.figure(plots.by_class({"": found.per_class}, "mean IoU" if is_parts else "accuracy"))
    if found.confusion is None:
        page.table(("class", "clouds", "mean IoU"), [
            (name, counts[k], f"{found.per_class[name]:.4f}") for k, name in enumerate(names)
            if name in found.per_class])
        return
    matrix = np.asarray(found.confusion)
    beside = matrix * (1 - np.eye(len(names), dtype=np.int64))
    page.table(("class", "clouds", "accuracy", "most often taken for"), [
        (name, counts[k], f"{found.per_class[name]:.4f}",
         f"{names[beside[k].argmax()]} ({beside[k].max()})" if beside[k].any() else "")
        for k, name in enumerate(names) if name in found.per_class])
    page.heading("What is taken for what")
    page.figure(plots.confusion(matrix, names), "Rows are true classes, columns predicted ones; "
                "numbers are clouds, colours the share of the row.")
    order = np.argsort(-beside, axis=None, kind="stable")[:10]
    pairs = [np.unravel_index(k, beside.shape) for k in order if beside.flat[k]]
    if pairs:
        page.table(("true", "predicted", "clouds", "share of the class"), [
            (names[int(i)], names[int(j)], int(beside[i, j]),
             f"{beside[i, j] / counts[int(i)]:.0%}") for i, j in pairs])


def calibration(confidence: np.ndarray, right: np.ndarray
                ) -> tuple[list[tuple[float, float | None, int, float]], float]:
    """Return bins of confidence (from, to, clouds, share right), and the calibration error.

    The expected calibration error is the mean over all clouds of the gap between the mean
    confidence of their bin and the share of it that is right (Guo et al., ICML 2017).
    """
    which = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    rows: list[tuple[float, float | None, int, float]] = []
    gap = 0.0
    for k in np.unique(which).tolist():
        inside = which == k
        share = float(right[inside].mean())
        rows.append((k / BINS, (k + 1) / BINS, int(inside.sum()), share))
        gap += inside.sum() * abs(share - float(confidence[inside].mean()))
    return rows, float(gap / max(len(which), 1))


def _confidence(page: Report, answers: Answers) -> None:
    page.heading("Confidence")
    right = np.array([row[1] == row[2] for row in answers.rows])
    bins, gap = calibration(np.array([row[3] for row in answers.rows]), right)
    page.text(f"Expected calibration error {gap:.3f}: so far is the confidence, the softmax of the "
              "predicted class, from the share that is right.")
    page.figure(plots.reliability({"answers": bins}, "confidence", diagonal=True),
                "Numbers are clouds, lines the 95 % interval of the share.")


def _examples(page: Report, answers: Answers, source: Any, labels: Labels) -> None:
    page.heading("The worst examples")
    is_parts = bool(answers.parts)
    rows = answers.worst(EXAMPLES // 2 if is_parts else EXAMPLES)
    wrong = sum(row[1] != row[2] for row in answers.rows)
    if is_parts:
        page.text("The clouds with the lowest mean IoU, as they are stored: parts as predicted "
                  "and as they are.")
    elif wrong:
        page.text(f"{wrong:,} of {len(answers.rows):,} clouds are wrong; these "
                  f"{len(rows)} most confidently. They are drawn as they are stored.")
    else:
        page.text(f"All {len(answers.rows):,} clouds are right; these are the ones of which the "
                  "network is least certain. They are drawn as they are stored.")
    names, pictures = labels.class_names, list[tuple[np.ndarray, str, Key]]()
    for index, true, predicted, sure in rows:
        sample = source[index]
        title = f"{sample.name or 'cloud'} (number {index})"
        if not is_parts:
            words = f"true: {names[true]}\npredicted: {names[predicted]}, confidence {sure:.3f}"
            image, key = _drawn(sample.xyz, None, ())
            pictures.append((image, f"{title}\n{words}", key))
            continue
        for kind, part in (("predicted", answers.parts[index]), ("true", sample.part)):
            image, key = _drawn(sample.xyz, part, labels.part_names)
            pictures.append((image, f"{title}, {names[true]}, IoU {sure:.3f}\n{kind}:", key))
    page.pictures(pictures)


def _drawn(xyz: np.ndarray, part: np.ndarray | None, names: Sequence[str]
           ) -> tuple[np.ndarray, Key]:
    """Return the picture of a cloud, by its parts (N,) if given, and what their colours mean."""
    from pcinv.vis.colors import coloring
    from pcinv.vis.software import draw

    cloud = PointCloud(np.ascontiguousarray(xyz, np.float32), np.zeros(3),
                       {} if part is None else {"part": np.asarray(part, np.int64)})
    scene = make_scene([("cloud", cloud)], color_by="height" if part is None else "part")
    scene = with_layers(scene, [(0, {"words": {"part": tuple(names)}})])
    legend = None if part is None else coloring(scene, scene.layers[0]).legend
    image = np.asarray(draw(scene, width=_WIDTH, height=_HEIGHT, legend=False))
    return image, () if legend is None else legend.entries


def turned(prepared: Prepared, clouds: int = TURNED, poses: int = POSES, told: Told = _silent
           ) -> Turned:
    """Turn clouds of all over the data set at random, and compare the answers with those before.

    After `SECONDS` no further pose is tried; the first always is.
    """
    start, text = time.monotonic(), "turning clouds"
    told(text, "pose", 0, poses)
    model, meta, given = prepared.loaded.model, prepared.loaded.meta, prepared.clouds
    rows = _spread(len(given), clouds)
    changed: Any = False
    difference = relative = 0.0
    first: Tensor | None = None
    done = 0
    for pose in range(poses + 1):
        if done and time.monotonic() - start > SECONDS:
            break
        posed = Clouds(given.source, rotation="so3" if pose else "none", seed=given.seed + pose,
                       normals=given.normals)
        batch = collate([posed[0, row] for row in rows]).to(prepared.device)
        with torch.inference_mode():
            logits = forward(model, batch, meta.num_categories).float()
        if logits.ndim == 3:
            allowed = meta.labels.allowed.to(logits.device)[batch.label]
            logits = logits.masked_fill(~allowed[:, None], 0.0)
            answer = restrict(logits, allowed)
        else:
            answer = logits.argmax(-1)
        if first is None:
            first, said = logits, answer
            continue
        changed = changed | (answer != said)
        off = (logits - first).abs().flatten(1).amax(1)
        difference = max(difference, float(off.max()))
        most = first.abs().flatten(1).amax(1).clamp_min(torch.finfo(first.dtype).tiny)
        relative = max(relative, float((off / most).max()))
        done = pose
        told(text, "pose", done, poses)
    return Turned(len(rows), done, float(changed.float().mean()), difference, relative)


def searched(prepared: Prepared, rotations: int = ROTATIONS, told: Told = _silent
             ) -> InvarianceReport:
    """Search for the worst error on clouds of this data set, see `measure_invariance`.

    Raises InputError where all clouds have ties, LimitError where it takes more than `SECONDS`.
    """
    source, has_normals = prepared.clouds.source, prepared.clouds.normals == "data"
    rows = _spread(len(source), 4 * SEARCHED)
    clouds = min(SEARCHED, len(rows))

    def draw(i: int) -> tuple[Tensor, Tensor | None, int]:
        sample = source[rows[i % len(rows)]]
        normal = torch.from_numpy(np.array(sample.normal)) if has_normals else None
        return torch.from_numpy(np.array(sample.xyz)), normal, sample.label

    model, meta = prepared.loaded.model, prepared.loaded.meta
    # of a cloud: rotations by eights, steps uphill, shifts, orders, and alone five times
    passes = clouds * (-(-rotations // clouds // 8) + 4 + 1 + 8 + 5) + 4
    with _passing(model, passes, told):
        return measure_invariance(
            model, draw, backbone=meta.config.model.backbone, rotations=rotations,
            num_clouds=clouds, max_draws=len(rows), with_normals=(has_normals,),
            seed=prepared.clouds.seed)


@contextlib.contextmanager
def _passing(model: torch.nn.Module, expected: int, told: Told) -> Iterator[None]:
    """Tell each pass of the network, and end the work after `SECONDS`; ties take more passes."""
    start, done, text = time.monotonic(), 0, "searching for the worst error"
    told(text, "pass", 0, expected)

    def passed(*_: Any) -> None:
        nonlocal done
        done += 1
        told(text, "pass", done, expected if done <= expected else (done // 20 + 1) * 20)
        if time.monotonic() - start > SECONDS:
            raise LimitError(f"it took more than {SECONDS:.0f} s", where="worst error",
                             hint="pcinv check RUN")

    hook = model.register_forward_hook(passed)
    try:
        yield
    finally:
        hook.remove()


def _invariance(page: Report, prepared: Prepared, told: Told) -> None:
    page.heading("Invariance")
    found = turned(prepared, told=told)
    what = "points" if prepared.loaded.meta.config.model.task == "part_segmentation" else "clouds"
    page.text(f"{found.clouds} clouds of all over the data set, each in {found.poses} random "
              "poses:")
    page.table(("measured", "value"), [
        (f"{what} whose answer changes in some pose", f"{found.changed:.2%}"),
        ("largest change of a logit", f"{found.difference:.2e}"),
        ("largest change by the largest logit of the cloud", f"{found.relative:.2e}")])
    try:
        worst = searched(prepared, told=told)
    except (InputError, LimitError) as error:
        page.text(f"The search for the worst error gave no answer: {error.message}. {LONGER}")
        return
    page.text(f"The worst relative error that a search found on {worst.num_clouds} of the clouds, "
              f"with {worst.num_rotations} rotations and steps uphill from the worst of them, in "
              f"{worst.dtype}: {'within' if worst.passed else 'beyond'} what is promised. "
              f"{LONGER}")
    page.figure(plots.invariance(worst.errors, worst.tolerance))
    if worst.tied_rotations or worst.tied_clouds:
        page.text(f"Apart from that: {worst.tied_clouds} clouds and {worst.tied_rotations} "
                  "rotations where two neighbours are equally near, up to rounding, so that the "
                  f"order of them is chance; there the worst error is {worst.tied_error:.1e}.")


def _spread(count: int, wanted: int) -> list[int]:
    rows = np.linspace(0, count - 1, min(count, wanted)).round().astype(int)
    return [int(row) for row in rows]
