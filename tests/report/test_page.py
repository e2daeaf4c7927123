"""The page as text: names are escaped, nothing is loaded, it stays small, and it states its caveats."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.report.made import ACTIONS, AWKWARD, make_epochs, make_films, make_page, make_report, numbered
from vidlstm.engine.reporting import describe_test, film_section
from vidlstm.evaluations import Baseline, EvalReport, Interval, Scored
from vidlstm.metrics.classification import calibration, calibration_bins, calibration_error, summarise
from vidlstm.report.findings import cautions, doubtful_hits, mistakes, next_step, top
from vidlstm.report.page import MAX_CLIPS
from vidlstm.report.text import percent


class _Tags(HTMLParser):
    """Collects every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_names_and_labels_are_escaped() -> None:
    page = make_page(make_report(40, [*ACTIONS[:3], *AWKWARD], names=AWKWARD))
    assert page.encode("utf-8")  # no lone surrogate is left
    tags = _Tags(page).tags
    assert [tag for tag, _ in tags].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert "{{ 7 * 7 }}" in page
    assert "two\\nlines" in page
    assert "latin \\udce9t" not in page
    assert "latin \\xe9t\\xe9" in page


def test_links_preserve_the_bytes_of_file_names() -> None:
    page = make_page(make_report(12, ACTIONS, names=AWKWARD, skill=-9))
    assert "latin%20%E9t%E9.mp4" in page


def test_a_model_that_is_no_better_than_one_class_needs_more_clips() -> None:
    guessing, learned = (make_report(60, numbered(6), skill=skill, num_failed=0) for skill in (0, 3))
    advice = next_step(guessing)
    assert advice is not None
    assert advice.startswith("more clips: the model is not clearly better than always naming one class.")
    assert next_step(learned) != advice


def report_of(*rows: tuple[str, str, int]) -> EvalReport:
    """Return a report on clips with a true class, a guess, and their number; each clip is its own group."""
    classes = ("kick", "punch", "push")
    clips = [(true, guess) for true, guess, number in rows for _ in range(number)]
    scored = [
        Scored(Path(f"{i}.mp4"), true, f"g{i}", tuple(0.8 if c == guess else 0.1 for c in classes), None)
        for i, (true, guess) in enumerate(clips)
    ]
    return summarise(classes, scored)


def test_advice_is_on_the_class_with_the_most_mistakes() -> None:
    report = report_of(
        ("kick", "kick", 30), ("kick", "push", 2), ("punch", "punch", 30), ("punch", "kick", 3),
        ("punch", "push", 4), ("push", "push", 1),
    )  # fmt: skip
    assert next_step(report) == 'more recordings of "punch": 30 of 37 clips right, 4 taken for "push".'


def test_two_classes_that_are_taken_for_one_another_are_both_named() -> None:
    report = report_of(
        ("kick", "kick", 30), ("kick", "push", 1), ("punch", "punch", 20), ("punch", "push", 5),
        ("push", "push", 20), ("push", "punch", 3), ("push", "kick", 1),
    )  # fmt: skip
    assert next_step(report) == (
        'look at "punch" and "push": 8 clips of these two are taken for the other one, most of their '
        "mistakes. Add clips in which they differ, correct labels (`vidlstm review`), or merge the two."
    )


def test_a_class_that_is_only_taken_for_another_needs_recordings_of_its_own() -> None:
    report = report_of(
        ("kick", "kick", 30), ("punch", "punch", 20), ("punch", "push", 5), ("push", "push", 20)
    )
    assert next_step(report) == 'more recordings of "punch": 20 of 25 clips right, 5 taken for "push".'


def test_a_class_with_far_fewer_clips_or_groups_than_the_others_says_so() -> None:
    few = report_of(("kick", "kick", 30), ("punch", "punch", 24), ("push", "push", 1), ("push", "kick", 2))
    assert next_step(few) == (
        'more recordings of "push": 1 of 3 clips right, 2 taken for "kick"; it has 3 clips, the other '
        "classes mostly 27."
    )
    same = [replace(s, group="one" if s.label == "punch" else s.group) for s in few.scored]
    alone = [replace(s, label="punch", group="one") if s.label == "push" else s for s in same]
    advice = next_step(summarise(few.classes[:2], [replace(s, scores=s.scores[:2]) for s in alone]))
    assert advice is not None
    assert advice.endswith("; it has 1 group, the other classes mostly 30.")


def test_without_a_class_of_two_mistakes_advice_is_on_the_class_that_is_not_tested() -> None:
    report = report_of(
        ("kick", "kick", 20), ("kick", "punch", 1), ("punch", "punch", 20), ("push", "push", 1)
    )
    assert next_step(report) == 'more clips of "push", from other people or recordings.'


def test_a_class_without_clips_has_no_figures() -> None:
    page = make_page(report_of(("kick", "kick", 5), ("punch", "kick", 5)))
    assert page.count('<td class="number">-</td>') == 3
    assert re.search(r'<th scope="row">push</th>(<td class="number">-</td>){3}', page)


def test_nothing_is_loaded_from_elsewhere() -> None:
    for _, attributes in _Tags(make_page(make_report(), curves=make_epochs())).tags:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith(("#", "file:"))


@pytest.mark.parametrize(("num_clips", "number"), [(120, 6), (2000, 101)])
def test_the_page_stays_small(num_clips: int, number: int) -> None:
    report = make_report(num_clips, numbered(number), skill=3)
    assert len(make_page(report, curves=make_epochs(), frame_bytes=3500)) < 1_500_000
    assert len(mistakes(report, MAX_CLIPS)) <= MAX_CLIPS


def test_mistakes_come_most_confident_first_and_hits_least_confident_first() -> None:
    report = make_report(200, skill=1.5)
    wrong, right = mistakes(report, 8), doubtful_hits(report, 8)
    assert [max(s.scores) for s in wrong] == sorted((max(s.scores) for s in wrong), reverse=True)
    assert [max(s.scores) for s in right] == sorted(max(s.scores) for s in right)
    assert all(top(report, s, 1)[0].label != s.label for s in wrong)
    assert all(top(report, s, 1)[0].label == s.label for s in right)


def error(scores: list[list[float]], truth: list[int]) -> float:
    return calibration_error(calibration_bins(np.array(scores), np.array(truth)))


class TestCalibration:
    def test_error_by_hand(self) -> None:
        # Two clips at 0.9, one of them right: gap 0.4; two at 0.6, both right: also a gap of 0.4.
        scores = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]
        assert error(scores, [0, 1, 0, 0]) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)

    def test_errors_in_different_bins_do_not_cancel_out(self) -> None:
        # Overconfidence in one bin and underconfidence in another do not cancel out ...
        assert error([[0.9, 0.1], [0.6, 0.4]], [1, 0]) == pytest.approx((0.9 + 0.4) / 2)
        # ... but within one bin they do.
        assert error([[0.61, 0.39], [0.62, 0.38]], [1, 0]) == pytest.approx((1.23 - 1) / 2)

    def test_certainty_that_is_right_costs_nothing(self) -> None:
        assert error(np.eye(3).tolist(), [0, 1, 2]) == 0
        assert calibration_error(calibration_bins(np.zeros((0, 3)), np.zeros(0, np.int64))) == 0

    def test_the_page_shows_it_before_and_after(self) -> None:
        report = make_report(300, temperature=1.5)
        assert calibration_error(calibration(report)) == report.ece
        before = calibration(report, calibrated=False)
        assert calibration_error(before) == report.ece_uncalibrated != report.ece
        page = make_page(report)
        assert f"Before calibration (grey): {report.ece_uncalibrated:.3f}" in page
        assert "Temperature: 1.500" in page

    def test_without_a_temperature_the_page_shows_one_curve(self) -> None:
        assert "Before calibration" not in make_page(make_report(temperature=None))

    def test_undoing_an_identity_calibration_changes_nothing(self) -> None:
        report = make_report(300, temperature=None)
        assert calibration(report, calibrated=False) == calibration(report)


def test_too_few_held_out_clips_are_mentioned() -> None:
    small = cautions(make_report(18, num_failed=0))
    assert any("points wide" in line for line in small)
    assert any("Fewer than 5 clips" in line for line in small)
    assert any("computed from 2 groups, so it understates the uncertainty" in line for line in small)
    assert cautions(make_report(1200, skill=5)) == []


def test_a_perfect_score_on_few_clips_is_not_called_perfect() -> None:
    perfect = make_report(24, ["a", "b"], skill=50, num_failed=0)
    assert any("up to 14 %" in line for line in cautions(perfect))


def test_a_model_no_better_than_the_majority_class_is_reported() -> None:
    assert any(
        "always predicting the most frequent class (17 %)" in line
        for line in cautions(make_report(120, skill=0))
    )


def test_the_baseline_is_shown_beside_the_accuracy() -> None:
    report = make_report(120, skill=2)
    as_good = replace(report, baseline=Baseline(report.top1, Interval(-0.031, 0.024)))
    page = make_page(as_good)
    assert f"always the most frequent class: {percent(report.majority)}" in page
    assert f"without frame order: {percent(report.top1)}" in page
    assert f"without frame order gives {100 * report.top1:.1f} %. The model differs" in page
    assert "by -3.1 to +2.4 points (95 % interval): on these clips the difference is within chance" in page
    assert "without frame order" not in make_page(report)
    better = replace(report, baseline=Baseline(0.3, Interval(0.1, 0.5)))
    assert not any("order matters" in line for line in cautions(better))


def test_top5_is_shown_only_if_it_can_be_wrong() -> None:
    assert "<dt>Top-5</dt>" in make_page(make_report(classes=ACTIONS))
    assert "<dt>Top-5</dt>" not in make_page(make_report(classes=ACTIONS[:5]))


def test_the_true_class_among_the_scores_of_a_mistake_is_named_as_such() -> None:
    page = make_page(make_report())
    assert "(true class)" in page
    assert "✓" not in page


def test_the_title_does_not_count_classes_for_everything_else() -> None:
    assert describe_test("films", ("Background", "sit", "walk")) == "films: test of a model of 2 actions"
    assert describe_test("films", ("none", "sit")) == "films: test of a model of 1 action"


class TestFilms:
    def test_annotated_and_found_spans_are_shown_above_one_another(self) -> None:
        page = make_page(make_report(), films=make_films(["a.mp4"], ["wave", "clap"]))
        truth, found = re.findall(r'<svg class="timeline".*?</svg>', page, re.DOTALL)
        for drawn in (truth, found):
            assert re.findall(r'<rect x="(.*?)" width="(.*?)" .*fill="(.*?)"', drawn) == [
                ("0.000%", "40.000%", "#008040"), ("50.000%", "40.000%", "#018040"),
            ]  # fmt: skip
        assert "<title>clap 50.00 to 90.00 s</title>" in truth
        assert "<title>clap 50.00 to 90.00 s, score 0.75</title>" in found

    def test_films_with_the_most_mistakes_come_first_and_only_some_are_shown(self) -> None:
        names = [f"{n}.mp4" for n in range(40)]
        page = make_page(make_report(), films=make_films(names, numbered(60)))
        shown = re.findall(r"<h3><a .*?>(.*?)</a></h3>\n<p>1:40; frame accuracy (.*?), F1@50 (.*?)</p>", page)
        assert [name for name, _, _ in shown] == names[:-31:-1]
        assert shown[0][2] == "0.519"  # 21 of 60 spans are found: 2 * 21 / (60 + 21)
        assert "30 of 40 are shown" in page

    def test_the_figures_of_all_films_are_in_a_table(self) -> None:
        page = make_page(make_report(), films=make_films(["a.mp4", "b.mp4"], ["wave", "clap"]))
        row = r"<tr><th scope=\"row\">this model</th>.*?</tr>"
        (cells,) = re.findall(row, page, re.DOTALL)
        assert re.findall(r">([\d.]+)(?: %)?</td>", cells) == ["80.0", "0.750", "0.857", "0.857", "0.857"]

    def test_every_span_has_a_colour_whatever_its_class(self) -> None:
        report = make_report(classes=("background", "other", "wave"))
        spans = make_films(["a.mp4"], ["other", "wave"]).report
        (film,) = spans.films
        found = replace(spans, films=(replace(film, truth=film.truth[1:]),))  # `other` is found only
        assert set(film_section(report, found).colours) == {"other", "wave"}
        assert make_page(report, films=film_section(report, found)).count("<title>other") == 1

    def test_awkward_names_are_escaped(self) -> None:
        page = make_page(make_report(), films=make_films(AWKWARD, AWKWARD))
        assert "<script>window" not in page
        assert "<img src=x" not in page

    def test_without_films_there_is_no_such_section(self) -> None:
        assert "<h2>Films</h2>" not in make_page(make_report())


def test_a_page_is_made_even_if_nothing_is_readable() -> None:
    assert "could not be read" in make_page(make_report(6, num_failed=6))
