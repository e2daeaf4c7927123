"""`vidlstm crossval DATA`: estimate accuracy by cross-validation."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from rich.table import Table
from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import Console, Exit, command, print_json
from vidlstm.cli.events import follow
from vidlstm.cli.reports import show_report, show_spans
from vidlstm.data.layouts.recognise import require_data
from vidlstm.errors import UsageError

if TYPE_CHECKING:
    from vidlstm.engine.evaluation.crossval import CrossvalRow, Folds

EXAMPLES = (
    "vidlstm crossval clips/",
    "vidlstm crossval labels.csv --folds group --repeat 3",
)


@command
def crossval(
    data: options.DataOptions,
    model: options.ModelOptions,
    training: options.TrainingOptions,
    machine: options.ClusterOptions,
    console_options: options.ConsoleOptions,
    folds: Annotated[
        str,
        Option(
            help="Number of folds; or group: one fold per group; or split: the train and test sets of DATA."
        ),
    ] = "5",
    ablation: Annotated[
        bool, Option("--ablation", help="Compare streams and heads, including the baseline.")
    ] = False,
    repeat: Annotated[int, Option(min=1, help="Repeat with N consecutive seeds, starting at --seed.")] = 1,
    out: Annotated[
        Path | None,
        Option("--out", "-o", help="Folder for the report, predictions.csv and plots.", show_default="none"),
    ] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the report in --out.")] = False,
    as_json: options.JsonOption = False,
    cache: options.CacheOption = True,
) -> int:
    """Estimate accuracy by cross-validation: train on all folds but one, score that one."""
    chosen = _parse_folds(folds)
    require_data(data.data)

    from vidlstm.engine.evaluation.crossval import CrossvalRequest, CrossvalResult
    from vidlstm.engine.evaluation.crossval import crossval as session

    console = Console.of(console_options)
    request = CrossvalRequest(
        data, model, training, machine, chosen, ablation, repeat, out=out, overwrite=overwrite,
        cache=cache, command=shlex.join(["vidlstm", *sys.argv[1:]]),
    )  # fmt: skip
    result = follow(console, session(request))
    assert isinstance(result, CrossvalResult)
    seeds = ", first seed" if repeat > 1 else ""
    console.say(f"{result.num_folds} folds, each scored by a model that was not trained on it{seeds}:")
    show_report(console, result.report, page=result.page)
    if result.pose:
        console.say(f"pose: used in {result.num_with_pose} of {len(result.pose)} folds{seeds}.")
    for seed, spans in result.spans.items():
        console.say(f"Seed {seed}:")
        show_spans(console, spans)
    if result.page is not None:
        console.say(f"Report: {result.page}")
    if ablation or repeat > 1:
        _show_rows(console, result.rows)
    if out is None:
        console.say("No files were written; --out FOLDER keeps the predictions and a report.")
    if as_json:
        print_json(result.to_json())
    return Exit.SOME_FAILED if result.report.failed else Exit.DONE


def _parse_folds(text: str) -> Folds:
    if text.isdecimal():
        return int(text)
    if text not in ("group", "split"):
        raise UsageError(f"--folds {text}: must be a number, group or split")
    return cast("Folds", text)


def _show_rows(console: Console, rows: tuple[CrossvalRow, ...]) -> None:
    table = Table("streams", "head", "top-1", "per seed")
    for row in rows:
        seeds = " ".join(f"{value:.3f}" for value in row.top1_per_seed.values())
        table.add_row("+".join(row.streams), row.head, f"{row.top1:.3f}", seeds)
    if not console.quiet:
        console.rich.print(table)
