"""The `vidlstm` command. Imports neither torch nor cv2: `--help` and a mistyped option answer at once."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import vidlstm
from vidlstm.cli import cache, check, crossval, evaluate, info, predict, train

app = typer.Typer(
    name="vidlstm",
    help="Recognise actions in your own videos: train on class folders, then label files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("predict")(predict.predict)
app.command("eval")(evaluate.evaluate)
app.command("crossval")(crossval.crossval)
app.command("check")(check.check)
app.command("info")(info.info)
app.command("cache")(cache.cache)


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
    """Run the command line."""
    # Threads that wait must sleep, not spin: decoders run beside the encoder on the same cores. Read
    # when torch is first imported, and inherited by the decoder processes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app()
