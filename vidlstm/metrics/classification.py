"""Metrics of labels and scores: accuracy, per-class figures, calibration.

A clip that could not be read counts as a mistake. It is never dropped or replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidlstm.evaluations import Baseline, ClassReport, Comparison, EvalReport, Scored
from vidlstm.metrics.intervals import gain_interval, group_interval, mcnemar
from vidlstm.records import CATCH_ALL, NOVELTY_RATE

BINS = 15
"""Number of equally wide confidence bins of the calibration error and the reliability diagram."""


def hits(classes: Sequence[str], scored: Sequence[Scored]) -> NDArray[np.bool_]:
    """Return for each clip whether its best class is right, bool `(N,)`; False for a failed clip."""
    best = [classes[int(np.argmax(s.scores))] if s.scores else None for s in scored]
    return np.array([guess == s.label for guess, s in zip(best, scored, strict=True)], bool)


def summarise(
    classes: Sequence[str],
    scored: Sequence[Scored],
    *,
    seed: int = 0,
    temperature: float | None = None,
    floor: float = 0.0,
    baseline: Sequence[Scored] | None = None,
    kind: Literal["video", "picture"] = "video",
) -> EvalReport:
    """Compute every figure of an evaluation.

    Args:
        classes: In the model's order.
        scored: At least one clip, whose label is one of the classes.
        seed: Seed of the resampling.
        temperature: The model's temperature; None if several models scored the clips.
        floor: The model's floor, see `uncalibrated`.
        baseline: The same clips, scored by the model's baseline.
        kind: Whether the clips are videos or pictures.
    """
    truth = np.array([classes.index(s.label) for s in scored])
    ok = np.array([not s.failed for s in scored])
    scores = np.array([s.scores if s.scores else [0.0] * len(classes) for s in scored])
    order = np.argsort(-scores, axis=1, kind="stable")
    guess = np.where(ok, order[:, 0], -1)
    hit = hits(classes, scored)
    hit5 = ok & (order[:, :5] == truth[:, None]).any(axis=1)
    confusion = np.zeros((len(classes),) * 2, int)
    np.add.at(confusion, (truth[ok], guess[ok]), 1)
    right, guessed = confusion.diagonal(), confusion.sum(0)
    support = np.bincount(truth, minlength=len(classes))
    precision, recall = right / np.maximum(guessed, 1), right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(guessed + support, 1)
    present = support > 0
    other = None if baseline is None else hits(classes, baseline)
    groups = np.unique([s.group for s in scored], return_inverse=True)[1]
    return EvalReport(
        classes=tuple(classes),
        num_clips=len(scored),
        num_groups=int(groups.max()) + 1,
        top1=float(hit.mean()),
        top1_interval=group_interval(hit, groups, seed=seed),
        top5=float(hit5.mean()),
        mean_class_accuracy=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        ece=calibration_error(calibration_bins(scores[ok], truth[ok])),
        ece_uncalibrated=None
        if temperature is None
        else calibration_error(calibration_bins(uncalibrated(scores[ok], temperature, floor), truth[ok])),
        temperature=temperature,
        floor=floor,
        false_alarms=_false_alarms(scored),
        majority=float(support.max() / len(scored)),
        baseline=None if other is None else _compare(hit, other, groups, seed),
        comparisons=_comparisons(hit, truth == int(support.argmax()), other),
        per_class=tuple(
            ClassReport(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(classes, precision, recall, f1, support, strict=True)
        ),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        scored=tuple(scored),
        kind=kind,
    )


def _false_alarms(scored: Sequence[Scored]) -> float | None:
    known = [s for s in scored if not s.failed and s.label.lower() not in CATCH_ALL]
    novelty = [s.novelty for s in known if s.novelty is not None]
    return float(np.mean(np.array(novelty) > 1 - NOVELTY_RATE)) if novelty else None


def _compare(
    hit: NDArray[np.bool_], baseline: NDArray[np.bool_], groups: NDArray[np.int64], seed: int
) -> Baseline:
    return Baseline(float(baseline.mean()), gain_interval(hit, baseline, groups, seed=seed))


def _comparisons(
    hit: NDArray[np.bool_], majority: NDArray[np.bool_], baseline: NDArray[np.bool_] | None
) -> tuple[Comparison, ...]:
    others = {"majority": majority, **({} if baseline is None else {"mean": baseline})}
    found = []
    for name, other in others.items():
        wins, losses = int((hit & ~other).sum()), int((other & ~hit).sum())
        found.append(Comparison(name, float(other.mean()), wins, losses, mcnemar(wins, losses)))
    return tuple(found)


@dataclass(frozen=True)
class Bin:
    """A bin of clips with similar confidence.

    Args:
        low: Lower edge of the bin, 0 to 1; it is `1 / BINS` wide.
        num_clips: Number of clips.
        confidence: Their mean confidence.
        accuracy: Share of clips that are right.
    """

    low: float
    num_clips: int
    confidence: float
    accuracy: float


def calibration(report: EvalReport, *, calibrated: bool = True) -> tuple[Bin, ...]:
    """Return the non-empty bins of the reliability diagram.

    Args:
        report: Report on clips scored by a calibrated model.
        calibrated: False undoes the calibration, see `uncalibrated`.
    """
    scored = [s for s in report.scored if not s.failed]
    truth = np.array([report.classes.index(s.label) for s in scored], np.int64)
    scores = np.array([s.scores for s in scored]).reshape(-1, len(report.classes))
    if not calibrated and report.temperature is not None:
        scores = uncalibrated(scores, report.temperature, report.floor)
    return calibration_bins(scores, truth)


def calibration_bins(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> tuple[Bin, ...]:
    """Return the non-empty bins of confidence.

    Args:
        scores: Probabilities `(N, K)`.
        truth: Classes `(N,)`.
    """
    confidence = scores.max(axis=1)
    hit = scores.argmax(axis=1) == truth
    numbers = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(
            float(n / BINS),
            int((numbers == n).sum()),
            float(confidence[numbers == n].mean()),
            float(hit[numbers == n].mean()),
        )
        for n in np.unique(numbers)
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error (Guo et al. 2017)."""
    total = sum(b.num_clips for b in bins)
    return sum(b.num_clips * abs(b.accuracy - b.confidence) for b in bins) / total if total else 0.0


def uncalibrated(scores: NDArray[np.float64], temperature: float, floor: float) -> NDArray[np.float64]:
    """Return a model's probabilities `(N, K)` before calibration.

    As ``p = (1 - floor) softmax(z / t) + floor / K``, these are ``(p - floor / K) ** t``, normalised to sum
    1.
    """
    sharp = scores - floor / scores.shape[1]
    logits = np.log(np.maximum(sharp, 1e-300)) * temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return probabilities
