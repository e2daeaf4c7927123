"""The report on films: what overlaps, and what one group can show."""

from __future__ import annotations

import pytest

from vidlstm.evaluations import ScoredFilm, SpanReport
from vidlstm.metrics.films import report_spans as report_or_none
from vidlstm.records import Span, Times


def film(
    name: str, truth: list[Span], found: list[Span], group: str = "", unclear: tuple[Times, ...] = ()
) -> ScoredFilm:
    return ScoredFilm(name, group or name, 20.0, truth, found, found, unclear=unclear)


def report_spans(films: list[ScoredFilm]) -> SpanReport:
    report = report_or_none(films)
    assert report is not None
    return report


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


def test_time_in_which_nobody_knows_what_happens_counts_in_no_metric() -> None:
    found = [Span(0, 4, "wave", 0.5), Span(11, 17, "wave", 0.9)]
    plain, unclear = (
        report_spans([film("a.mp4", [Span(0, 4, "wave")], found, unclear=times)])
        for times in ((), ((10.0, 18.0),))
    )
    for scores in (plain.scores, plain.baselines["threshold"]):
        assert (scores.frame_accuracy, scores.edit, scores.f1["50"], scores.map["0.5"]) == (
            pytest.approx((0.7, 0.5, 2 / 3, 0.5))
        )
    for scores in (unclear.scores, unclear.baselines["threshold"]):
        assert (scores.frame_accuracy, scores.edit, scores.f1["50"], scores.map["0.5"]) == (1, 1, 1, 1)
    assert (plain.per_class, unclear.per_class) == ({"wave": (2 / 3, 1)}, {"wave": (1, 1)})
    assert (plain.unclear_seconds, unclear.unclear_seconds) == (0, 8)


def test_a_span_that_reaches_into_such_time_is_right_if_it_matches() -> None:
    report = report_spans(
        [film("a.mp4", [Span(0, 4, "wave")], [Span(0, 10, "wave")], unclear=((4.0, 10.0),))]
    )
    assert report.scores.f1 == {"10": 1, "25": 1, "50": 0}  # the IoU is 0.4
    assert (report.scores.frame_accuracy, report.scores.edit) == (1, 1)


def test_the_most_frequent_class_is_that_of_the_known_time() -> None:
    truth = [Span(0, 8, "wave")]
    plain, unclear = (
        report_spans([film("a.mp4", truth, [], unclear=times)]).baselines["majority"]
        for times in ((), ((8.0, 18.0),))
    )
    assert (plain.frame_accuracy, plain.f1["10"]) == (0.6, 0)  # no action in 12 of 20 s
    assert (unclear.frame_accuracy, unclear.f1["10"], unclear.f1["50"]) == (0.8, 1, 0)


def test_intervals_leave_out_such_time() -> None:
    truth, found = [Span(0, 4, "wave")], [Span(0, 4, "wave"), Span(11, 17, "sit")]
    films = [film(name, truth, found, unclear=((10.0, 18.0),)) for name in ("a.mp4", "b.mp4")]
    assert {(i.low, i.high) for i in report_spans(films).intervals.values()} == {(1, 1)}


def test_a_film_of_which_nothing_is_known_is_not_scored() -> None:
    spans = [Span(0, 4, "wave")]
    known, unknown = film("a.mp4", spans, spans), film("b.mp4", spans, [], unclear=((0.0, 20.0),))
    report = report_spans([unknown, known])
    assert (report.num_films, report.films, report.not_scored) == (1, (known,), ("b.mp4",))
    assert report.scores.frame_accuracy == 1
    assert report_or_none([unknown]) is None
    assert report_or_none([]) is None
