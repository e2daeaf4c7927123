"""Turn the scores of a film's grid cells into spans.

The scores of all windows around a cell are averaged as probabilities. The labels of a film are the best path
through its cells, where every change of label costs the model's `switch_cost` (a Viterbi pass over a Potts
chain: Rabiner 1989). This gives hysteresis: a label persists until another one is better by more than the
cost of switching there and back. The cost is fitted on films that the ensemble members were not trained on
(`fit_switch_cost`).

Benefit: F1@50 on 13 thermal recordings (FIR-Image-Action), `crossval --folds group`, seeds 0 and 1: 0.618 and
0.580; thresholding the same scores: 0.447 and 0.398. Tried without improvement, in 5 grouped folds where this
gave 0.525: transition probabilities in place of one cost, a duration model per class (semi-Markov) 0.502, a
background prior. A logistic regression over the scores of neighbouring cells gave up to 0.554, but an F1@10
of 0.683 instead of 0.723.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vidlstm.metrics.segments import F1_IOUS, Matches, count_matches, counted, frame_accuracy, known_seconds
from vidlstm.records import Span, Times

Scores = NDArray[np.float64]

SWITCH_COSTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Candidate values for `fit_switch_cost`."""
_LEAST = 1e-6  # minimum probability, so that no path is impossible
_ROUNDING = 1e-6  # seconds; times are multiples of a cell, so a gap of two cells of 0.15 s may exceed 0.3 s


@dataclass(frozen=True)
class SpanRules:
    """Which spans are reported.

    Args:
        min_duration: Minimum duration in seconds.
        max_gap: Two spans of one label with a gap of at most this many seconds are joined.
        min_score: Minimum score.
    """

    min_duration: float = 0.5
    max_gap: float = 0.3
    min_score: float = 0.0

    def joins(self, first: Span, second: Span) -> bool:
        """Return whether two consecutive spans are to be joined."""
        return first.label == second.label and self.bridges(second.start - first.end)

    def bridges(self, gap: float) -> bool:
        """Return whether a gap of this many seconds is short enough to be joined over."""
        return gap <= self.max_gap + _ROUNDING

    def keeps(self, span: Span) -> bool:
        """Return whether a span is long enough and its score high enough to be reported."""
        is_long = span.end - span.start >= self.min_duration - _ROUNDING
        return is_long and span.score >= self.min_score


@dataclass(frozen=True)
class Timeline:
    """The scores of one film.

    Args:
        scores: `(N, K)`, class probabilities of each cell.
        cell: Length of a cell in seconds; the first one starts at 0.
        seconds: Length of the film, which is the end of the last cell.
    """

    scores: Scores
    cell: float
    seconds: float


class PathDecoder:
    """Finds the best path through cells, which may arrive one after the other.

    Only cells whose class is not settled yet are kept; in a whole film, these are all cells. Live, a cell is
    settled once the best paths to all classes of the newest cell agree on it, as no later cell can change it.
    If they do not agree within `horizon` cells, the best path decides (truncated Viterbi: Heller and Jacobs
    1971).

    Args:
        switch_cost: Cost of a change from one class to any other, in nats.
        horizon: Maximum number of cells to wait for a decision.
    """

    def __init__(self, switch_cost: float, horizon: int | None = None) -> None:
        self._switch_cost = switch_cost
        self._horizon = horizon
        self._total: Scores = np.zeros(0)  # score of the best path to each class of the newest cell
        self._best: list[int] = []  # per cell: the best class if the path ended there
        self._stayed: list[NDArray[np.bool_]] = []  # per cell: whether the best path to a class stays in it

    def add(self, scores: Scores) -> None:
        """Add cells, `(N, K)` probabilities."""
        for gains in np.log(np.maximum(scores, _LEAST)):
            stayed = np.ones(len(gains), bool)
            if self._best:
                switched = self._total[self._best[-1]] - self._switch_cost
                stayed = self._total >= switched
                gains += np.where(stayed, self._total, switched)
            self._total = gains
            self._stayed.append(stayed)
            self._best.append(int(self._total.argmax()))

    def settle(self) -> NDArray[np.int64]:
        """Return the classes of the cells settled since the last call, `(n,)`."""
        if not self._best:
            return np.zeros(0, np.int64)
        origins = self._trace(np.arange(len(self._total)))
        agreed = (origins == origins[:, :1]).all(axis=1)
        number = int(np.flatnonzero(agreed)[-1]) + 1 if agreed.any() else 0
        if self._horizon is not None and len(origins) - number > self._horizon:
            number = len(origins) - self._horizon
            best = origins[number - 1, self._best[-1]]
            self._total = np.where(origins[number - 1] == best, self._total, -np.inf)
        self._total -= self._total.max()  # only differences matter, and a stream may run for days
        path = origins[:number, self._best[-1]]
        del self._best[:number], self._stayed[:number]  # the newest cell is never settled
        return path

    def preview(self, scores: Scores) -> NDArray[np.int64]:
        """Return the best path over the unsettled cells and the given ones, as if the film ended there.

        Args:
            scores: Scores of the cells that follow, `(N, K)`; they are not kept.
        """
        ahead = PathDecoder(self._switch_cost)
        ahead._total, ahead._best, ahead._stayed = self._total, self._best.copy(), self._stayed.copy()
        ahead.add(scores)
        return ahead.finish()

    def finish(self) -> NDArray[np.int64]:
        """Return the classes of all unsettled cells on the best path."""
        if not self._best:
            return np.zeros(0, np.int64)
        path: NDArray[np.int64] = self._trace(np.array([self._best[-1]]))[:, 0]
        self._best.clear()
        self._stayed.clear()
        return path

    def _trace(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the best path to each given class of the newest cell, `(n, len(ends))`."""
        paths = np.zeros((len(self._best), len(ends)), np.int64)
        paths[-1] = ends
        for cell in range(len(paths) - 1, 0, -1):
            stayed = self._stayed[cell][paths[cell]]
            paths[cell - 1] = np.where(stayed, paths[cell], self._best[cell - 1])
        return paths


def best_path(scores: Scores, switch_cost: float) -> NDArray[np.int64]:
    """Return the class of each cell on the best path, `(N,)`.

    Args:
        scores: `(N, K)`, probabilities.
        switch_cost: Cost of a change from one class to any other, in nats.
    """
    decoder = PathDecoder(switch_cost)
    decoder.add(scores)
    return decoder.finish()


def spans_of(
    path: NDArray[np.int64], timeline: Timeline, classes: Sequence[str], background: str | None
) -> list[Span]:
    """Return each run of one class as a span, except for background.

    Args:
        path: Class of each cell; -1 for none.
        timeline: Scores of the film. A span's score is the mean over its cells.
        classes: Class names, in the order of the scores.
        background: The class that means "no action".
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
    """Join spans separated by short gaps, then drop those that are too short or whose score is too low."""
    joined: list[Span] = []
    for span in spans:
        if joined and rules.joins(joined[-1], span):
            joined[-1] = join(joined[-1], span)
        else:
            joined.append(span)
    return [span for span in joined if rules.keeps(span)]


def join(first: Span, second: Span) -> Span:
    """Join two spans of one label; the score is the mean weighted by their durations."""
    long, more = first.end - first.start, second.end - second.start
    score = (first.score * long + second.score * more) / (long + more)
    return Span(first.start, second.end, first.label, score)


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
    """Return spans by plain thresholding: the best class of each cell, if it reaches the threshold.

    This is the baseline for smoothing.
    """
    best = timeline.scores.argmax(axis=1)
    path = np.where(timeline.scores.max(axis=1) >= threshold, best, -1)
    return spans_of(path.astype(np.int64), timeline, classes, background)


def fit_switch_cost(
    films: Sequence[tuple[Timeline, Sequence[Span], Sequence[Times]]],
    classes: Sequence[str],
    background: str | None,
) -> float:
    """Return the switch cost that gives the best spans on films.

    The criterion is the sum of F1@10, F1@25, F1@50 and frame accuracy: with few films, F1@50 alone is mostly
    chance.

    Args:
        films: For each film, scores from networks that were not trained on it, its true spans, and the times
            in which nobody knows what happens (see `ScoredFilm`).
        classes: Class names, in the order of the scores.
        background: The class that means "no action".
    """

    def quality(cost: float) -> float:
        found = [find_spans(timeline, classes, background, cost) for timeline, _, _ in films]
        right = sum(
            frame_accuracy(truth, spans, timeline.seconds, unclear) * known
            for (timeline, truth, unclear), spans, known in zip(films, found, seconds, strict=True)
        )
        total = right / sum(seconds)
        for iou in F1_IOUS:
            matches = (
                count_matches(truth, counted(truth, spans, unclear, iou), iou)
                for (_, truth, unclear), spans in zip(films, found, strict=True)
            )
            total += sum(matches, Matches()).f1
        return total

    seconds = [known_seconds(timeline.seconds, unclear) for timeline, _, unclear in films]

    return max(SWITCH_COSTS, key=quality)
