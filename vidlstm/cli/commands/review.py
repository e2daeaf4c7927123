"""`vidlstm review INPUT`: write a page for correcting labels, and apply the decisions."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from vidlstm.cli import options
from vidlstm.cli.console import Console, Exit, command
from vidlstm.config import ReviewFormat
from vidlstm.data.layouts.folders import count
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.files import write_atomically

if TYPE_CHECKING:
    from vidlstm.engine.review.items import ReviewList
    from vidlstm.report.review import ReviewCard

EXAMPLES = (
    "vidlstm check clips/ --labels --json > labels.json && vidlstm review labels.json",
    "vidlstm predict new/ -f jsonl > rows.jsonl && vidlstm review rows.jsonl --budget 50",
    "vidlstm review labels.json --format label-studio -o tasks.json",
    "vidlstm review --apply decisions.csv clips/",
)


@command
def review(
    console_options: options.ConsoleOptions,
    source: Annotated[
        Path,
        Argument(
            metavar="INPUT",
            help="jsonl of predict or spans, output of check --labels --json, or a run. With --apply: DATA.",
        ),
    ],
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="File to write; with --apply: the new table, or the list that undoes the moves.",
            show_default="review.html, .json or .zip; with --apply: named after DECISIONS",
        ),
    ] = None,
    layout: Annotated[
        ReviewFormat,
        Option("--format", "-f", help="html: an offline page. Others: tasks for these programs."),
    ] = "html",
    apply: Annotated[
        Path | None,
        Option(
            "--apply",
            help="Apply this decisions.csv, or an export of Label Studio or CVAT, to DATA.",
            metavar="DECISIONS",
        ),
    ] = None,
    budget: Annotated[
        int | None,
        Option(min=1, help="Show only the N clips that are most useful to label.", show_default="all clips"),
    ] = None,
    root: Annotated[
        Path | None,
        Option(help="Folder that paths are relative to.", show_default="this folder, then INPUT's"),
    ] = None,
) -> int:
    """Review labels on an offline page, and apply the decisions."""
    console = Console.of(console_options)
    if apply is not None:
        if budget is not None or root is not None or layout != "html":
            raise UsageError("--apply can be combined only with DATA and --output")
        return _apply(console, apply, source, output)

    from vidlstm.engine.review.budget import choose
    from vidlstm.engine.review.items import PREDICTIONS, read_review

    target = output or Path("review").with_suffix(_SUFFIXES[layout])
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: not a file in an existing folder; name another one with --output")
    _require_no_loss(target, layout, source / PREDICTIONS if source.is_dir() else source)
    found = read_review(source)
    total = len(found.items)
    if budget is not None:
        found = choose(found, budget)

    start = root or (source if source.is_dir() else source.parent)
    number = count(len(found.items), "clip") if budget is None else f"{len(found.items)} of {total} clips"
    console.say(f"{number} to review: {_write(console, found, target, layout, source, start)}")
    data = _data_of(source)
    console.say(_NEXT[layout] + (" DATA" if data is None else f" {shlex.quote(data)}"))
    return Exit.DONE


_SUFFIXES: dict[ReviewFormat, str] = {"html": ".html", "label-studio": ".json", "cvat": ".zip"}
_INTERFACE = ".xml"
"""Suffix of Label Studio's labelling interface, written next to the tasks."""
_NEXT: dict[ReviewFormat, str] = {
    "html": "Then: vidlstm review --apply decisions.csv",
    "label-studio": "Export as JSON, then: vidlstm review --apply EXPORT.json",
    "cvat": 'Export as "CVAT for images 1.1", then: vidlstm review --apply EXPORT.zip',
}


def _data_of(source: Path) -> str | None:
    """Return the data set of a run folder, if it is there; None: the input does not tell."""
    from vidlstm.models.header import FILE, read_header

    if not source.is_dir():
        return None
    try:
        data = read_header(source / FILE).training.get("data")
    except CheckpointError:
        return None
    return data if isinstance(data, str) and Path(data).exists() else None


def _require_no_loss(target: Path, layout: ReviewFormat, source: Path) -> None:
    """Check that no written file replaces the input or another written file."""
    interface = target.with_suffix(_INTERFACE)
    if layout == "label-studio" and target.suffix.lower() == _INTERFACE:  # some systems ignore case
        raise UsageError(f"{target}: would hold the labelling interface as well; name a .json with --output")
    for file in (target, interface) if layout == "label-studio" else (target,):
        if file.exists() and source.exists() and file.samefile(source):
            raise UsageError(f"{file}: would be overwritten, but is INPUT; name another file with --output")


def _write(
    console: Console, review: ReviewList, file: Path, layout: ReviewFormat, source: Path, root: Path
) -> str:
    """Write the clips; return what to do with the file."""
    number = len(review.items)
    if layout == "html":
        from vidlstm.engine.review.page import write_review

        def progress(cards: Iterable[ReviewCard]) -> Iterable[ReviewCard]:
            return console.progress(cards, total=number, label="Thumbnails", unit="clip")

        write_review(review, file, title=f"Review of {source}", root=root, progress=progress)
        return f"open {file} in a browser."
    if layout == "cvat":
        from vidlstm.engine.review.cvat import to_archive

        items = console.progress(review.items, total=number, label="Film strips", unit="clip")
        write_atomically(file, to_archive(review.classes, items, root))
        return f'in CVAT, make a project without labels, and import the dataset {file} as "CVAT 1.1".'
    from vidlstm.engine.review.label_studio import document_root, to_interface, to_tasks

    interface, served = file.with_suffix(_INTERFACE), document_root(review, root)
    write_atomically(file, to_tasks(review, root))
    write_atomically(interface, to_interface(review))
    return f"in Label Studio, set up labels by {interface}, add local storage {served} and import {file}."


def _apply(console: Console, decisions: Path, data: Path, output: Path | None) -> int:
    from vidlstm.engine.review.answers import read_decisions
    from vidlstm.engine.review.apply import apply_decisions, table_of

    is_table = table_of(data) is not None
    name = f"{decisions.stem}.labels.csv" if is_table else f"{decisions.stem}.undo.csv"
    applied = apply_decisions(read_decisions(decisions), data, output or decisions.with_name(name))
    for problem in applied.problems:
        console.warn(problem)
    if applied.held_out:
        console.warn(
            f"{count(applied.held_out, 'held-out clip')} relabelled: "
            "scores from before and after are not comparable"
        )
    added = f", {count(applied.added, 'clip')} added" if applied.added else ""
    console.say(f"{count(applied.changed, 'label')} changed, {applied.kept} confirmed{added}.")
    if applied.written is not None:
        prefix = "New table:" if is_table else f"To undo: vidlstm review {data} --apply"
        console.say(f"{prefix} {applied.written}")
    return Exit.SOME_FAILED if applied.problems else Exit.DONE
