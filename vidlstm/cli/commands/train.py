"""`vidlstm train DATA`: train a model and write a run folder.

Under torchrun several processes train one model: each runs the same session, and rank 0 writes the files
and prints.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from vidlstm.cli import options
from vidlstm.cli.console import Console, Exit, command, print_json
from vidlstm.cli.events import follow
from vidlstm.cli.flags import given_flags
from vidlstm.cli.reports import show_report, show_spans
from vidlstm.data.layouts.recognise import require_data
from vidlstm.stores import address_of

if TYPE_CHECKING:
    from vidlstm.engine.training.plan import TrainRequest
    from vidlstm.engine.training.result import TrainResult

EXAMPLES = (
    "vidlstm train clips/",
    "vidlstm train labels.csv --group-column person --out runs/first",
    "vidlstm train clips/ --resume runs/first",
)


@command
def train(
    data: options.DataOptions,
    model: options.ModelOptions,
    training: options.TrainingOptions,
    split: options.SplitOptions,
    fine_tuning: options.FineTuneOptions,
    machine: options.ClusterOptions,
    output: options.OutputOptions,
    console_options: options.ConsoleOptions,
    as_json: options.JsonOption = False,
    cache: options.CacheOption = True,
) -> int:
    """Train a model on DATA and write a run folder."""
    require_data(data.data)

    from vidlstm.engine.distributed import World
    from vidlstm.engine.training.plan import TrainRequest
    from vidlstm.engine.training.result import TrainResult
    from vidlstm.engine.training.session import train as session

    console = Console.of(console_options) if World.from_environment().is_main else Console.silent()
    request = TrainRequest(
        data, split, model, training, fine_tuning, machine, output,
        cache=cache, command=shlex.join(["vidlstm", *sys.argv[1:]]),
    )  # fmt: skip
    result = follow(console, session(request))
    if not isinstance(result, TrainResult):  # not rank 0
        return Exit.DONE
    _show_result(console, result, _crossval(request))
    if as_json:
        print_json(result.to_json())
    if result.interrupted:
        return Exit.INTERRUPTED
    return Exit.SOME_FAILED if result.num_unreadable else Exit.DONE


def _crossval(request: TrainRequest) -> list[str]:
    """Return the command that cross-validates the same data with the same settings."""
    data = str(address_of(request.data.data) or request.data.data)
    groups = (request.data, request.model, request.training, request.machine)
    cache = [] if request.cache else ["--no-cache"]
    return ["vidlstm", "crossval", data, *(flag for group in groups for flag in given_flags(group)), *cache]


def _show_result(console: Console, result: TrainResult, crossval: list[str]) -> None:
    if result.report is None:
        console.say("No clips were held out, so the model's accuracy is unknown.")
    else:
        show_report(console, result.report, page=result.page)
    if result.spans is not None:
        show_spans(console, result.spans)
    branches = ", ".join(f"{name} {weight:.2f}" for name, weight in result.branches.items())
    console.detail(f"Best epoch: {result.best_epoch} of {result.num_epochs}. Branch weights: {branches}.")
    if result.start is not None and result.report is not None:
        start = f"The run it started from, {result.start.path}, had a top-1 of {result.start.top1:.3f}"
        if result.report.top1 < result.start.top1:
            console.warn(f"{start} on the same clips, which is better; keep that model.")
        else:
            console.say(f"{start} on the same clips.")
    from vidlstm.report.findings import is_uncertain

    if result.folds is not None and not result.interrupted and result.report and is_uncertain(result.report):
        folds = [] if result.folds == 5 else ["--folds", str(result.folds)]
        console.say(f"For a score from all clips, not only the held-out ones: {shlex.join(crossval + folds)}")
    console.say(f"Run folder: {result.run}")
    if result.page is not None:
        console.say(f"Report: {result.page}")
    command = "spans" if result.on_films else "predict"
    noun = "PICTURE" if result.kind == "picture" else "FILM" if result.on_films else "CLIP"
    checkpoint = result.checkpoint.as_posix()  # no shell needs quotes around slashes
    console.say(f"Next: {shlex.join(['vidlstm', command, '--checkpoint', checkpoint])} {noun}_OR_FOLDER")
