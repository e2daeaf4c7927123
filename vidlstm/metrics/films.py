"""The metrics of spans in films, with intervals and baselines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vidlstm.evaluations import Interval, ScoredFilm, SpanReport, SpanScores
from vidlstm.metrics.segments import (
    F1_IOUS,
    MAP_IOUS,
    Matches,
    count_matches,
    edit_score,
    frame_accuracy,
    mean_average_precision,
    timeline,
)
from vidlstm.records import Span

_RESAMPLES = 2000
_PERCENT = tuple(str(round(100 * iou)) for iou in F1_IOUS)


def score_spans(
    truths: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]], seconds: Sequence[float]
) -> SpanScores:
    """Return the metrics of some films.

    Args:
        truths: True spans of each film.
        found: Predicted spans of each film.
        seconds: Length of each film.
    """
    right = [frame_accuracy(t, f, s) * s for t, f, s in zip(truths, found, seconds, strict=True)]
    edits = [edit_score(t, f) for t, f in zip(truths, found, strict=True)]
    f1 = {}
    for name, iou in zip(_PERCENT, F1_IOUS, strict=True):
        f1[name] = sum((count_matches(t, f, iou) for t, f in zip(truths, found, strict=True)), Matches()).f1
    precisions = {str(iou): mean_average_precision(truths, found, iou) for iou in MAP_IOUS}
    known = {name: None if math.isnan(value) else value for name, value in precisions.items()}
    return SpanScores(sum(right) / sum(seconds), float(np.mean(edits)), f1, known)


def report_spans(films: Sequence[ScoredFilm], *, seed: int = 0) -> SpanReport:
    """Compute every figure of an evaluation on films.

    Args:
        films: At least one.
        seed: Seed of the resampling.
    """
    truths, seconds = [timeline(film.truth) for film in films], [film.seconds for film in films]
    labels = sorted({s.label for truth in truths for s in truth})
    everywhere = _majority(films)
    return SpanReport(
        num_films=len(films),
        num_groups=len({film.group for film in films}),
        num_spans=sum(map(len, truths)),
        scores=score_spans(truths, [film.found for film in films], seconds),
        intervals=_intervals(films, seed),
        baselines={
            "majority": score_spans(truths, everywhere, seconds),
            "threshold": score_spans(truths, [film.thresholded for film in films], seconds),
        },
        per_class={label: _class_f1(films, label) for label in labels},
        films=tuple(films),
    )


def _majority(films: Sequence[ScoredFilm]) -> list[list[Span]]:
    """Return the majority baseline: the most frequent class by time, or none, throughout every film."""
    spent: Counter[str | None] = Counter()
    for film in films:
        acts = timeline(film.truth)
        for span in acts:
            spent[span.label] += span.end - span.start  # type: ignore[assignment]
        spent[None] += film.seconds - sum(s.end - s.start for s in acts)  # type: ignore[assignment]
    label = max(spent, key=lambda name: spent[name])
    return [[] if label is None else [Span(0.0, film.seconds, label)] for film in films]


def _class_f1(films: Sequence[ScoredFilm], label: str) -> tuple[float, int]:
    matches = Matches()
    for film in films:
        laid = (
            timeline(film.truth),
            timeline(film.found),
        )  # first: a span may lie over another class
        truth, found = ([s for s in spans if s.label == label] for spans in laid)
        matches += count_matches(truth, found, 0.5)
    return matches.f1, matches.found + matches.missed


def _intervals(films: Sequence[ScoredFilm], seed: int) -> dict[str, Interval]:
    """Return 95 % intervals by the bootstrap over groups (Davison & Hinkley 1997, 3.8); none for 1 group."""
    groups, place = np.unique([film.group for film in films], return_inverse=True)
    if len(groups) < 2:
        return {}
    # By group: seconds, correct seconds, films, edit scores, then found, false and missed spans by threshold.
    sums = np.zeros((len(groups), 4 + 3 * len(F1_IOUS)))
    for film, group in zip(films, place, strict=True):
        right = frame_accuracy(film.truth, film.found, film.seconds) * film.seconds
        row = [film.seconds, right, 1.0, edit_score(film.truth, film.found)]
        for iou in F1_IOUS:
            matches = count_matches(film.truth, film.found, iou)
            row += [matches.found, matches.made_up, matches.missed]
        sums[group] += row
    drawn = np.random.default_rng(seed).integers(len(groups), size=(_RESAMPLES, len(groups)))
    totals = sums[drawn].sum(axis=1)
    values = {"frame_accuracy": totals[:, 1] / totals[:, 0], "edit": totals[:, 3] / totals[:, 2]}
    for number, name in enumerate(_PERCENT):
        found, made_up, missed = totals[:, 4 + 3 * number : 7 + 3 * number].T
        values[f"f1_{name}"] = 2 * found / np.maximum(2 * found + made_up + missed, 1)
    return {name: Interval(*map(float, np.quantile(v, [0.025, 0.975]))) for name, v in values.items()}
