"""`vidlstm review INPUT`: write a page for correcting labels, and apply the decisions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from vidlstm.cli import options
from vidlstm.cli.console import Console, Exit, command
from vidlstm.data.layouts.folders import count
from vidlstm.errors import UsageError

if TYPE_CHECKING:
    from vidlstm.report.review import ReviewCard

EXAMPLES = (
    "vidlstm check clips/ --labels --json > labels.json && vidlstm review labels.json",
    "vidlstm predict new/ -f jsonl > rows.jsonl && vidlstm review rows.jsonl --budget 50",
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
            help="Page to write; with --apply: the new table, or the list that undoes the moves.",
            show_default="review.html; with --apply: named after DECISIONS",
        ),
    ] = None,
    apply: Annotated[
        Path | None, Option("--apply", help="Apply this decisions.csv to DATA.", metavar="DECISIONS")
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
        if budget is not None or root is not None:
            raise UsageError("--apply can be combined only with DATA and --output")
        return _apply(console, apply, source, output)

    from vidlstm.engine.review.budget import choose
    from vidlstm.engine.review.items import read_review
    from vidlstm.engine.review.page import write_review

    target = output or Path("review.html")
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise UsageError(f"{target}: not a file in an existing folder; name another one with --output")
    found = read_review(source)
    total = len(found.items)
    if budget is not None:
        found = choose(found, budget)

    def progress(cards: Iterable[ReviewCard]) -> Iterable[ReviewCard]:
        return console.progress(cards, total=len(found.items), label="Thumbnails", unit="clip")

    start = root or (source if source.is_dir() else source.parent)
    write_review(found, target, title=f"Review of {source}", root=start, progress=progress)
    number = count(len(found.items), "clip") if budget is None else f"{len(found.items)} of {total} clips"
    console.say(f"{number} to review: open {target} in a browser.")
    console.say("Then: vidlstm review --apply decisions.csv DATA")
    return Exit.DONE


def _apply(console: Console, decisions: Path, data: Path, output: Path | None) -> int:
    from vidlstm.engine.review.apply import apply_decisions, read_decisions

    is_table = data.is_file() or any((data / f"labels{suffix}").is_file() for suffix in (".csv", ".tsv"))
    name = f"{decisions.stem}.labels.csv" if is_table else f"{decisions.stem}.undo.csv"
    applied = apply_decisions(read_decisions(decisions), data, output or decisions.with_name(name))
    for problem in applied.problems:
        console.warn(problem)
    if applied.held_out:
        console.warn(
            f"{count(applied.held_out, 'held-out clip')} relabelled: "
            "scores from before and after are not comparable"
        )
    console.say(f"{count(applied.changed, 'label')} changed, {applied.kept} confirmed.")
    if applied.written is not None:
        prefix = "New table:" if is_table else f"To undo: vidlstm review {data} --apply"
        console.say(f"{prefix} {applied.written}")
    return Exit.SOME_FAILED if applied.problems else Exit.DONE
