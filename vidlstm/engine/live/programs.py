"""Run a program for each event: one at a time, in a thread, without a shell."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from vidlstm.engine.live.events import LiveEvent
from vidlstm.errors import UsageError

FIELDS = ("event", "label", "score", "time", "start", "end", "lag", "dropped", "reason")
"""Fields that a template may contain, in braces."""
MOST_WAITING = 16
"""Maximum number of queued events; further ones are skipped and reported."""
RUN_SECONDS = 60.0
"""Seconds after which a program is killed."""
_CLOSE_SECONDS = 5.0

_FIELD = re.compile(r"\{([A-Za-z_]*)\}")


class Programs:
    """Runs a program for each event.

    Args:
        template: The command, split into arguments as by a shell. `{label}` and the other `FIELDS` are
            replaced by the event's values; a value stays within one argument, whatever it contains.
        report: Called with a message when something goes wrong, from another thread.
        run_seconds: Seconds after which a program is killed.

    Raises:
        UsageError: The template is not a valid command, its program is not found, or a field is unknown.
    """

    def __init__(
        self, template: str, report: Callable[[str], None], run_seconds: float = RUN_SECONDS
    ) -> None:
        self._arguments = _split(template)
        self._report = report
        self._run_seconds = run_seconds
        self._queue: queue.Queue[LiveEvent | None] = queue.Queue(MOST_WAITING)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run_all, daemon=True)
        self._thread.start()

    def run(self, event: LiveEvent) -> None:
        """Queue the program for an event; it runs once the programs before it have ended. Does not block."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._report(f"`exec`: {MOST_WAITING} events are already queued; not run for {_named(event)}")

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Wait up to `seconds` for the queued programs, then kill the one that is still running."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=seconds)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._closing.set()
        self._thread.join(seconds)

    def _run_all(self) -> None:
        while (event := self._queue.get()) is not None and not self._closing.is_set():
            self._run_one(event)

    def _run_one(self, event: LiveEvent) -> None:
        arguments = [_fill(argument, event) for argument in self._arguments]
        name = arguments[0]
        try:
            # Its output must not mix with the rows on standard output. Ctrl-C must not reach it: it may be
            # running for the very event that reports the end.
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=_errors(), start_new_session=True
            )
        except (OSError, ValueError) as error:
            self._report(f"`exec`: {name}: {getattr(error, 'strerror', None) or error}")
            return
        deadline = time.monotonic() + self._run_seconds
        while process.poll() is None:
            if time.monotonic() > deadline or self._closing.is_set():
                _kill(process)
                self._report(f"`exec`: {name}: killed because it did not end in time ({_named(event)})")
                return
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        if process.returncode:
            self._report(f"`exec`: {name}: exit status {process.returncode} ({_named(event)})")


def _split(template: str) -> list[str]:
    try:
        arguments = shlex.split(template)
    except ValueError as error:
        raise UsageError(f"`exec={template}`: {str(error).lower()}") from None
    if not arguments:
        raise UsageError("`exec`: no program given")
    for name in _FIELD.findall(template):
        if name not in FIELDS:
            raise UsageError(f"`exec={template}`: unknown field {{{name}}}; use {', '.join(FIELDS)}")
    if _FIELD.search(arguments[0]):
        raise UsageError(f"`exec={template}`: the program name cannot contain a field")
    if shutil.which(arguments[0]) is None:
        raise UsageError(f"`exec={template}`: program {arguments[0]} not found")
    return arguments


def _fill(argument: str, event: LiveEvent) -> str:
    row = event.to_json()
    return _FIELD.sub(lambda match: _text(row[match[1]]), argument)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _named(event: LiveEvent) -> str:
    return event.event if event.label is None else f"{event.event} of {event.label}"


def _errors() -> int:
    try:
        return sys.stderr.fileno()
    except (OSError, ValueError):
        return subprocess.DEVNULL


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and its child processes."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            process.kill()
    else:
        process.kill()
    process.wait()
