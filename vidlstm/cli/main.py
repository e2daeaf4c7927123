"""The `vidlstm` command. Imports neither torch nor cv2, and only the command that is run."""

from __future__ import annotations

import atexit
import gc
import importlib
import itertools
import os
import re
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

import vidlstm
from vidlstm.cli.standard_streams import prepare_streams

COMMANDS = {
    "train": "Train a model on DATA and write a run folder.",
    "predict": "Label clips: one row per file, in order, as soon as it is ready.",
    "spans": "Find what happens when in films: one row per span, film by film.",
    "watch": "Watch a camera or stream live: a row when an action begins, and when it ends.",
    "eval": "Score a model on labelled clips that it was not trained on.",
    "crossval": "Estimate accuracy by cross-validation: train on all folds but one, score that one.",
    "check": "Inspect a data set: unreadable files, duplicates, class balance, leaks between subsets.",
    "review": "Review labels on an offline page, and apply the decisions.",
    "export": "Write a model as ONNX or OpenVINO, in a folder that predicts without torch.",
    "info": "Show a model's classes, settings and training data.",
    "cache": "Show the location and size of the feature store, or clear it.",
    "help": "Show a page of the manual: formats, data layouts, films, Python and more.",
}
"""Summary of each command for the overview, which imports none of them."""

_MODULES = {"eval": "evaluate"}  # commands whose module has another name
_SETTINGS: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


_SUGGESTIONS = {
    "--model": ("--checkpoint FILE_OR_RUN", "--encoder NAME"),
    "--ckpt": ("--checkpoint FILE_OR_RUN",),
    "--gpu": ("--device cuda",),
    "--gpus": ("--device cuda",),
    "--cuda": ("--device cuda",),
    "--cpu": ("--device cpu",),
    "--batch": ("--batch-size N",),
    "--learning-rate": ("--lr RATE",),
    "--num-frames": ("--frames N",),
    "--num-workers": ("--workers N",),
    "--threads": ("--workers N",),
    "--jobs": ("--workers N",),
    "--threshold": ("--min-score SCORE",),
    "--csv": ("--format csv",),
}
"""Options of other programs and their names here; the first one that the command has is suggested."""


class _Command(TyperCommand):
    """A command with two help pages: `--help` shows the common options, `--help-all` all of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; for an option that has another name here, suggest that name."""
        known = {name for parameter in self.params for name in parameter.opts}
        for given in itertools.takewhile(lambda arg: arg != "--", args):
            name = given.partition("=")[0]
            suggested = [text for text in _SUGGESTIONS.get(name, ()) if text.split()[0] in known]
            if suggested and name not in known:
                typer.echo(f"vidlstm: {name}: no such option; use {suggested[0]}", err=True)
                raise typer.Exit(2)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _plain(error)
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, with the advanced options only for `--help-all`."""
        from vidlstm.cli.options import ADVANCED, ALL

        advanced = [p for p in self.params if getattr(p, "rich_help_panel", None) in ADVANCED]
        for option in advanced:
            option.hidden = ALL not in ctx.meta  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)
        for option in advanced:
            option.hidden = False  # type: ignore[attr-defined]
        formatter.write("Examples:\n" + "".join(f"  {line}\n" for line in ctx.obj))


def _plain(error: typer.BadParameter) -> str:
    """Return the message of a usage error with the way out, without the words of pydantic."""
    message = error.message.removeprefix("Value error, ")  # pydantic's, in Typer 0.27 and later
    if message == "Input should be less than or equal to 1" or "range 0<=x<=1" in message:
        return "must be a number from 0 to 1, such as 0.8"
    if at_least := re.fullmatch(r"Input should be greater than or equal to (\S+)", message):
        return f"must be at least {at_least[1]}"
    if message.startswith("'json' is not one of") and "'jsonl'" in message:
        return "rows are JSON lines, one object per line; use jsonl"
    return message


class _Commands(TyperGroup):
    """Commands that are imported on demand."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = dict.fromkeys(COMMANDS)  # for the suggestion after a mistyped name

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Import a command; None if it does not exist."""
        if cmd_name not in COMMANDS:
            return None
        name = _MODULES.get(cmd_name, cmd_name)
        single = typer.Typer(add_completion=False, rich_markup_mode="rich", **_SETTINGS)
        module = importlib.import_module(f"vidlstm.cli.commands.{name}")
        settings = {"obj": module.EXAMPLES, **_SETTINGS["context_settings"]}
        single.command(cmd_name, cls=_Command, context_settings=settings)(getattr(module, name))
        return typer.main.get_command(single)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the overview."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


# The overview is plain text: importing rich takes three times as long as everything else.
app = typer.Typer(
    name="vidlstm",
    cls=_Commands,
    help="Recognise actions in your own videos: train on class folders, then label files.",
    no_args_is_help=True,
    rich_markup_mode=None,
    **_SETTINGS,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(vidlstm.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Recognise actions in your own videos: train on class folders, then label files."""


def main() -> None:
    """Run the command line and end the process."""
    # Waiting threads must sleep, not spin: decoders and encoder share the cores. The variable is read when
    # torch is first imported, and inherited by the decoder processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # By default the garbage collector runs 1500 times while torch is imported, and finds nothing.
    gc.set_threshold(10_000, 50)
    prepare_streams()
    try:
        app()
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else int(bool(ended.code)))
    _leave(0)


def _leave(status: int) -> NoReturn:
    """End the process without destroying torch's objects one by one, which takes half a second."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(status)  # the interpreter reports the error
    os._exit(status)
