"""What `train`, `eval` and `crossval` print at their end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.made import make_report
from vidlstm.cli.console import Console
from vidlstm.cli.reports import show_report, show_spans
from vidlstm.evaluations import ScoredFilm, SpanReport
from vidlstm.metrics.films import report_spans
from vidlstm.records import Span

Printed = pytest.CaptureFixture[str]


def film(group: str, *truth: Span) -> ScoredFilm:
    found = (Span(0, 4, "rise"), Span(6, 8, "sink"))
    return ScoredFilm(f"{group}.mp4", group, 10.0, truth, found, found[:1])


def report_of(*films: ScoredFilm) -> SpanReport:
    report = report_spans(films)
    assert report is not None
    return report


TWO = (Span(0, 4, "rise"), Span(6, 8, "sink"))


def test_the_figures_of_films_are_a_table_with_a_column_per_model(capsys: Printed) -> None:
    show_spans(Console(), report_of(film("a", *TWO), film("b", *TWO)))
    said = capsys.readouterr().err
    header, *rows = [
        [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")]
        for line in said.splitlines()
        if "│" in line or "┃" in line
    ]
    assert header == ["model", "most frequent class", "without smoothing"]
    figures = {row[0]: row[1:] for row in rows}
    assert [*figures] == ["frame accuracy", "edit", "F1@10", "F1@25", "F1@50", "mAP@0.3:0.7"]
    assert figures["F1@50"] == ["1.000 (1.000 to 1.000)", "0.000", "0.667"]
    assert "Spans: 4 in 2 films of 2 groups\n" in said
    assert "In parentheses: 95 % intervals, resampled over groups." in said


def test_one_group_has_no_intervals(capsys: Printed) -> None:
    show_spans(Console(), report_of(film("a", *TWO)))
    assert "interval" not in capsys.readouterr().err


def test_quiet_shows_no_table(capsys: Printed) -> None:
    show_spans(Console(quiet=True), report_of(film("a", *TWO)))
    assert capsys.readouterr().err == ""


def test_the_number_of_spans_that_count_is_explained_where_it_is_not_the_annotated_one(
    capsys: Printed,
) -> None:
    touching = (Span(0, 2, "rise"), Span(2, 4, "rise"), Span(6, 8, "sink"))
    show_spans(Console(), report_of(film("a", *touching)))
    assert (
        "Spans: 2 in 1 film of 1 group (3 annotated: touching spans of one label count as one, overlaps are "
        "cut)\n" in capsys.readouterr().err
    )


def test_says_how_many_clips_the_scores_were_calibrated_on(capsys: Printed) -> None:
    # (n + 1) / (n + 2) is the highest score that n clips allow.
    report = replace(make_report(), temperature=1.0)
    classes = len(report.classes)
    show_report(Console(), replace(report, floor=classes / (classes - 1) / 50), page=None)
    assert "No score exceeds 0.98, as the model was calibrated on 48 clips.\n" in capsys.readouterr().err


@pytest.mark.parametrize("page", [None, Path("report.html")])
def test_verbose_explains_the_cautions_and_does_not_point_to_the_explanation(
    capsys: Printed, page: Path | None
) -> None:
    show_report(Console(verbose=True), make_report(20), page=page)
    said = capsys.readouterr().err
    assert "Caution: " in said
    assert "explains)" not in said
    assert "details in" not in said
    show_report(Console(), make_report(20), page=None)
    assert "(--verbose explains).\n" in capsys.readouterr().err
