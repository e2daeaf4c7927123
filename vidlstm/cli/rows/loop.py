"""The loop of `predict` and `spans`: write rows as they come, show progress and errors, end cleanly."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from vidlstm.cli.console import Console, Exit
from vidlstm.cli.rows.formats.spans import AnyRecord
from vidlstm.cli.rows.output import Output
from vidlstm.cli.rows.sorting import Sorter
from vidlstm.records import FilmSpans, Prediction

_SAME_SECONDS = 0.3  # `timeout` sends its signal twice
_MAX_LABELS = 8  # classes in the last line


class Run:
    """Writes the rows of one run and counts them.

    Args:
        console: Where notes and errors are shown.
        sorter: Sorts labelled files; None: files stay where they are.
        rows_elsewhere: The rows do not go to the terminal, so it can show notes and progress.
        tells_end: Print the summary even if nothing failed.
    """

    def __init__(
        self, console: Console, sorter: Sorter | None, *, rows_elsewhere: bool, tells_end: bool
    ) -> None:
        self.console = console
        self.sorter = sorter
        self.rows_elsewhere = rows_elsewhere
        self.tells_end = tells_end
        self.num_failed = 0
        self.num_done = 0
        self.labels: Counter[str] = Counter()
        self.interrupted = threading.Event()
        self.reader_left = threading.Event()

    def write(self, records: Iterator[AnyRecord], output: Output, count: Callable[[], int | None]) -> int:
        """Write the records as they come, and return the exit status.

        Args:
            records: The rows.
            output: Where to write them.
            count: Returns the number of records, if it can be known; may take long.
        """
        console = Console(quiet=not self.rows_elsewhere or self.console.quiet)
        with console.bar(total=None, label="Labelling", unit="file") as bar:
            if not bar.disable:
                threading.Thread(target=_set_total, args=(bar, count), daemon=True).start()
            for record in records:
                self._take(record, output, bar)
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
        """End silently, as the reader of the rows has gone."""
        self.reader_left.set()
        end_early()

    def _take(self, record: AnyRecord, output: Output, bar: tqdm[Any]) -> None:
        output.write(record)
        self.num_done += 1
        bar.update()
        if isinstance(record, FilmSpans):
            self.labels.update(span.label for span in record.spans)
        if isinstance(record, Prediction):
            self.labels["unknown" if record.unknown else record.label or "no label"] += 1
        if self.rows_elsewhere and isinstance(record, Prediction) and record.notes:
            with bar.external_write_mode():
                for note in record.notes:
                    self.console.say(f"{record.path}: {note}")
        if record.problem is not None:
            self.num_failed += 1
            if self.rows_elsewhere:
                with bar.external_write_mode():
                    problem = record.problem
                    self.console.warn(f"{record.path}: {problem.code.value}: {problem.message}")
        if self.sorter is not None and isinstance(record, Prediction) and record.label is not None:
            if self.sorter.how == "move":
                output.sync()  # the row must be on disk before its file is moved, in case of a power cut
            self.sorter.put(record.path, record.label)

    def _summary(self) -> str:
        failed = f", {self.num_failed} of them with an error" if self.num_failed else ""
        labels = [f"{label} {number}" for label, number in self.labels.most_common(_MAX_LABELS)]
        more = len(self.labels) - _MAX_LABELS
        tally = ", ".join(labels) + (f" and {more} more classes" if more > 0 else "")
        return f"{self.num_done} done{failed}" + (f": {tally}" if tally else "")


def _set_total(bar: tqdm[Any], count: Callable[[], int | None]) -> None:
    """Set a bar's total, and so its remaining time, once the number is known."""
    with contextlib.suppress(Exception):  # an error in the inputs is reported when they are read
        bar.total = count()
        bar.refresh()


def say_beside_bar(console: Console, text: str) -> None:
    """Print a line while a progress bar may be shown."""
    with tqdm.external_write_mode():
        console.say(text)


@contextlib.contextmanager
def interruptible(
    interrupted: threading.Event,
    end_early: Callable[[], None],
    signals: Sequence[signal.Signals] = (signal.SIGINT,),
) -> Iterator[None]:
    """End the run after the current row on the first Ctrl-C, and at once on the second."""
    first = 0.0

    def handle(*_: object) -> None:
        nonlocal first
        if interrupted.is_set():
            if time.monotonic() - first < _SAME_SECONDS:
                return
            raise KeyboardInterrupt
        interrupted.set()
        first = time.monotonic()
        end_early()

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
