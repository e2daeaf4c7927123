"""From the scores of a film's grid cells to spans.

The scores of all windows about a cell are averaged as probabilities. The labels of a film are then the best
path through its cells, where every change of label costs as much as the model's `switch_cost` says (a
Viterbi pass over a Potts chain: Rabiner 1989). So a label that has begun goes on until another one is
better by more than the cost of going there and back: that is a hysteresis. The cost is fitted on films
that the members of the model were not trained on (`fit_switch_cost`).

What it is worth: F1@50 of 13 thermal recordings (FIR-Image-Action), 5 grouped folds, seed 0, windows of 4 and
8 s on a grid of 4 Hz: 0.500, by thresholding the same scores 0.391. On a grid of 8 Hz 0.525; averaging
log-probabilities in place of probabilities 0.505; transition probabilities in place of one cost 0.495.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vidlstm.metrics.segments import F1_IOUS, Matches, count_matches, frame_accuracy
from vidlstm.records import Span

Scores = NDArray[np.float64]

SWITCH_COSTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Those that are tried."""
_LEAST = 1e-6  # probability, so that no path is impossible


@dataclass(frozen=True)
class SpanRules:
    """Which spans are reported.

    Args:
        min_duration: Shorter ones are not, in seconds.
        max_gap: Two of one label with so little between them are one, in seconds.
        min_score: Ones with a lower score are not.
    """

    min_duration: float = 0.5
    max_gap: float = 0.3
    min_score: float = 0.0


@dataclass(frozen=True)
class Timeline:
    """The scores of one film.

    Args:
        scores: `(N, K)`, probabilities of the classes in each cell.
        cell: Seconds that a cell takes; the first begins at 0.
        seconds: Length of the film, where the last cell ends.
    """

    scores: Scores
    cell: float
    seconds: float


def best_path(scores: Scores, switch_cost: float) -> NDArray[np.int64]:
    """Return the class of each cell on the best path, `(N,)`.

    Args:
        scores: `(N, K)`, probabilities.
        switch_cost: In nats, of a change from one class to any other.
    """
    if not len(scores):
        return np.zeros(0, np.int64)
    gains = np.log(np.maximum(scores, _LEAST))
    number, width = gains.shape
    stayed = np.zeros((number, width), bool)
    best = np.zeros(number, np.int64)  # the best class of each cell, if the path ended there
    total = gains[0].copy()
    for cell in range(1, number):
        best[cell - 1] = int(total.argmax())
        switched = total[best[cell - 1]] - switch_cost
        stayed[cell] = total >= switched
        total = np.where(stayed[cell], total, switched) + gains[cell]
    path = np.zeros(number, np.int64)
    path[-1] = int(total.argmax())
    for cell in range(number - 1, 0, -1):
        path[cell - 1] = path[cell] if stayed[cell, path[cell]] else best[cell - 1]
    return path


def spans_of(
    path: NDArray[np.int64], timeline: Timeline, classes: Sequence[str], background: str | None
) -> list[Span]:
    """Return the runs of one class as spans; background is none.

    Args:
        path: Class of each cell; -1 where there is none.
        timeline: Of the film. A span's score is the mean over its cells.
        classes: In the order of the scores.
        background: The class that is no action.
    """
    edges = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)] if len(path) else []
    spans = []
    for first, last in pairwise(edges):
        label = classes[path[first]] if path[first] >= 0 else background
        if label is not None and label != background:
            start, end = first * timeline.cell, min(last * timeline.cell, timeline.seconds)
            spans.append(Span(start, end, label, float(timeline.scores[first:last, path[first]].mean())))
    return spans


def apply_rules(spans: Sequence[Span], rules: SpanRules) -> list[Span]:
    """Join what is hardly apart, then leave out what is too short or too unsure."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and last.label == span.label and span.start - last.end <= rules.max_gap:
            long, more = last.end - last.start, span.end - span.start
            score = (last.score * long + span.score * more) / (long + more)
            joined[-1] = Span(last.start, span.end, span.label, score)
        else:
            joined.append(span)
    return [s for s in joined if s.end - s.start >= rules.min_duration and s.score >= rules.min_score]


def find_spans(
    timeline: Timeline,
    classes: Sequence[str],
    background: str | None,
    switch_cost: float,
    rules: SpanRules | None = None,
) -> list[Span]:
    """Return the spans of a film."""
    spans = spans_of(best_path(timeline.scores, switch_cost), timeline, classes, background)
    return apply_rules(spans, rules or SpanRules())


def thresholded(
    timeline: Timeline, classes: Sequence[str], background: str | None, threshold: float = 0.5
) -> list[Span]:
    """Return the spans of plain thresholding: the best class of each cell, where it reaches the threshold.

    The baseline that smoothing has to beat.
    """
    best = timeline.scores.argmax(axis=1)
    path = np.where(timeline.scores.max(axis=1) >= threshold, best, -1)
    return spans_of(path.astype(np.int64), timeline, classes, background)


def fit_switch_cost(
    films: Sequence[tuple[Timeline, Sequence[Span]]], classes: Sequence[str], background: str | None
) -> float:
    """Return the cost that gives the best spans on films.

    Best is the sum of F1@10, F1@25, F1@50 and frame accuracy: F1@50 alone follows chance where films are
    few.

    Args:
        films: Scores by networks that have not seen the film, and its true spans.
        classes: In the order of the scores.
        background: The class that is no action.
    """

    def quality(cost: float) -> float:
        found = [find_spans(timeline, classes, background, cost) for timeline, _ in films]
        right = sum(
            frame_accuracy(truth, spans, timeline.seconds) * timeline.seconds
            for (timeline, truth), spans in zip(films, found, strict=True)
        )
        total = right / sum(timeline.seconds for timeline, _ in films)
        for iou in F1_IOUS:
            matches = (count_matches(t, s, iou) for (_, t), s in zip(films, found, strict=True))
            total += sum(matches, Matches()).f1
        return total

    return max(SWITCH_COSTS, key=quality)
