"""Messages of the commands, and their exit status.

Standard output carries results and nothing else; notes, progress and errors go to standard error.
Foreign text (file names, labels) is shown through `printable`, so that it cannot control the terminal.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import typer
from rich.console import Console as RichConsole

from vidlstm.cli.flags import with_flags
from vidlstm.cli.options import ConsoleOptions, HelpAllOption
from vidlstm.errors import VidlstmError
from vidlstm.report.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from tqdm import tqdm

T = TypeVar("T")
_UNLIMITED = 100_000  # columns


class Exit(IntEnum):
    """Exit statuses."""

    DONE = 0
    SOME_FAILED = 1
    NO_SENSE = 2
    INTERRUPTED = 130


class Console:
    """Writes messages to standard error.

    Args:
        quiet: Show only warnings and errors.
        verbose: Also show details.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.rich = rich_console(stderr=True)

    @staticmethod
    def silent() -> Console:
        """Return a console that prints nothing, for the ranks above 0 of a distributed training."""
        logging.getLogger("vidlstm").handlers = [logging.NullHandler()]
        console = Console(quiet=True)
        console.rich = RichConsole(stderr=True, quiet=True)
        return console

    @staticmethod
    def of(options: ConsoleOptions) -> Console:
        """Return the console for the given options."""
        return Console(quiet=options.quiet, verbose=options.verbose)

    def say(self, text: str) -> None:
        """Print a line, unless quiet. Markup is not interpreted."""
        if not self.quiet:
            self.rich.print(_shown(text), markup=False)

    def detail(self, text: str) -> None:
        """Print a line if verbose."""
        if self.verbose:
            self.say(text)

    def warn(self, text: str) -> None:
        """Print a line, even if quiet."""
        self.rich.print(_shown(text), markup=False, style="yellow")

    def bar(
        self, *, total: int | None = None, label: str = "", unit: str = "", layout: str | None = None
    ) -> tqdm[Any]:
        """Return a progress bar with rate and remaining time, or in tqdm's `layout`; on terminals only."""
        from tqdm import tqdm

        hidden = self.quiet or not sys.stderr.isatty()
        return tqdm(
            total=total,
            desc=label,
            unit=unit,
            file=sys.stderr,
            disable=hidden,
            bar_format=layout,
            leave=False,
            dynamic_ncols=True,
        )

    def progress(self, items: Iterable[T], *, total: int | None, label: str, unit: str) -> Iterator[T]:
        """Yield the items and show a progress bar."""
        with self.bar(total=total, label=label, unit=unit) as bar:
            for item in items:
                yield item
                bar.update()


def rich_console(*, stderr: bool = False) -> RichConsole:
    """Return a console for text and tables. In a file or pipe, tables are never truncated."""
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return RichConsole(
        stderr=stderr, highlight=False, soft_wrap=not is_terminal, width=None if is_terminal else _UNLIMITED
    )


def print_table(table: Table) -> None:
    """Print a table; in a file or pipe, without the spaces that fill the last column."""
    console = rich_console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


class _Notes(logging.Handler):
    """Shows logged warnings, each text once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a warning, even while a progress bar is shown."""
        from tqdm import tqdm

        text = record.getMessage()
        if text not in self._shown:
            self._shown.add(text)
            with tqdm.external_write_mode():
                Console().warn(f"Note: {text}")


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a function into a command: expand its option groups, and map exceptions to message and status."""
    groups, parameters, hints = _spread(function)

    @functools.wraps(function)
    def run(**kwargs: Any) -> Any:
        kwargs.pop("help_all", None)
        logging.getLogger("vidlstm").handlers = [_Notes()]
        try:
            for name, group in groups.items():
                given = {f.name for f in fields(group)} & kwargs.keys()
                kwargs[name] = group(**{field: kwargs.pop(field) for field in given})
            status = function(**kwargs)
            sys.stdout.flush()
            if status:
                raise typer.Exit(status)
        except VidlstmError as error:
            _debug()
            _complain(str(error))
            raise typer.Exit(Exit.NO_SENSE) from None
        except ModuleNotFoundError as error:
            package = (error.name or "vidlstm").partition(".")[0]
            if package == "vidlstm":
                raise
            _debug()
            _complain(f"{package} is not installed, and this command needs it: pip install vidlstm")
            raise typer.Exit(Exit.NO_SENSE) from None
        except BrokenPipeError:
            # The reader has gone (`| head -1`). Nothing more may be written, not even at exit.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.DONE) from None
        except KeyboardInterrupt:
            _complain("interrupted")
            raise typer.Exit(Exit.INTERRUPTED) from None
        except OSError as error:
            if error.filename is None and error.errno is None:
                raise
            _debug()
            _complain(f"{error.filename or 'output'}: {error.strerror}")
            raise typer.Exit(Exit.NO_SENSE) from None

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = hints
    return run


def _spread(
    function: Callable[..., Any],
) -> tuple[dict[str, type[Any]], list[inspect.Parameter], dict[str, Any]]:
    """Replace the option groups in a command's parameters by their fields, as Typer needs them."""
    # Not `get_type_hints`: on Python 3.10 it hides an option's `Annotated` in an `Optional`.
    signature = inspect.signature(function, eval_str=True).parameters
    groups: dict[str, Any] = {
        name: p.annotation for name, p in signature.items() if is_dataclass(p.annotation)
    }
    spread: dict[str, inspect.Parameter] = {}
    for name, parameter in signature.items():
        if name not in groups:
            spread[name] = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        fields_hints = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            if not hasattr(fields_hints[field.name], "__metadata__"):
                continue  # a setting without an option in this command
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            spread[field.name] = inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=fields_hints[field.name],
            )
    spread["help_all"] = inspect.Parameter(
        "help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=HelpAllOption
    )
    return groups, list(spread.values()), {name: p.annotation for name, p in spread.items()}


def print_json(value: object) -> None:
    """Print the object of `--json`; settings named in its notes become flags, as in messages."""
    print(with_flags(json.dumps(value)))


def _shown(text: str) -> str:
    return printable(with_flags(text))


def _debug() -> None:
    if os.environ.get("VIDLSTM_DEBUG"):
        traceback.print_exc()


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):
        print(f"vidlstm: {_shown(text)}", file=sys.stderr)
