"""The loop of `predict`: rows out as they come, what they do not say beside them, an orderly end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from vidlstm.cli.console import Console, Exit
from vidlstm.cli.rows.formats import Record
from vidlstm.cli.rows.sorting import Sorter
from vidlstm.records import Prediction


class Run:
    """Writes the rows of one run, and knows how it went.

    Args:
        console: Says what the rows do not.
        sorter: Of the labelled files, if any.
        rows_elsewhere: The rows do not go to the terminal, which is free for notes and progress.
        tells_end: Say how many are done even if nothing went wrong.
    """

    def __init__(
        self, console: Console, sorter: Sorter | None, *, rows_elsewhere: bool, tells_end: bool
    ) -> None:
        self.console = console
        self.sorter = sorter
        self.rows_elsewhere = rows_elsewhere
        self.tells_end = tells_end
        self.num_done = 0
        self.num_failed = 0
        self.interrupted = threading.Event()
        self.reader_left = threading.Event()

    def write(self, records: Iterator[Record], write: Callable[[Record], None]) -> int:
        """Write the records as they come, and return the exit status."""
        console = Console(quiet=not self.rows_elsewhere or self.console.quiet)
        with console.bar(total=None, label="Labelling", unit="file") as bar:
            for record in records:
                self._take(record, write, bar)
        if self.reader_left.is_set():
            return Exit.DONE
        if self.interrupted.is_set():
            self.console.warn(f"interrupted: {self._summary()}")
            return Exit.INTERRUPTED
        if self.num_failed or self.tells_end:
            self.console.say(self._summary())
        sorting_failed = self.sorter is not None and self.sorter.failed
        return Exit.SOME_FAILED if self.num_failed or sorting_failed else Exit.DONE

    def leave(self, end_early: Callable[[], None]) -> None:
        """End without a word, as nobody reads the rows any more."""
        self.reader_left.set()
        end_early()

    def _take(self, record: Record, write: Callable[[Record], None], bar: tqdm[Any]) -> None:
        write(record)
        self.num_done += 1
        bar.update()
        if record.problem is not None:
            self.num_failed += 1
            if self.rows_elsewhere:
                with bar.external_write_mode():
                    problem = record.problem
                    self.console.warn(f"{record.path}: {problem.code.value}: {problem.message}")
        elif self.sorter is not None and isinstance(record, Prediction) and record.label is not None:
            self.sorter.put(record.path, record.label)

    def _summary(self) -> str:
        return f"{self.num_done} done, {self.num_failed} of them with an error"


def say_beside_bar(console: Console, text: str) -> None:
    """Say a line while a progress bar may stand on the terminal."""
    with tqdm.external_write_mode():
        console.say(text)


@contextlib.contextmanager
def interruptible(run: Run, end_early: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C end the run after the row it is on, and a second one at once."""

    def handle(*_: object) -> None:
        if run.interrupted.is_set():
            raise KeyboardInterrupt
        run.interrupted.set()
        end_early()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
