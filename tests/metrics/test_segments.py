"""Metrics of spans: golden tables, and a second implementation of the published definitions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.metrics.segments import (
    F1_IOUS,
    MAP_IOUS,
    Matches,
    average_precision,
    count_matches,
    counted,
    edit_score,
    frame_accuracy,
    mean_average_precision,
    timeline,
)
from vidlstm.records import Span


def spans(text: str) -> list[Span]:
    """Read `walk 0-4; sit 4-6@0.5`."""
    found = []
    for part in filter(None, map(str.strip, text.split(";"))):
        label, times = part.split()
        times, _, score = times.partition("@")
        start, end = map(float, times.split("-"))
        found.append(Span(start, end, label, float(score or 1)))
    return found


@pytest.mark.parametrize(
    ("given", "laid"),
    [
        ("", ""),
        ("b 4-6; a 0-4", "a 0-4; b 4-6"),
        ("a 0-4; a 4-6", "a 0-6"),  # touch
        ("a 0-4; a 5-6", "a 0-4; a 5-6"),
        ("a 0-5; b 4-6", "a 0-4; b 4-6"),  # the one that starts later counts
        ("a 0-9; b 2-4", "a 0-2; b 2-4; a 4-9"),
        ("a 0-9; b 2-8; c 3-4", "a 0-2; b 2-3; c 3-4; b 4-8; a 8-9"),
        ("a 2-2", ""),
    ],
)
def test_a_timeline_has_one_label_at_a_time(given: str, laid: str) -> None:
    assert timeline(spans(given)) == spans(laid)


@pytest.mark.parametrize(
    ("truth", "guess", "accuracy", "edit", "f1_50"),
    [
        ("", "", 1.0, 1.0, 1.0),
        ("a 0-10", "", 0.0, 0.0, 0.0),
        ("", "a 0-5", 0.5, 0.0, 0.0),
        ("a 0-10", "a 0-10", 1.0, 1.0, 1.0),
        ("a 0-10", "a 0-5", 0.5, 1.0, 1.0),  # IoU 0.5 is enough
        ("a 0-10", "a 0-4.9", 0.49, 1.0, 0.0),
        ("a 0-10", "b 0-10", 0.0, 0.0, 0.0),
        ("a 0-4; b 6-10", "a 0-4; b 6-10; c 4-5", 0.9, 2 / 3, 0.8),
        ("a 0-4; b 6-10", "b 0-4; a 6-10", 0.2, 0.0, 0.0),
        ("a 0-10", "a 0-3; a 4-10", 0.9, 0.5, 2 / 3),  # one span in two pieces: the larger piece matches
    ],
)
def test_golden_table_of_ten_seconds(
    truth: str, guess: str, accuracy: float, edit: float, f1_50: float
) -> None:
    pair = spans(truth), spans(guess)
    assert frame_accuracy(*pair, 10) == pytest.approx(accuracy)
    assert edit_score(*pair) == pytest.approx(edit)
    assert count_matches(*pair, 0.5).f1 == pytest.approx(f1_50)


@pytest.mark.parametrize(
    ("truth", "guess", "right", "accuracy"),
    [  # of ten seconds, of which 4 to 8 are unclear
        ("", "", "", 1.0),
        ("", "a 4-8", "", 1.0),  # all of it
        ("", "a 3-8", "", 5 / 6),  # more than half of it
        ("", "a 2-6", "a 2-6", 4 / 6),  # half of it
        ("", "a 0-10", "a 0-10", 0.0),
        ("a 0-4", "a 0-4; a 4.5-8", "a 0-4", 1.0),
        ("a 3-4", "a 3-8", "", 1.0),  # the IoU is 0.2
        ("a 0-4", "b 3-8", "", 2 / 6),
        ("a 2-4; b 8-10", "a 2-8; b 8-10", "b 8-10", 1.0),  # the IoU is 1 / 3
    ],
)
def test_spans_where_nobody_knows_what_happens_are_neither_right_nor_wrong(
    truth: str, guess: str, right: str, accuracy: float
) -> None:
    assert counted(spans(truth), spans(guess), [(4.0, 8.0)], 0.5) == spans(right)
    assert counted(spans(truth), spans(guess), [], 0.5) == spans(guess)
    assert frame_accuracy(spans(truth), spans(guess), 10, [(4.0, 8.0)]) == pytest.approx(accuracy)


def test_a_span_that_matches_counts_wherever_it_is() -> None:
    truth, guess = spans("a 0-4"), spans("a 2-8")  # the IoU is 1 / 4, and two thirds of it are unclear
    assert counted(truth, guess, [(4.0, 8.0)], 0.25) == guess
    assert counted(truth, guess, [(4.0, 8.0)], 0.3) == []
    assert counted(spans("b 0-4"), guess, [(4.0, 8.0)], 0.25) == []


def test_matches_of_films_add_up() -> None:
    assert Matches(1, 2, 3) + Matches(1, 0, 0) == Matches(2, 2, 3)
    assert Matches(2, 2, 3).f1 == pytest.approx(4 / 9)


@pytest.mark.parametrize(
    ("truths", "guesses", "precision"),
    [
        (["a 0-10"], ["a 0-10"], 1.0),
        (["a 0-10"], [""], 0.0),
        (["a 0-10"], ["a 0-10@0.5; a 20-30@0.9"], 0.5),  # the best is wrong
        (["a 0-10"], ["a 0-10@0.9; a 20-30@0.5"], 1.0),  # found before any mistake
        (["a 0-10", "a 0-10"], ["a 0-10@0.9", "a 5-6@0.8"], 0.5),
        (["a 0-10; a 20-30"], ["a 0-10@0.9; a 50-60@0.8; a 20-30@0.7"], (1 + 2 / 3) / 2),
        (["a 0-10"], ["a 0-9@0.9; a 1-10@0.8"], 1.0),  # a second match of the same span is wrong
    ],
)
def test_average_precision(truths: list[str], guesses: list[str], precision: float) -> None:
    given = [spans(t) for t in truths], [spans(g) for g in guesses]
    assert average_precision(*given, "a", 0.5) == pytest.approx(precision)


def test_a_class_without_films_has_no_average_precision() -> None:
    truths, guesses = [spans("a 0-10")], [spans("a 0-10; b 20-30")]
    assert np.isnan(average_precision(truths, guesses, "b", 0.5))
    assert mean_average_precision(truths, guesses, 0.5) == 1.0
    assert np.isnan(mean_average_precision([[]], [[]], 0.5))


# ------------------------------------------- the published definitions, on timelines of whole frames


def segments_of(frames: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return label, first frame and frame after the last of every run that is not 0."""
    edges = [0, *(np.flatnonzero(np.diff(frames)) + 1).tolist(), len(frames)]
    pieces = [(int(frames[a]), a, b) for a, b in pairwise(edges)]
    return [piece for piece in pieces if piece[0]]


def as_spans(frames: NDArray[np.int64], scores: NDArray[np.float64] | None = None) -> list[Span]:
    return [
        Span(a, b, str(label), 1.0 if scores is None else float(scores[number]))
        for number, (label, a, b) in enumerate(segments_of(frames))
    ]


def levenshtein(one: Sequence[int], other: Sequence[int]) -> int:
    if not one or not other:
        return len(one) + len(other)
    table = [[i + j if not i or not j else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b))
    return table[-1][-1]


def f1_by_frames(truth: NDArray[np.int64], guess: NDArray[np.int64], iou: float) -> Matches:
    """Match as in MS-TCN's scorer, by the overlap of sets of frames."""
    wanted = [(label, set(range(a, b))) for label, a, b in segments_of(truth)]
    hits = [False] * len(wanted)
    made_up = 0
    for label, a, b in segments_of(guess):
        frames = set(range(a, b))
        overlaps = [len(frames & w) / len(frames | w) * (label == name) for name, w in wanted]
        best = max(range(len(wanted)), key=lambda i: overlaps[i], default=None)
        if best is not None and overlaps[best] >= iou and not hits[best]:
            hits[best] = True
        else:
            made_up += 1
    return Matches(sum(hits), made_up, len(hits) - sum(hits))


def precision_by_ranking(
    truths: Sequence[Sequence[Span]], guesses: Sequence[Sequence[Span]], iou: float
) -> float:
    """Average over classes as in ActivityNet: area under the interpolated curve, point by point."""
    per_class = []
    for label in sorted({s.label for t in truths for s in t}):
        wanted = {(film, n): s for film, t in enumerate(truths) for n, s in enumerate(t) if s.label == label}
        ranked = sorted(
            ((s.score, film, s) for film, g in enumerate(guesses) for s in g if s.label == label),
            key=lambda item: -item[0],
        )
        free, points, found = set(wanted), [(0.0, 0.0)], 0
        for rank, (_, film, span) in enumerate(ranked, 1):
            overlaps = {}
            for key in free:
                if key[0] == film:
                    other = wanted[key]
                    both = max(0.0, min(span.end, other.end) - max(span.start, other.start))
                    union = max(span.end, other.end) - min(span.start, other.start) if both else 1.0
                    overlaps[key] = both / union
            best = max(overlaps, key=lambda k: overlaps[k], default=None)
            if best is not None and overlaps[best] >= iou:
                free.remove(best)
                found += 1
            points.append((found / len(wanted), found / rank))
        area = 0.0
        for place in range(1, len(points)):
            width = points[place][0] - points[place - 1][0]
            area += width * max(p for r, p in points[place:])
        per_class.append(area)
    return float(np.mean(per_class))


def random_timeline(rng: np.random.Generator, length: int) -> NDArray[np.int64]:
    runs = rng.integers(1, 12, size=length)
    labels = rng.integers(0, 4, size=length)
    return np.repeat(labels, runs)[:length]


@pytest.mark.parametrize("seed", range(25))
def test_equal_to_the_published_definitions_on_random_timelines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths = [random_timeline(rng, 80) for _ in range(3)]
    guesses = [np.where(rng.random(80) < 0.8, t, random_timeline(rng, 80)) for t in truths]
    for truth, guess in zip(truths, guesses, strict=True):
        pair = as_spans(truth), as_spans(guess)
        assert frame_accuracy(*pair, len(truth)) == pytest.approx(float((truth == guess).mean()))
        names = [[label for label, _, _ in segments_of(frames)] for frames in (truth, guess)]
        assert edit_score(*pair) == pytest.approx(1 - levenshtein(*names) / max(map(len, names)))
        for iou in F1_IOUS:
            assert count_matches(*pair, iou) == f1_by_frames(truth, guess, iou)
    wanted = [as_spans(t) for t in truths]
    given = [as_spans(g, rng.permutation(80) / 80 + film / 1000) for film, g in enumerate(guesses)]
    for iou in MAP_IOUS:
        expected = precision_by_ranking(wanted, given, iou)
        assert mean_average_precision(wanted, given, iou) == pytest.approx(expected)
