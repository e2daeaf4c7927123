"""`vidlstm info CHECKPOINT`: what a checkpoint holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from rich.table import Table
from rich.text import Text
from typer import Argument

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint
from vidlstm.cli.console import Console, command, rich_console
from vidlstm.config import to_dict
from vidlstm.report.text import printable

EXAMPLES = (
    "vidlstm info",
    "vidlstm info runs/first --json",
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
    as_json: options.JsonOption = False,
) -> None:
    """Show a model's classes, settings and training data."""
    path = find_checkpoint(Console(), checkpoint)

    from vidlstm.models.checkpoint import read_header

    header = read_header(path)
    config = to_dict(header.config)
    training = {k: v for k, v in header.training.items() if k != "learned_from"}
    if as_json:
        facts = {"schema": 1, "checkpoint": str(path), "num_parameters": header.num_parameters}
        print(json.dumps({**facts, "model": config, "training": training}))
        return
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # a long path is shown whole
    table.add_row("checkpoint", _cell(path))
    table.add_row("classes", _cell(", ".join(header.config.classes)))
    table.add_row("streams", "+".join(header.config.streams))
    for name in ("kind", "views", "sampling", "encoder", "head"):
        table.add_row(name, _cell(_plain(config[name])))
    if header.config.kind == "picture":
        table.add_row("grid", _cell(_plain(config["grid"])))
    table.add_row("parameters", f"{header.num_parameters:,}")
    for name, value in training.items():
        table.add_row(name, _cell(_plain(value)))
    rich_console().print(table)


def _cell(text: object) -> Text:
    return Text(printable(text))  # a string would be searched for markup


def _plain(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
