"""What is printed of an evaluation: the headline figures, what they do not carry, the classes."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text

from vidlstm.cli.console import Console
from vidlstm.errors import UsageError
from vidlstm.records import EvalReport, SpanReport
from vidlstm.report.text import printable

PAGE = "report.html"


def require_folder(report: Path | None) -> None:
    """Find out early that a report could not be written.

    Raises:
        UsageError: Its folder is not there, or a folder has its name.
    """
    if report is None:
        return
    if not report.absolute().parent.is_dir():
        raise UsageError(f"--report {report}: there is no folder {report.parent}")
    if report.is_dir():
        raise UsageError(f"--report {report}: is a folder; name a file, such as {report / PAGE}")


def show_report(console: Console, report: EvalReport) -> None:
    """Say the headline figures, what they do not carry, and a table of the classes."""
    from vidlstm.report.findings import baselines, cautions

    low, high = report.top1_interval.low, report.top1_interval.high
    text = (
        f"top-1 {report.top1:.3f} (95 % interval {low:.3f} to {high:.3f}, resampled over "
        f"{report.num_groups} groups), "
        f"mean class accuracy {report.mean_class_accuracy:.3f}, macro F1 {report.macro_f1:.3f}, "
        f"{report.num_clips} clips; {'; '.join(f'{name}: {top1:.3f}' for name, top1 in baselines(report))}"
    )
    console.say(text)
    before = "" if report.ece_uncalibrated is None else f"; before calibration {report.ece_uncalibrated:.3f}"
    console.say(f"Calibration error (ECE) {report.ece:.3f}{before}.")
    if report.false_alarms is not None:
        console.say(
            f"{report.false_alarms:.1%} of the clips would be labelled unknown, though their class is known."
        )
    if report.failed:
        console.warn(f"{len(report.failed)} clips could not be read; each counts as a mistake")
    for caution in cautions(report):
        console.say(caution)
    if not console.quiet and sys.stderr.isatty():
        table = Table("class", "precision", "recall", "F1", "clips")
        for row in report.per_class:
            table.add_row(
                Text(printable(row.label)),  # a string would be searched for markup
                f"{row.precision:.3f}",
                f"{row.recall:.3f}",
                f"{row.f1:.3f}",
                str(row.support),
            )
        console.rich.print(table)


def show_spans(console: Console, report: SpanReport) -> None:
    """Print how well spans are found in films, beside the baselines."""
    intervals = {name: f" ({i.low:.3f} to {i.high:.3f})" for name, i in report.intervals.items()}
    console.say(
        f"Spans: {report.num_spans} in {report.num_films} films of {report.num_groups} groups; "
        "95 % intervals resampled over groups"
    )
    rows = [("model", report.scores), *report.baselines.items()]
    for name, scores in rows:
        own = intervals if name == "model" else {}
        f1 = ", ".join(f"{iou} {value:.3f}{own.get(f'f1_{iou}', '')}" for iou, value in scores.f1.items())
        known = [value for value in scores.map.values() if value is not None]
        mean = f"{sum(known) / len(known):.3f}" if known else "-"
        console.say(
            f"  {name}: frame accuracy {scores.frame_accuracy:.3f}{own.get('frame_accuracy', '')}, "
            f"edit {scores.edit:.3f}{own.get('edit', '')}, F1@ {f1}, mAP@0.3:0.7 {mean}"
        )
    if report.failed:
        console.warn(f"{len(report.failed)} films could not be read; nothing is found in them")
