"""Options for the amount of output, for JSON, and for the full help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer import Option

from vidlstm.cli.options.panels import ALL, OUTPUT


@dataclass(frozen=True)
class ConsoleOptions:
    """How much is written to standard error."""

    quiet: Annotated[
        bool, Option("--quiet", "-q", help="Show only warnings and errors.", rich_help_panel=OUTPUT)
    ] = False
    verbose: Annotated[bool, Option("--verbose", "-v", help="Show more detail.", rich_help_panel=OUTPUT)] = (
        False
    )


JsonOption = Annotated[
    bool, Option("--json", help="Print one JSON object to standard output.", rich_help_panel=OUTPUT)
]


def _help_all(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        ctx.meta[ALL] = True
        typer.echo(ctx.get_help(), color=ctx.color)
        raise typer.Exit


HelpAllOption = Annotated[
    bool, Option("--help-all", is_eager=True, callback=_help_all, help="Show every option and exit.")
]
