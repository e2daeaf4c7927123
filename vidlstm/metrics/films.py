"""The metrics of spans in films, with intervals and baselines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vidlstm.evaluations import Interval, ScoredFilm, SpanReport, SpanScores
from vidlstm.metrics.segments import (
    F1_IOUS,
    MAP_IOUS,
    Matches,
    can_be_scored,
    count_matches,
    counted,
    edit_score,
    frame_accuracy,
    known_seconds,
    mean_average_precision,
    timeline,
)
from vidlstm.records import Span

_RESAMPLES = 2000
_PERCENT = tuple(str(round(100 * iou)) for iou in F1_IOUS)


def score_spans(films: Sequence[ScoredFilm]) -> SpanScores:
    """Return the metrics of the spans found in some films, which can be scored."""
    f1 = {
        name: sum((_matches(film, iou) for film in films), Matches()).f1
        for name, iou in zip(_PERCENT, F1_IOUS, strict=True)
    }
    truths = [film.truth for film in films]
    precisions = {
        str(iou): mean_average_precision(truths, [_counted(film, iou) for film in films], iou)
        for iou in MAP_IOUS
    }
    return SpanScores(
        sum(map(_right_seconds, films)) / sum(map(_known_seconds, films)),
        float(np.mean([_edit(film) for film in films])),
        f1,
        {name: None if math.isnan(value) else value for name, value in precisions.items()},
    )


def report_spans(films: Sequence[ScoredFilm], *, seed: int = 0) -> SpanReport | None:
    """Compute every figure of an evaluation on films; None if none of them can be scored.

    Args:
        films: The films.
        seed: Seed of the resampling.
    """
    scored = [film for film in films if can_be_scored(film.seconds, film.unclear)]
    if not scored:
        return None
    truths = [timeline(film.truth) for film in scored]
    labels = sorted({s.label for truth in truths for s in truth})
    return SpanReport(
        num_films=len(scored),
        num_groups=len({film.group for film in scored}),
        num_spans=sum(map(len, truths)),
        scores=score_spans(scored),
        intervals=_intervals(scored, seed),
        baselines={
            "majority": score_spans(_majority(scored)),
            "threshold": score_spans([replace(film, found=film.thresholded) for film in scored]),
        },
        per_class={label: _class_f1(scored, label) for label in labels},
        films=tuple(scored),
        not_scored=tuple(film.name for film in films if not can_be_scored(film.seconds, film.unclear)),
    )


def _known_seconds(film: ScoredFilm) -> float:
    return known_seconds(film.seconds, film.unclear)


def _right_seconds(film: ScoredFilm) -> float:
    return frame_accuracy(film.truth, film.found, film.seconds, film.unclear) * _known_seconds(film)


def _counted(film: ScoredFilm, iou: float) -> Sequence[Span]:
    return counted(film.truth, film.found, film.unclear, iou)


def _matches(film: ScoredFilm, iou: float) -> Matches:
    return count_matches(film.truth, _counted(film, iou), iou)


def _edit(film: ScoredFilm) -> float:
    return edit_score(film.truth, _counted(film, F1_IOUS[0]))


def _majority(films: Sequence[ScoredFilm]) -> list[ScoredFilm]:
    """Return the films with the most frequent class by time, or none, found throughout each of them."""
    spent: Counter[str | None] = Counter()
    for film in films:
        acts = timeline(film.truth)
        for span in acts:
            spent[span.label] += span.end - span.start  # type: ignore[assignment]
        spent[None] += _known_seconds(film) - sum(s.end - s.start for s in acts)  # type: ignore[assignment]
    label = max(spent, key=lambda name: spent[name])
    return [replace(film, found=[] if label is None else [Span(0.0, film.seconds, label)]) for film in films]


def _class_f1(films: Sequence[ScoredFilm], label: str) -> tuple[float, int]:
    matches = Matches()
    for film in films:
        laid = timeline(film.truth), timeline(_counted(film, 0.5))  # first: one may lie over another class
        truth, found = ([s for s in spans if s.label == label] for spans in laid)
        matches += count_matches(truth, found, 0.5)
    return matches.f1, matches.found + matches.missed


def _intervals(films: Sequence[ScoredFilm], seed: int) -> dict[str, Interval]:
    """Return 95 % intervals by the bootstrap over groups (Davison & Hinkley 1997, 3.8); none for 1 group."""
    groups, place = np.unique([film.group for film in films], return_inverse=True)
    if len(groups) < 2:
        return {}
    # By group: known and right seconds, films, edit scores, then found, false and missed spans by threshold.
    sums = np.zeros((len(groups), 4 + 3 * len(F1_IOUS)))
    for film, group in zip(films, place, strict=True):
        row = [_known_seconds(film), _right_seconds(film), 1.0, _edit(film)]
        for iou in F1_IOUS:
            matches = _matches(film, iou)
            row += [matches.found, matches.made_up, matches.missed]
        sums[group] += row
    drawn = np.random.default_rng(seed).integers(len(groups), size=(_RESAMPLES, len(groups)))
    totals = sums[drawn].sum(axis=1)
    values = {"frame_accuracy": totals[:, 1] / totals[:, 0], "edit": totals[:, 3] / totals[:, 2]}
    for number, name in enumerate(_PERCENT):
        found, made_up, missed = totals[:, 4 + 3 * number : 7 + 3 * number].T
        values[f"f1_{name}"] = 2 * found / np.maximum(2 * found + made_up + missed, 1)
    return {name: Interval(*map(float, np.quantile(v, [0.025, 0.975]))) for name, v in values.items()}
