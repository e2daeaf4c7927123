"""A file of rows: one run at a time appends to it, and a later run can resume it.

All rows of a record are written in one call, so that a kill leaves at most part of the last record.
A file is never truncated or appended to unless all of it is recognised as rows of this program.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vidlstm.cli.rows.formats.predictions import (
    CLIP_ROWS,
    Format,
    RowKind,
    StoredRow,
    as_csv,
    cell_of,
    encode,
)
from vidlstm.errors import UsageError
from vidlstm.files import sync_folder

_BLOCK = 4096  # bytes; if a kill cuts a write of several rows short, it ends within a row or at a multiple
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class RowsFile:
    """Rows on disk.

    Args:
        file: The file, which is open.
        handle: Its descriptor.
        output_format: Format of its rows.
        labels: Classes that may appear in rows.
        kind: Kind of the rows.
    """

    def __init__(
        self, file: Path, handle: int, output_format: Format, labels: Sequence[str], kind: RowKind
    ) -> None:
        self.file = file
        self.num_rows = 0
        """Number of records in the file when it was opened."""
        self.cut = ""
        """Text removed from the end: part of a row, or some rows of a record."""
        about = os.fstat(handle)
        self.written = about.st_mtime
        """When its last row was written, in seconds since 1970."""
        self._kind = kind
        self._handle = handle
        self._format = output_format
        self._labels = {cell_of(label, output_format): label for label in labels}
        self._rows: dict[str, list[str]] = {}
        self._is_regular = stat.S_ISREG(about.st_mode)

    def write(self, record: Any) -> None:
        """Append the rows of a record."""
        self._put(encode(self._kind.writers[self._format](record)))

    def sync(self) -> None:
        """Wait until all rows are on disk."""
        if self._is_regular:
            os.fsync(self._handle)

    def take(self, name: str) -> str | None:
        """Return and forget the label of an input's row: empty if it has none; None without a row."""
        labels = self._rows.get(cell_of(name, self._format))
        return labels.pop() if labels else None

    def remember(self, rows: Iterable[StoredRow]) -> None:
        """Add rows that are stored elsewhere."""
        last: StoredRow | None = None
        for row in rows:
            self._add(row, last)
            last = row

    def begin(self) -> None:
        """Write the header, if the format has one and the file is empty."""
        if os.fstat(self._handle).st_size == 0:
            self._put(encode(self._kind.headers.get(self._format, "")))

    def inputs(self) -> set[str]:
        """Return the inputs whose rows were not taken, as in a CSV file."""
        return {as_csv(cell, self._format) for cell, labels in self._rows.items() if labels}

    def read(self, is_whole: Callable[[str], bool] = lambda _: False) -> None:
        """Read the rows of an earlier run, and remove a partly written record at the end.

        Args:
            is_whole: Tells whether the last record is known to be complete, from the path in its row.

        Raises:
            UsageError: The file holds something else. It is not changed.
        """
        end, size = 0, 0
        begin = 0  # of the last record
        last: StoredRow | None = None
        line = b"\n"
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                size += len(line)
                try:
                    if line.endswith(b"\n"):
                        row = self._parse(line, is_first=number == 1)
                        if row is not None and self._add(row, last):
                            begin = end
                        end, last = size, row
                    elif number == 1 and not self._may_begin(line):
                        raise UsageError("it holds no complete row")
                except UsageError as error:
                    raise UsageError(
                        f"{self.file}, line {number}: {error}, so the file is not changed; "
                        "name another one with --resume"
                    ) from None
        may_lack_rows = end < size or end % _BLOCK == 0
        if self._kind.several and last is not None and may_lack_rows and not is_whole(last.path):
            self._rows[last.path].pop()
            self.num_rows -= 1
            end = begin
        if end < size:
            with self.file.open("rb") as stream:
                stream.seek(end)
                self.cut = stream.read().decode("utf-8", "replace")
            os.ftruncate(self._handle, end)

    def _parse(self, line: bytes, *, is_first: bool) -> StoredRow | None:
        """Return a row; None for the header."""
        header = self._kind.headers.get(self._format)
        if header is not None and is_first:
            if line != encode(header):
                raise UsageError(
                    f"{line.decode('utf-8', 'replace').strip()[:60]!r} is not the header of {self._format}"
                )
            return None
        return self._kind.read(line, self._format)

    def _add(self, row: StoredRow, last: StoredRow | None) -> bool:
        """Record a row; return whether it begins a record."""
        if row.continues(last):
            return False
        self._rows.setdefault(row.path, []).append(self._labels.get(row.label, row.label))
        self.num_rows += 1
        return True

    def _may_begin(self, line: bytes) -> bool:
        """Tell whether a file with only this partial line may be the start of a file of rows."""
        start = {"jsonl": b'{"schema": '}.get(self._format, encode(self._kind.headers.get(self._format, "")))
        return start.startswith(line) or (self._format == "jsonl" and line.startswith(start))

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(self.file)) from None


@contextlib.contextmanager
def open_rows(
    file: Path,
    output_format: Format,
    labels: Sequence[str],
    *,
    resume: bool,
    kind: RowKind = CLIP_ROWS,
    is_whole: Callable[[str], bool] = lambda _: False,
) -> Iterator[RowsFile]:
    """Open a file for rows, exclusively for this run.

    Args:
        file: Created if it does not exist.
        output_format: Format of the rows.
        labels: Classes that may appear in rows.
        resume: Read the rows in it first. Otherwise it must be empty.
        kind: Kind of the rows.
        is_whole: Tells whether all rows of an input were written, from the path in its last row.

    Raises:
        UsageError: The file holds something else, or another run is writing to it.
        OSError: The file cannot be opened.
    """
    is_new = not file.exists()
    flags = os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    handle = os.open(file, flags | (os.O_RDWR if is_new or file.is_file() else os.O_WRONLY), 0o666)
    try:
        rows = RowsFile(file, handle, output_format, labels, kind)
        if is_new:
            sync_folder(file.parent)
        _lock(handle, file)
        if resume:
            rows.read(is_whole)
        else:
            require_empty(file)
        yield rows
    finally:
        os.close(handle)


def require_empty(file: Path) -> None:
    """Raise if a file is not empty: rows appended by mistake would count twice.

    Raises:
        UsageError: The file is not empty.
    """
    if file.is_file() and file.stat().st_size:
        raise UsageError(f"{file}: already exists; append to it with --resume {file}, or remove it first")


def _lock(handle: int, file: Path) -> None:
    """Lock a file against other runs until it is closed, however this process ends.

    Raises:
        UsageError: Another run has locked it.
    """
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        return
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 2**40, os.SEEK_SET)  # beyond all rows: Windows blocks access to locked bytes
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:  # anything else: this file system has no locks
            raise UsageError(
                f"{file}: {_holder(handle)} is writing rows to it; wait until it ends, or name another file"
            ) from None


def _holder(handle: int) -> str:
    """Return which process has locked a file, if the system tells (Linux)."""
    inode = os.fstat(handle).st_ino
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()  # 1: FLOCK ADVISORY WRITE pid device:device:inode 0 EOF
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                return f"process {fields[4]}"
    return "another run"
