"""How well a model does: scores of clips, and what follows from them.

A clip that could not be read counts as a mistake: it is never dropped or replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidlstm.engine.views import View, views_of
from vidlstm.features.batches import Batch, ClipFeatures, view_batch
from vidlstm.metrics.classification import calibration_bins, calibration_error, uncalibrated
from vidlstm.models.checkpoint import Model
from vidlstm.records import Baseline, ClassReport, EvalReport, Interval, Scored

_BATCH = 256
_RESAMPLES = 2000


def to_tensors(
    batch: Batch, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Return what a classifier takes: float32 sequences, masks, float32 summaries."""
    return (
        {name: torch.from_numpy(values).to(device).float() for name, values in batch.sequences.items()},
        {name: torch.from_numpy(values).to(device) for name, values in batch.masks.items()},
        {name: torch.from_numpy(values).to(device).float() for name, values in batch.summaries.items()},
    )


@torch.inference_mode()
def log_probabilities(
    network: Callable[..., Tensor], clips: Sequence[ClipFeatures], views: Sequence[View], device: torch.device
) -> Tensor:
    """Return every branch's log-probabilities `(S, N, K)` of clips, averaged over views.

    Args:
        network: Maps sequences, masks and summaries to `(S, B, K)`; in evaluation mode.
        clips: At least one; each clip's scores are its own, whoever is in its batch.
        views: Of each clip.
        device: Of the network.
    """
    batches = []
    for start in range(0, len(clips), _BATCH):
        part = clips[start : start + _BATCH]
        batch_scores = [
            network(*to_tensors(view_batch(part, view.index, mirrored=view.mirrored), device)).log_softmax(-1)
            for view in views
        ]
        batches.append(torch.stack(batch_scores).mean(0).log_softmax(-1))
    return torch.cat(batches, dim=1)


@torch.inference_mode()
def score_clips(model: Model, clips: Sequence[ClipFeatures]) -> NDArray[np.float64]:
    """Return calibrated probabilities `(N, K)` of clips."""
    if not clips:
        return np.zeros((0, len(model.config.classes)))
    classifier = model.classifier.eval()
    branches = log_probabilities(classifier, clips, views_of(model.config), classifier.fusion.device)
    probabilities: NDArray[np.float64] = classifier.fuse(branches).double().softmax(-1).cpu().numpy()
    return probabilities


def hits(classes: Sequence[str], scored: Sequence[Scored]) -> NDArray[np.bool_]:
    """Tell for each clip whether its best class is the right one, bool `(N,)`; a failed clip is wrong."""
    best = [classes[int(np.argmax(s.scores))] if s.scores else None for s in scored]
    return np.array([guess == s.label for guess, s in zip(best, scored, strict=True)], bool)


def summarise(
    classes: Sequence[str],
    scored: Sequence[Scored],
    *,
    seed: int = 0,
    temperature: float | None = None,
    baseline: Sequence[Scored] | None = None,
) -> EvalReport:
    """Compute every figure of an evaluation.

    Args:
        classes: In the model's order.
        scored: At least one clip, whose label is one of the classes.
        seed: Of the resampling.
        temperature: Of the model, when one model scored all of them.
        baseline: The same clips as the model's baseline scored them.
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
        else calibration_error(calibration_bins(uncalibrated(scores[ok], temperature), truth[ok])),
        temperature=temperature,
        majority=float(support.max() / len(scored)),
        baseline=None if baseline is None else _compare(hit, hits(classes, baseline), groups, seed),
        per_class=tuple(
            ClassReport(name, float(p), float(r), float(f), int(n))
            for name, p, r, f, n in zip(classes, precision, recall, f1, support, strict=True)
        ),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        scored=tuple(scored),
    )


def _compare(
    hit: NDArray[np.bool_], baseline: NDArray[np.bool_], groups: NDArray[np.int64], seed: int
) -> Baseline:
    return Baseline(float(baseline.mean()), gain_interval(hit, baseline, groups, seed=seed))


def group_interval(hit: NDArray[np.bool_], groups: NDArray[np.int64], *, seed: int = 0) -> Interval:
    """Return the 95 % interval of the accuracy, by the bootstrap over groups (Davison & Hinkley 1997, 3.8).

    Clips of one recording stand or fall together, so whole groups are drawn with replacement. With
    few groups, or no mistake at all, that says nothing; so the interval is never narrower than
    as many independent clips would give (Wilson 1927).

    Args:
        hit: bool `(N,)`.
        groups: `(N,)`, numbered from 0.
        seed: Of the resampling.
    """
    low, high = _resampled(hit.astype(np.float64), groups, seed)
    share = float(hit.mean())
    below, above = _margins(hit)
    return Interval(max(0.0, min(low, share - below)), min(1.0, max(high, share + above)))


def gain_interval(
    hit: NDArray[np.bool_], other: NDArray[np.bool_], groups: NDArray[np.int64], *, seed: int = 0
) -> Interval:
    """Return the 95 % interval of what one accuracy is above another on the same clips.

    As for `group_interval`, whole groups are drawn, and the interval is never narrower than as many
    independent pairs would give (Newcombe 1998, method 10 without its correction for continuity).

    Args:
        hit: bool `(N,)`.
        other: bool `(N,)`, of the same clips.
        groups: `(N,)`, numbered from 0.
        seed: Of the resampling.
    """
    gain = hit.astype(np.float64) - other
    low, high = _resampled(gain, groups, seed)
    (below, above), (other_below, other_above) = _margins(hit), _margins(other)
    vary = hit.std() > 0 and other.std() > 0
    twice = 2 * float(np.corrcoef(hit, other)[0, 1]) if vary else 0.0
    down = math.sqrt(below**2 - twice * below * other_above + other_above**2)
    up = math.sqrt(above**2 - twice * above * other_below + other_below**2)
    return Interval(min(low, float(gain.mean()) - down), max(high, float(gain.mean()) + up))


def _margins(hit: NDArray[np.bool_]) -> tuple[float, float]:
    """Return how far the 95 % interval of a share of independent clips goes down and up (Wilson 1927)."""
    count, share, z = len(hit), float(hit.mean()), 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return share - middle + half, middle + half - share


def _resampled(values: NDArray[np.float64], groups: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of the mean of `(N,)` over clips whose groups are drawn anew."""
    num_groups = int(groups.max()) + 1
    sums = np.bincount(groups, weights=values, minlength=num_groups)
    sizes = np.bincount(groups, minlength=num_groups)
    drawn = np.random.default_rng(seed).integers(num_groups, size=(_RESAMPLES, num_groups))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)
