"""`vidlstm info CHECKPOINT`: show the facts in a checkpoint, or list the runs in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint
from vidlstm.cli.console import Console, command, print_table
from vidlstm.config_dict import to_dict
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.files import natural_key
from vidlstm.report.text import printable

if TYPE_CHECKING:
    from vidlstm.engine.prediction.costs import Costs
    from vidlstm.engine.training.run_folder import Unfinished

_IN_WORDS = (
    "top1", "top1_ci95", "num_clips", "num_groups", "group_rule", "epochs", "best_epoch", "reports_unknown",
    "data",
)  # fmt: skip
"""Facts about the training that `_training_rows` shows."""
_NAMES = {
    "version": "made by vidlstm",
    "settings": "training settings",
    "fusion": "branch weights",
    "floor": "score floor",
}
"""Names of the other facts in words."""

EXAMPLES = (
    "vidlstm info",
    "vidlstm info runs/first --json",
    "vidlstm info runs/first --cost clip.mp4",
    "vidlstm info runs",
)


@command
def info(
    checkpoint: Annotated[
        Path | None,
        Argument(
            help="Model file or run folder.",
            show_default="$VIDLSTM_CHECKPOINT, else the newest model in runs/",
        ),
    ] = None,
    cost: Annotated[
        Path | None,
        Option(help="Measure what each stream of the model costs on this clip.", show_default="none"),
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Show a model's classes, settings and training data."""
    from vidlstm.models.header import FILE

    runs = [] if checkpoint is None or (checkpoint / FILE).exists() else [*checkpoint.glob(f"*/{FILE}")]
    if runs:
        if cost is not None:
            raise UsageError(f"--cost needs one model, but {checkpoint} is a folder of runs")
        _show_runs(sorted(runs, key=lambda file: natural_key(file.parent.name)), as_json=as_json)
        return
    if checkpoint is not None and checkpoint.is_dir():
        _require_model(checkpoint)
    path = find_checkpoint(Console(), checkpoint)

    from vidlstm.engine.training.run_folder import find_unfinished
    from vidlstm.models.backends.int8 import is_default
    from vidlstm.models.checkpoint import read_header
    from vidlstm.models.header import CLIPS

    header = read_header(path)
    unfinished = find_unfinished(path.parent) if path.name == FILE else None
    config = to_dict(header.config)
    training = {k: v for k, v in header.training.items() if k not in CLIPS}
    if "int8" in training:
        shown = {name: value for name, value in training["int8"].items() if name != "inputs"}
        training["int8"] = shown | {"default": is_default(training["int8"])}
    costs = None if cost is None else _measure(path, cost)
    if as_json:
        facts: dict[str, Any] = {
            "schema": 1,
            "checkpoint": str(path),
            "num_parameters": header.num_parameters,
        }
        measured = {} if costs is None else {"cost": {"clip": str(cost), "cpu_seconds": asdict(costs)}}
        if unfinished is not None:
            facts["unfinished"] = {"epochs": unfinished.epochs, "planned": unfinished.planned}
        print(json.dumps({**facts, "model": config, "training": training, **measured}))
        return
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # show long paths in full
    table.add_row("model file", _cell(path))
    table.add_row("labels", f"{header.config.kind}s")
    table.add_row("classes", _cell(", ".join(header.config.classes)))
    for name, text in _training_rows(training):
        table.add_row(name, _cell(text))
    table.add_row("streams", "+".join(header.config.streams))
    if costs is not None:
        alone = ", ".join(f"{stream} {seconds:.2f}" for stream, seconds in costs.streams.items())
        together = f", together {costs.together:.2f}" if len(costs.streams) > 1 else ""
        table.add_row(
            "cost", _cell(f"{alone}{together} CPU s, decoding included, for {cost} on this machine")
        )
    for name in ("views", "sampling", "encoder", "head"):
        table.add_row(name, _cell(_plain(config[name])))
    if header.config.kind == "picture":
        table.add_row("grid", _cell(_plain(config["grid"])))
    if header.config.spans is not None:
        lengths = ", ".join(f"{seconds:.4g}" for seconds in header.config.spans.windows)
        table.add_row("windows", f"{lengths} s of a film")
    table.add_row("parameters", f"{header.num_parameters:,}")
    for name, value in training.items():
        if name not in _IN_WORDS:
            table.add_row(_NAMES.get(name, name), _cell(_plain(value)))
    print_table(table)
    if unfinished is not None:
        Console().warn(_describe(path.parent, unfinished))


def _training_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the facts about the training that are of interest to everybody, in words; any may be missing."""
    if (top1 := facts.get("top1")) is not None:
        ends = facts.get("top1_ci95")
        interval = f" (95 % interval: {' to '.join(map(_percent, ends))})" if isinstance(ends, list) else ""
        yield "accuracy", f"{_percent(top1)} of the held-out clips right{interval}"
    if isinstance(clips := facts.get("num_clips"), dict) and clips:
        train, val, test = (clips.get(name, 0) for name in ("train", "val", "test"))
        unused = f"; the val set ({val}) is not used" if val and test else ""
        yield "clips", f"{train} for training, {test or val} held out for the score{unused}"
    if (groups := facts.get("num_groups")) is not None:
        yield "groups", f"{groups}. {facts.get('group_rule', '')}"
    if (epochs := facts.get("epochs")) is not None:
        yield "epochs", f"{epochs}; the weights are those of epoch {facts.get('best_epoch')}"
    if (unknown := facts.get("reports_unknown")) is not None:
        yield "unknown clips", "reported as unknown" if unknown else "not recognised: each gets a class"
    if "data" in facts:
        yield "data", str(facts["data"])


def _require_model(run: Path) -> None:
    """Raise if a run has no model yet, so that there is nothing to show."""
    from vidlstm.engine.training.run_folder import find_unfinished

    unfinished = find_unfinished(run)
    if unfinished is not None and not unfinished.has_model:
        raise CheckpointError(f"{run}: no model yet. {_describe(run, unfinished)}")


def _describe(run: Path, unfinished: Unfinished) -> str:
    from vidlstm.cli.events import resuming

    done = f"{unfinished.epochs} of {unfinished.planned} epochs are done"
    return f"This run is unfinished: {done}. {resuming(unfinished.data, run)}"


def _measure(model: Path, clip: Path) -> Costs:
    from vidlstm.engine.prediction.costs import measure_costs
    from vidlstm.engine.prediction.labeller import load_labeller

    return measure_costs(load_labeller(model), clip)


def _show_runs(files: Sequence[Path], *, as_json: bool) -> None:
    """List the runs in a folder with their accuracy, held-out clips and training data."""
    from vidlstm.models.header import read_header

    table = Table("run", "top-1", "held out", "classes", "streams", "data", box=None)
    runs: list[dict[str, Any]] = []
    for file in files:
        try:
            header = read_header(file)
        except CheckpointError as error:
            runs.append({"run": str(file.parent), "error": str(error)})
            table.add_row(_cell(file.parent), _cell(error))
            continue
        facts, clips = header.training, header.training.get("num_clips", {})
        streams = "+".join(header.config.streams)
        top1, held_out = facts.get("top1"), clips.get("test") or clips.get("val", 0)
        runs.append(
            {"run": str(file.parent), "top1": top1, "held_out": held_out, "streams": streams,
             "classes": list(header.config.classes), "data": facts.get("data")}
        )  # fmt: skip
        shown = "" if top1 is None else f"{top1:.3f}"
        table.add_row(
            _cell(file.parent), shown, str(held_out), str(len(header.config.classes)), streams,
            _cell(facts.get("data", "")),
        )  # fmt: skip
    if as_json:
        print(json.dumps({"schema": 1, "runs": runs}))
    else:
        print_table(table)


def _cell(text: object) -> Text:
    return Text(printable(text))  # in a plain string, rich would interpret markup


def _percent(share: object) -> str:
    """Return a share of a model file in percent; anything else as plain text."""
    return f"{100 * share:.0f} %" if isinstance(share, float) else _plain(share)


def _plain(value: object) -> str:
    """Return a value of a model file as plain text, without brackets, numbers to four digits."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
