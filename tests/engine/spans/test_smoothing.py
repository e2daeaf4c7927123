"""From scores to spans: the best path compared with all paths, golden tables, the fitted cost."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.engine.spans.smoothing import (
    SpanRules,
    Timeline,
    apply_rules,
    best_path,
    find_spans,
    fit_switch_cost,
    spans_of,
    thresholded,
)
from vidlstm.records import Span

CLASSES = ("background", "sit", "walk")


def scores_of(path: list[int], sure: float = 0.8) -> NDArray[np.float64]:
    """Return scores `(N, 3)` that are highest for the classes of a path."""
    rest = (1 - sure) / 2
    return np.where(np.eye(3)[path] > 0, sure, rest)


def by_trying_all(scores: NDArray[np.float64], cost: float) -> float:
    number, width = scores.shape
    return max(value_of(np.array(p), scores, cost) for p in itertools.product(range(width), repeat=number))


def value_of(path: NDArray[np.int64], scores: NDArray[np.float64], cost: float) -> float:
    return float(np.log(scores[np.arange(len(path)), path]).sum() - cost * (np.diff(path) != 0).sum())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cost", [0.0, 0.7, 2.0])
def test_no_path_is_better_than_the_best(seed: int, cost: float) -> None:
    scores = np.random.default_rng(seed).dirichlet(np.ones(3), size=7)
    assert value_of(best_path(scores, cost), scores, cost) == pytest.approx(by_trying_all(scores, cost))


@pytest.mark.parametrize(
    ("cost", "path"),
    [
        (0.0, [0, 0, 1, 0, 1, 1, 2, 1, 1]),  # arg max
        (1.0, [0, 0, 0, 0, 1, 1, 1, 1, 1]),
        (50.0, [1] * 9),
    ],
)
def test_a_higher_cost_gives_fewer_changes(cost: float, path: list[int]) -> None:
    assert best_path(scores_of([0, 0, 1, 0, 1, 1, 2, 1, 1], 0.6), cost).tolist() == path


def test_a_film_without_cells_has_no_spans() -> None:
    timeline = Timeline(np.zeros((0, 3)), 0.5, 0.0)
    assert find_spans(timeline, CLASSES, "background", 1.0) == []
    assert thresholded(timeline, CLASSES, "background") == []


def test_a_score_of_zero_makes_no_path_impossible() -> None:
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert best_path(scores, 100.0).tolist() == [0, 0, 0]


def test_runs_become_spans_except_background() -> None:
    timeline = Timeline(scores_of([0, 1, 1, 2, 0]), 0.5, 2.2)
    path = np.array([0, 1, 1, 2, 2])
    sit, walk = spans_of(path, timeline, CLASSES, "background")
    assert (sit.start, sit.end, sit.label) == (0.5, 1.5, "sit")
    assert (walk.start, walk.end, walk.label) == (1.5, 2.2, "walk")  # to the end of the film, not of the cell
    assert [sit.score, walk.score] == pytest.approx([0.8, 0.45])
    assert [s.label for s in spans_of(path, timeline, CLASSES, None)] == ["background", "sit", "walk"]


@pytest.mark.parametrize(
    ("given", "rules", "kept"),
    [
        ([(0, 1, "a"), (1.2, 2, "a")], SpanRules(), [(0, 2, "a")]),
        ([(0, 1, "a"), (1.4, 2, "a")], SpanRules(), [(0, 1, "a"), (1.4, 2, "a")]),
        ([(0, 1, "a"), (1.2, 2, "b")], SpanRules(), [(0, 1, "a"), (1.2, 2, "b")]),
        ([(0, 0.4, "a"), (0.4, 2, "b")], SpanRules(), [(0.4, 2, "b")]),
        ([(0, 0.3, "a"), (0.4, 0.7, "a")], SpanRules(), [(0, 0.7, "a")]),  # joined first
        ([(0, 5, "a")], SpanRules(min_duration=6), []),
        ([(0, 5, "a")], SpanRules(min_score=0.6), []),
        ([(0, 5, "a")], SpanRules(min_score=0.5), [(0, 5, "a")]),
    ],
)
def test_rules(
    given: list[tuple[float, float, str]], rules: SpanRules, kept: list[tuple[float, float, str]]
) -> None:
    found = apply_rules([Span(a, b, label, 0.5) for a, b, label in given], rules)
    assert [(s.start, s.end, s.label) for s in found] == kept
    assert all(s.score == pytest.approx(0.5) for s in found)


@pytest.mark.parametrize("cell", [0.05, 0.1, 0.15, 1 / 30])
def test_rules_do_not_depend_on_where_the_spans_are(cell: float) -> None:
    rules = SpanRules(min_duration=5 * cell, max_gap=2 * cell)
    kept, joined, apart = [1] * 5, [1] * 5 + [0] * 2 + [1] * 5, [1] * 5 + [0] * 3 + [1] * 5
    for first in range(1, 300):
        for cells, number in ((kept, 1), (kept[1:], 0), (joined, 1), (apart, 2)):
            scores = scores_of([0] * first + cells + [0] * 5, 0.99)
            timeline = Timeline(scores, cell, len(scores) * cell)
            assert len(find_spans(timeline, CLASSES, "background", 1.0, rules)) == number


def test_thresholding_leaves_out_low_scores() -> None:
    timeline = Timeline(np.array([[0.2, 0.6, 0.2], [0.3, 0.4, 0.3], [0.6, 0.2, 0.2]]), 1.0, 3.0)
    assert [(s.start, s.end) for s in thresholded(timeline, CLASSES, "background")] == [(0, 1)]


def test_the_cost_is_fitted_to_the_noise() -> None:
    truth = [Span(5, 15, "sit"), Span(15, 25, "walk"), Span(35, 45, "sit")]
    cells = [0] * 10 + [1] * 20 + [2] * 20 + [0] * 20 + [1] * 20 + [0] * 10
    clean = Timeline(scores_of(cells), 0.5, 50.0)
    rng = np.random.default_rng(0)
    flipped = [int(rng.integers(3)) if rng.random() < 0.25 else c for c in cells]
    noisy = Timeline(scores_of(flipped, 0.6), 0.5, 50.0)
    assert fit_switch_cost([(clean, truth, ())], CLASSES, "background") == 0.0
    cost = fit_switch_cost([(noisy, truth, ())], CLASSES, "background")
    assert cost > 0
    assert [s.label for s in find_spans(noisy, CLASSES, "background", cost)] == ["sit", "walk", "sit"]


def test_spans_where_nobody_knows_what_happens_do_not_raise_the_cost() -> None:
    short = [1, 1, 0, 0]
    cells = [2] * 20 + [0] * 2 + short * 3 + short * 12  # walk, then sit three times, then what nobody knows
    timeline = Timeline(scores_of(cells, 0.6), 0.5, 41.0)
    truth = [Span(0, 10, "walk"), *(Span(start, start + 1, "sit") for start in (11.0, 13.0, 15.0))]
    assert fit_switch_cost([(timeline, truth, ())], CLASSES, "background") > 1
    assert fit_switch_cost([(timeline, truth, [(17.0, 41.0)])], CLASSES, "background") == 0
