"""Online spans: the same as those of the whole film, each reported once, in order."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.engine.spans.online import OnlineSpans, SpanEdge
from vidlstm.engine.spans.smoothing import PathDecoder, SpanRules, Timeline, best_path, find_spans

CLASSES = ("background", "sit", "walk")
CELL = 0.5


def walk_through(seed: int, number: int = 120) -> NDArray[np.float64]:
    """Return noisy scores `(N, 3)` in which each class lasts for a while."""
    rng = np.random.default_rng(seed)
    path = np.repeat(rng.integers(3, size=number // 6 + 1), 6)[:number]
    return rng.dirichlet(np.ones(3), size=number) * 0.5 + np.eye(3)[path] * 0.5


def edges_of(
    scores: NDArray[np.float64], rules: SpanRules, seconds: float, together: int = 1
) -> list[SpanEdge]:
    online = OnlineSpans(CLASSES, "background", 2.0, rules, CELL)
    edges = []
    for first in range(0, len(scores), together):
        edges += online.add(scores[first : first + together])
    return edges + online.finish(seconds)


@pytest.mark.parametrize("cost", [0.0, 1.0, 4.0, 16.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_settled_path_is_the_best_path(seed: int, cost: float) -> None:
    scores = walk_through(seed)
    decoder = PathDecoder(cost)
    path: list[int] = []
    longest_wait = 0
    for number, row in enumerate(scores, 1):
        decoder.add(row[None])
        path += decoder.settle().tolist()
        longest_wait = max(longest_wait, number - len(path))
    path += decoder.finish().tolist()
    assert path == best_path(scores, cost).tolist()
    assert longest_wait < len(scores) / 2 or cost == 16.0


def test_uncertainty_ends_at_the_horizon() -> None:
    decoder = PathDecoder(5.0, horizon=8)
    told = 0
    for number in range(1, 1001):  # two classes stay equally good
        decoder.add(np.array([[0.5, 0.5, 0.0]]))
        told += len(decoder.settle())
        assert told >= number - 8
    assert told + len(decoder.finish()) == 1000


def test_a_forced_decision_binds_later_cells() -> None:
    decoder = PathDecoder(5.0, horizon=2)
    path: list[int] = []
    for row in [[0.5, 0.5]] * 4 + [[0.1, 0.9]] * 10:
        decoder.add(np.array([row]))
        path += decoder.settle().tolist()
    path += decoder.finish().tolist()
    assert path == [0] * path.index(1) + [1] * (len(path) - path.index(1))
    assert len(path) == 14


def test_a_preview_changes_nothing() -> None:
    scores = walk_through(3)
    decoder = PathDecoder(2.0)
    decoder.add(scores[:60])
    assert decoder.preview(scores[60:]).tolist() == best_path(scores, 2.0).tolist()
    decoder.add(scores[60:])
    assert decoder.finish().tolist() == best_path(scores, 2.0).tolist()


@pytest.mark.parametrize("together", [1, 7, 120])
@pytest.mark.parametrize("rules", [SpanRules(), SpanRules(min_duration=2.0, max_gap=1.0)])
@pytest.mark.parametrize("seed", range(8))
def test_online_spans_equal_those_of_the_whole_film(seed: int, rules: SpanRules, together: int) -> None:
    scores = walk_through(seed)
    seconds = len(scores) * CELL - 0.2
    expected = find_spans(Timeline(scores, CELL, seconds), CLASSES, "background", 2.0, rules)
    edges = edges_of(scores, rules, seconds, together)
    ended = [edge.span for edge in edges if edge.kind == "end"]
    assert [(s.start, s.end, s.label) for s in ended] == [(s.start, s.end, s.label) for s in expected]
    # A truncated last cell counts by its length.
    assert [s.score for s in ended] == pytest.approx([s.score for s in expected], abs=0.02)


@pytest.mark.parametrize("cell", [0.05, 0.15])
def test_a_gap_of_exactly_the_maximum_is_joined_anywhere(cell: float) -> None:
    rules = SpanRules(min_duration=5 * cell, max_gap=2 * cell)
    for first in range(1, 100):
        scores = np.eye(3)[[0] * first + [1] * 5 + [0] * 2 + [1] * 5 + [0] * 5] * 0.97 + 0.01
        online = OnlineSpans(CLASSES, "background", 1.0, rules, cell)
        edges = [*online.add(scores), *online.finish(len(scores) * cell)]
        assert [edge.kind for edge in edges] == ["start", "end"]


@pytest.mark.parametrize("delay", [None, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_each_start_is_followed_by_one_end(seed: int, delay: float | None) -> None:
    scores = walk_through(seed)
    online = OnlineSpans(CLASSES, "background", 2.0, SpanRules(), CELL, delay)
    edges = []
    for number in range(1, len(scores) - 4):
        edges += online.add(scores[number - 1 : number], scores[number : number + 4])
    edges += online.add(scores[-4:]) + online.finish(len(scores) * CELL)
    assert edges
    assert [edge.kind for edge in edges] == ["start", "end"] * (len(edges) // 2)
    for begun, ended in zip(edges[::2], edges[1::2], strict=True):
        assert (begun.span.label, begun.span.start) == (ended.span.label, ended.span.start)
    assert all(a.span.end <= b.span.start for a, b in zip(edges[1::2], edges[2::2], strict=False))


def test_a_delay_reports_sooner() -> None:
    scores = np.eye(3)[[0] * 10 + [1] * 20] * 0.7 + 0.1

    def told_at(delay: float | None) -> int:
        online = OnlineSpans(CLASSES, "background", 2.0, SpanRules(), CELL, delay)
        for number in range(len(scores) - 8):  # the end of the stream truncates eight cells
            if online.add(scores[number : number + 1], scores[number + 1 : number + 9]):
                return number + 9
        return len(scores)

    assert told_at(0.0) < told_at(2.0) < told_at(None)


def test_a_span_starts_when_its_score_suffices() -> None:
    scores = np.array([[0.4, 0.6, 0.0]] * 4 + [[0.0, 1.0, 0.0]] * 6)
    edges = edges_of(scores, SpanRules(min_score=0.75), 5.0)
    assert [edge.kind for edge in edges] == ["start", "end"]
    assert edges[0].span.end > 2.0
    assert (edges[1].span.start, edges[1].span.end, edges[1].span.label) == (0.0, 5.0, "sit")
    assert edges[1].span.score == pytest.approx(0.84)
