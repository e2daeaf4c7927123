"""The report on films: what overlaps, and what one group can show."""

from __future__ import annotations

import pytest

from vidlstm.evaluations import ScoredFilm
from vidlstm.metrics.films import report_spans
from vidlstm.records import Span


def film(name: str, truth: list[Span], found: list[Span], group: str = "") -> ScoredFilm:
    return ScoredFilm(name, group or name, 20.0, truth, found, found)


def test_a_span_over_another_one_divides_it_in_every_metric() -> None:
    truth = [Span(0, 10, "wave"), Span(3, 5, "sit")]
    found = [Span(0, 3, "wave"), Span(3, 5, "sit"), Span(5, 10, "wave")]
    report = report_spans([film("a.mp4", truth, found)])
    assert report.scores.frame_accuracy == 1
    assert report.scores.f1 == {"10": 1, "25": 1, "50": 1}
    assert report.scores.map["0.5"] == 1
    assert report.per_class == {"sit": (1.0, 1), "wave": (1.0, 2)}


def test_a_class_that_another_one_covers_has_no_part_in_the_mean_precision() -> None:
    truth = [Span(2, 4, "sit"), Span(2, 4, "wave")]
    report = report_spans([film("a.mp4", truth, [Span(2, 4, "wave")])])
    assert report.scores.map["0.5"] == 1
    assert set(report.per_class) == {"wave"}


@pytest.mark.parametrize(("groups", "names"), [(["g", "g"], set()), (["g", "h"], {"frame_accuracy", "edit"})])
def test_one_group_shows_no_interval(groups: list[str], names: set[str]) -> None:
    spans = [Span(0, 10, "wave")]
    report = report_spans([film(f"{n}.mp4", spans, spans, group) for n, group in enumerate(groups)])
    assert names <= set(report.intervals)
    assert bool(report.intervals) == bool(names)
