"""The rows of `watch`, and its status line on a terminal.

`tsv` is `time event label score start end lag dropped`, with the reason as a ninth field when the source is
lost. Escapes are those of `predict`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from typing import Any, Literal

from vidlstm.cli.rows.formats.predictions import encode, tsv_field
from vidlstm.engine.live.events import LiveEvent, LiveState
from vidlstm.report.text import printable, shortened

LiveFormat = Literal["table", "tsv", "jsonl"]

_BAR = 10  # characters
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LABEL = 16


def _cells(event: LiveEvent) -> tuple[str, ...]:
    score = "" if event.score is None else f"{event.score:.4f}"
    start, end = ("" if t is None else f"{t:.2f}" for t in (event.start, event.end))
    label, lag = event.label or "", f"{event.lag:.2f}"
    return event.clock, event.event, label, score, start, end, lag, str(event.dropped)


def tsv_row(event: LiveEvent) -> str:
    """Return an event as a line of tsv."""
    return "\t".join(map(tsv_field, (*_cells(event), *filter(None, [event.reason])))) + "\n"


def jsonl_row(event: LiveEvent) -> str:
    """Return an event as a JSON object on one line, in ASCII."""
    return json.dumps(event.to_json()) + "\n"


def table_row(event: LiveEvent) -> str:
    """Return an event as a line of a table."""
    clock, kind, _, score, start, end, lag, dropped = _cells(event)
    label = printable(event.label or event.reason or "")
    times = f"{start:>9} {end:>9}"
    return f"{clock}  {kind:5} {score:>7}  {times}  {lag:>6} {dropped:>7}  {label}\n"


TABLE_HEADER = (
    f"{'time':22}  {'event':5} {'score':>7}  {'start':>9} {'end':>9}  {'lag':>6} {'dropped':>7}  label\n"
)
WRITERS: dict[LiveFormat, Callable[[LiveEvent], str]] = {
    "table": table_row,
    "tsv": tsv_row,
    "jsonl": jsonl_row,
}


def open_rows(output_format: LiveFormat) -> Callable[[LiveEvent], None]:
    """Return a function that writes an event to standard output at once."""
    is_terminal = sys.stdout.isatty()
    to_text = WRITERS[output_format]

    def show(text: str) -> None:
        if is_terminal:
            text = "".join(c if c in "\t\n" else printable(c) for c in text)
        sys.stdout.buffer.write(encode(text))
        sys.stdout.buffer.flush()

    if output_format == "table":
        show(TABLE_HEADER)
    return lambda event: show(to_text(event))


class StatusLine:
    """One line at the bottom of a terminal; nothing elsewhere.

    Args:
        bar: A progress bar of the console; disabled if there is no terminal.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    @property
    def is_shown(self) -> bool:
        """Whether the line is visible."""
        return not self._bar.disable

    def show(self, state: LiveState) -> None:
        """Update the line."""
        if self.is_shown:
            width = shutil.get_terminal_size().columns - 1
            self._bar.set_description_str(status(state)[:width])


def status(state: LiveState) -> str:
    """Return the text of the status line."""
    if state.is_lost:
        return f"source lost {state.lag:.0f} s ago; reconnecting  dropped {state.dropped}"
    parts = [f"{state.fps:.0f} fps", f"lag {state.lag:.2f} s", f"dropped {state.dropped}"]
    parts += [f"{shortened(s.label, _LABEL)} {_bar(s.score)} {s.score:.2f}" for s in state.top]
    return "  ".join(parts)


def _bar(share: float) -> str:
    """Return a bar of a share, 0 to 1, in eighths of a character."""
    eighths = round(share * _BAR * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(_BAR)
