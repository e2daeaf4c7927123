"""`vidlstm eval DATA`: score a model on labelled clips."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint
from vidlstm.cli.console import Console, Exit, command, print_json
from vidlstm.cli.events import follow
from vidlstm.cli.reports import require_page, show_report, show_spans
from vidlstm.data.layouts.recognise import require_data

EXAMPLES = (
    "vidlstm eval more_clips/",
    "vidlstm eval test.csv --checkpoint runs/first --report report.html",
)


@command
def evaluate(
    data: options.DataOptions,
    machine: options.ClusterOptions,
    console_options: options.ConsoleOptions,
    checkpoint: options.CheckpointOption = None,
    split: Annotated[
        Literal["train", "val", "test", "all"] | None,
        Option(help="Subset to score.", show_default="test, else what the run held out, else all"),
    ] = None,
    report_file: Annotated[
        Path | None,
        Option("--report", help="Write an HTML report to this file, and plots next to it."),
    ] = None,
    as_json: options.JsonOption = False,
    cache: options.CacheOption = True,
) -> int:
    """Score a model on labelled clips that it was not trained on."""
    console = Console.of(console_options)
    require_page(report_file, [data.data])
    path = find_checkpoint(console, checkpoint)
    require_data(data.data)

    from vidlstm.engine.evaluation.evaluate import EvaluateRequest, EvaluateResult
    from vidlstm.engine.evaluation.evaluate import evaluate as session

    request = EvaluateRequest(
        data, path, split, machine, report_file, cache, shlex.join(["vidlstm", *sys.argv[1:]])
    )
    result = follow(console, session(request))
    assert isinstance(result, EvaluateResult)
    show_report(console, result.report, page=result.page)
    if result.spans is not None:
        show_spans(console, result.spans)
    if result.page is not None:
        console.say(f"Report: {result.page}")
    if as_json:
        print_json(result.to_json())
    return Exit.SOME_FAILED if result.report.failed else Exit.DONE
