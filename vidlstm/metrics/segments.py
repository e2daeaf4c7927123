"""Metrics of labelled time spans in films.

Spans are in seconds, half-open `[start, end)`; time outside all spans is background, which is not a class.
Two spans of one label that touch are merged (`timeline`), because no frame-based scorer could tell them
apart. Where two spans overlap, the one that starts later counts.

- `frame_accuracy`: share of time with the right label, background included. Counting equal frames, as usual,
  is the same at a finite frame rate.
- `edit_score`: 1 minus the Levenshtein distance of the two sequences of labels, over the length of the
  longer (Lea et al., "Learning convolutional action primitives for fine-grained action recognition", 2016).
- `f1`: of spans at an IoU threshold; matches of all films are counted together (Lea et al., "Temporal
  convolutional networks for action segmentation and detection", CVPR 2017).
- `average_precision`: of one class at an IoU threshold (Caba Heilbron et al., "ActivityNet", CVPR 2015),
  with the precision made monotone, as for PASCAL VOC 2010.

Times in which nobody knows what happens, because an annotation there cannot be used, are `unclear`: outside
the true spans, in order, without overlaps. They are left out of `frame_accuracy`, and `counted` leaves out
the predicted spans there.

Public scorers give the same results on random timelines (`tests/metrics/test_segments.py`), except for these
faults:

- MS-TCN's `eval.py` ends the last segment of a film one frame early, in truth and prediction: its IoU is off
  by up to a frame, and for a segment of one frame it is 0 / 0. It also divides by zero if neither truth nor
  prediction has a segment (here: 1).
- MS-TCN matches a prediction only with the true segment that it overlaps most, even if another prediction has
  taken that one. So does this module: the published figures depend on it.
- ActivityNet's scorer sorts predictions by score alone, so equal scores keep the order of the file. Here they
  are ordered by film and time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np

from vidlstm.records import Span, Times

Spans = Sequence[Span]

F1_IOUS = (0.1, 0.25, 0.5)
MAP_IOUS = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class Matches:
    """Numbers of true positives, false positives and false negatives; can be added over films."""

    found: int = 0
    made_up: int = 0
    missed: int = 0

    def __add__(self, other: Matches) -> Matches:
        return Matches(self.found + other.found, self.made_up + other.made_up, self.missed + other.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if there are no true and no predicted spans."""
        total = 2 * self.found + self.made_up + self.missed
        return 2 * self.found / total if total else 1.0


def timeline(spans: Spans) -> list[Span]:
    """Return spans in order of time, without overlaps, and with touching spans of one label merged."""
    begin = sorted((s for s in spans if s.end > s.start), key=lambda s: (s.start, s.end))
    edges = sorted({t for s in begin for t in (s.start, s.end)})
    laid: list[Span] = []
    open_spans: list[tuple[float, int, Span]] = []  # a heap: the span that started last comes first
    place = 0
    for start, end in pairwise(edges):
        while place < len(begin) and begin[place].start <= start:
            heappush(open_spans, (-begin[place].start, -place, begin[place]))
            place += 1
        while open_spans and open_spans[0][2].end <= start:
            heappop(open_spans)
        if not open_spans:
            continue
        span = open_spans[0][2]
        if laid and laid[-1].end == start and laid[-1].label == span.label:
            last = laid.pop()
            laid.append(Span(last.start, end, span.label, max(last.score, span.score)))
        else:
            laid.append(Span(start, end, span.label, span.score))
    return laid


def known_seconds(seconds: float, unclear: Sequence[Times]) -> float:
    """Return the time of a film that is not `unclear`."""
    return seconds - sum(end - start for start, end in unclear)


def can_be_scored(seconds: float, unclear: Sequence[Times]) -> bool:
    """Tell whether any time of a film is not `unclear`."""
    return not unclear or known_seconds(seconds, unclear) > 0


def counted(truth: Spans, guess: Spans, unclear: Sequence[Times], iou: float) -> Spans:
    """Return the predicted spans of one film that are right or wrong.

    A span is neither if more than half of it is `unclear`, and it matches no true span of its label at the
    IoU threshold.
    """
    if not unclear:
        return guess
    truth = timeline(truth)
    return [
        span
        for span in guess
        if 2 * sum(_shared(span, *times) for times in unclear) <= span.end - span.start
        or any(t.label == span.label and intersection_over_union(span, t) >= iou for t in truth)
    ]


def frame_accuracy(truth: Spans, guess: Spans, seconds: float, unclear: Sequence[Times] = ()) -> float:
    """Return the share of `[0, seconds)`, except `unclear`, that has the same label, or none, in both."""
    truth, guess = timeline(truth), timeline(guess)
    left_out = [Span(start, end, "") for start, end in unclear]
    edges = {0.0, seconds} | {t for s in (*truth, *guess, *left_out) for t in (s.start, s.end)}
    inside = sorted(t for t in edges if 0 <= t <= seconds)
    laid = [(spans, [span.start for span in spans]) for spans in (left_out, truth, guess)]
    same = sum(
        end - start
        for start, end in pairwise(inside)
        if _agree(*(_label_at(*spans, (start + end) / 2) for spans in laid))
    )
    known = known_seconds(seconds, unclear)
    return same / known if known else 1.0


def edit_score(truth: Spans, guess: Spans) -> float:
    """Return the similarity of the two sequences of labels, 0 to 1, ignoring times."""
    wanted, given = ([s.label for s in timeline(spans)] for spans in (truth, guess))
    if not wanted and not given:
        return 1.0
    row = np.arange(len(given) + 1)
    for label in wanted:
        # `row` holds the previous distances: first deletions and substitutions, then insertions.
        different = np.array([label != other for other in given], int)
        best = np.concatenate(([row[0] + 1], np.minimum(row[1:] + 1, row[:-1] + different)))
        places = np.arange(len(best))
        row = np.minimum.accumulate(best - places) + places
    return 1.0 - float(row[-1]) / max(len(wanted), len(given))


def count_matches(truth: Spans, guess: Spans, iou: float) -> Matches:
    """Match the spans of one film.

    Each predicted span, in order of time, matches the true span of its label that it overlaps most, if the
    IoU is at least `iou` and no earlier prediction has matched it.
    """
    truth, guess = timeline(truth), timeline(guess)
    taken: set[int] = set()
    for span in guess:
        overlaps = [intersection_over_union(span, t) if t.label == span.label else 0.0 for t in truth]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= iou:
            taken.add(best)
    return Matches(len(taken), len(guess) - len(taken), len(truth) - len(taken))


def average_precision(truths: Sequence[Spans], guesses: Sequence[Spans], label: str, iou: float) -> float:
    """Return the average precision of one class over films; NaN if no film has the class.

    Predictions are processed by descending score; each matches the free true span of its film and label that
    it overlaps most, if the IoU is at least `iou`.

    Args:
        truths: True spans of each film.
        guesses: Predicted spans of each film, with scores.
        label: The class.
        iou: IoU threshold.
    """
    wanted = [[s for s in timeline(truth) if s.label == label] for truth in truths]
    total = sum(map(len, wanted))
    if not total:
        return float("nan")
    given = [
        (-s.score, film, s.start, s) for film, guess in enumerate(guesses) for s in guess if s.label == label
    ]
    taken: set[tuple[int, int]] = set()
    hits = []
    for _, film, _, span in sorted(given, key=lambda g: g[:3]):
        free = [
            (intersection_over_union(span, t), -number)
            for number, t in enumerate(wanted[film])
            if (film, number) not in taken
        ]
        overlap, number = max(free, default=(0.0, 0))
        hits.append(overlap >= iou)
        if hits[-1]:
            taken.add((film, -number))
    if not hits:
        return 0.0
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[np.array(hits)].sum() / total)


def mean_average_precision(truths: Sequence[Spans], guesses: Sequence[Spans], iou: float) -> float:
    """Return the mean average precision over the classes of the true spans; NaN if there are none."""
    labels = sorted({s.label for truth in truths for s in timeline(truth)})
    precisions = [average_precision(truths, guesses, label, iou) for label in labels]
    return float(np.mean(precisions)) if precisions else float("nan")


def intersection_over_union(one: Span, other: Span) -> float:
    """Return the intersection over union of two spans, 0 to 1, ignoring labels."""
    shared = _shared(one, other.start, other.end)
    if not shared:
        return 0.0
    return shared / (one.end - one.start + other.end - other.start - shared)


def _agree(unclear: str | None, truth: str | None, guess: str | None) -> bool:
    return unclear is None and truth == guess


def _shared(span: Span, start: float, end: float) -> float:
    """Return how many seconds of a span are between two times."""
    return max(0.0, min(span.end, end) - max(span.start, start))


def _label_at(laid: Spans, starts: Sequence[float], time: float) -> str | None:
    """Return the label at a time; `laid` are spans in order without overlaps, `starts` their starts."""
    place = bisect_right(starts, time) - 1
    return laid[place].label if place >= 0 and time < laid[place].end else None
