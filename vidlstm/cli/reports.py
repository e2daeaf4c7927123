"""Print an evaluation: the main figures, cautions, and the table of classes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from rich.table import Table
from rich.text import Text

from vidlstm.cli.console import Console
from vidlstm.data.layouts.folders import count, some
from vidlstm.errors import UsageError
from vidlstm.evaluations import EvalReport, SpanReport, SpanScores
from vidlstm.files import real_path
from vidlstm.report.text import printable

PAGE = "report.html"
_HTML = (".html", ".htm")
_WIDE = 60  # columns that a terminal needs for the whole table
_NEARLY_SURE = 0.995
_SHOWN = 6  # classes named before "and N more"
_SPAN_BASELINES = {"majority": "most frequent class", "threshold": "without smoothing"}
_INTERVALS = {"frame accuracy": "frame_accuracy", "F1@10": "f1_10", "F1@25": "f1_25", "F1@50": "f1_50"}


def require_page(report: Path | None, inputs: Iterable[Path]) -> None:
    """Check early that the report can be written and replaces no input, model, table or video.

    Args:
        report: The HTML file; None: no report.
        inputs: Files and folders that are read.

    Raises:
        UsageError: The path is a folder or an input, or not the name of an HTML file.
    """
    if report is None:
        return
    if report.is_dir():
        raise UsageError(f"--report {report}: is a folder; name a file, such as {report / PAGE}")
    page = report.with_name(PAGE)
    if real_path(report) in map(real_path, inputs):
        raise UsageError(f"--report {report}: is an input; name another file, such as {page}")
    if report.suffix.lower() not in _HTML:
        raise UsageError(f"--report {report}: is not the name of an HTML file; name one, such as {page}")


def show_report(console: Console, report: EvalReport, *, page: Path | None) -> None:
    """Print the accuracy first, then the baselines, cautions, advice and the table of classes.

    Args:
        console: Where to print.
        report: Report on the held-out clips.
        page: The report page, which has all details.
    """
    from vidlstm.report.findings import baselines, find_cautions, next_step, untested

    noun = "clips" if report.kind == "video" else "pictures"
    right = round(report.top1 * report.num_clips)
    low, high = round(100 * report.top1_interval.low), round(100 * report.top1_interval.high)
    console.say(
        f"{right} of {report.num_clips} held-out {noun} right: {100 * report.top1:.0f} % "
        f"(true accuracy probably {low} to {high} %)."
    )
    if few := untested(report):
        names = ", ".join(few[:_SHOWN]) + (f" and {len(few) - _SHOWN} more" if len(few) > _SHOWN else "")
        console.say(f"Fewer than two held-out {noun}, so little is known about: {names}.")
    if report.false_alarms is not None:
        console.detail(
            f"{report.false_alarms:.1%} of these {noun} would be called unknown, though their class is known."
        )
    if report.failed:
        each = "it" if len(report.failed) == 1 else "each"
        console.warn(f"{len(report.failed)} of them could not be read; {each} counts as a mistake.")
    others = "; ".join(f"{name} {100 * top1:.0f} %" for name, top1 in baselines(report))
    console.say(f"For comparison, on the same {noun}: {others}.")
    if report.max_score is not None and report.max_score < _NEARLY_SURE:
        clips = round(1 / (1 - report.max_score)) - 2  # see `score_floor`
        calibrated = count(max(clips, 1), noun.removesuffix("s"))
        console.say(f"No score exceeds {report.max_score:.2f}, as the model was calibrated on {calibrated}.")
    if found := find_cautions(report):
        where = f" (details in {page})" if page is not None else " (--verbose explains)"
        if console.verbose:
            where = ""  # the details follow
        console.say(f"Caution: {'; '.join(caution.short for caution in found)}{where}.")
        for caution in found:
            console.detail(f"  {caution.text}")
    if (advice := next_step(report)) is not None:
        console.say(f"What would help most: {advice}")
    before = "" if report.ece_uncalibrated is None else f"; before calibration {report.ece_uncalibrated:.3f}"
    console.detail(
        f"top-1 {report.top1:.3f}, 95 % interval {report.top1_interval.low:.3f} to "
        f"{report.top1_interval.high:.3f}, resampled over {count(report.num_groups, 'group')}; mean class "
        f"accuracy {report.mean_class_accuracy:.3f}; macro F1 {report.macro_f1:.3f}; calibration error (ECE) "
        f"{report.ece:.3f}{before}"
    )
    if not console.quiet and sys.stderr.isatty():
        figures = ("F1",) if console.rich.width < _WIDE else ("precision", "recall", "F1")
        table = Table("class", *figures, noun)
        for row in report.per_class:
            values = {"precision": row.precision, "recall": row.recall, "F1": row.f1}
            table.add_row(
                Text(printable(row.label)),  # a string would be searched for markup
                *(f"{values[name]:.3f}" if row.support else "-" for name in figures),
                str(row.support),
            )
        console.rich.print(table)


def show_spans(console: Console, report: SpanReport) -> None:
    """Print a table of the metrics of spans in films, next to the baselines."""
    annotated = sum(len(film.truth) for film in report.films)
    merged = ""
    if annotated != report.num_spans:
        merged = f" ({annotated} annotated: touching spans of one label count as one, overlaps are cut)"
    console.say(
        f"Spans: {report.num_spans} in {count(report.num_films, 'film')} "
        f"of {count(report.num_groups, 'group')}{merged}"
    )
    if not console.quiet:
        console.rich.print(_span_table(report))
    intervals = " In parentheses: 95 % intervals, resampled over groups." if report.intervals else ""
    console.say(
        "F1@50 counts a span as right if it overlaps a true one by 50 % (intersection over union); edit "
        f"compares the order of the spans. The best value is 1.{intervals}"
    )
    if report.unclear_seconds:
        console.say(f"  {report.unclear_seconds:.1f} s are not counted, as annotations there cannot be used.")
    if report.not_scored:
        console.warn(
            f"{count(len(report.not_scored), 'film')} not scored, as an annotation that is not used may be "
            f"anywhere: {some(report.not_scored)}; `vidlstm check` lists such annotations"
        )
    if report.failed:
        console.warn(f"{count(len(report.failed), 'film')} could not be read and counted as having no spans")


def _span_table(report: SpanReport) -> Table:
    table = Table("", "model", *(_SPAN_BASELINES.get(name, name) for name in report.baselines))
    columns = [_figures(scores) for scores in (report.scores, *report.baselines.values())]
    for name, value in columns[0].items():
        interval = report.intervals.get(_INTERVALS.get(name, name))
        shown = "" if interval is None else f" ({interval.low:.3f} to {interval.high:.3f})"
        table.add_row(name, f"{value}{shown}", *(column[name] for column in columns[1:]))
    return table


def _figures(scores: SpanScores) -> dict[str, str]:
    known = [value for value in scores.map.values() if value is not None]
    return {
        "frame accuracy": f"{scores.frame_accuracy:.3f}",
        "edit": f"{scores.edit:.3f}",
        **{f"F1@{iou}": f"{value:.3f}" for iou, value in scores.f1.items()},
        "mAP@0.3:0.7": f"{sum(known) / len(known):.3f}" if known else "-",
    }
