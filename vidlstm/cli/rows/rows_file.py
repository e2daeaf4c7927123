"""A file of rows that one run at a time adds to, and that a later run may resume.

A row is written by one call, so that a kill leaves at most half of the last one. Nothing of a file is cut
off or added to before it is certain that this program wrote it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vidlstm.cli.rows.formats import HEADERS, WRITERS, Format, Record, cell_of, encode, read_row
from vidlstm.errors import UsageError
from vidlstm.files import sync_folder

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class RowsFile:
    """Rows on disk.

    Args:
        file: The file, which is open.
        handle: Its descriptor.
        output_format: Format of its rows.
        labels: Classes that rows may name.
    """

    def __init__(self, file: Path, handle: int, output_format: Format, labels: Sequence[str]) -> None:
        self.file = file
        self.num_rows = 0
        """Rows that were there when it was opened."""
        self.cut = ""
        """Half a row that was removed from its end."""
        self._handle = handle
        self._format = output_format
        self._labels = {cell_of(label, output_format): label for label in labels}
        self._rows: dict[str, list[str]] = {}
        self._is_regular = stat.S_ISREG(os.fstat(handle).st_mode)

    def write(self, record: Record) -> None:
        """Add a row."""
        self._put(encode(WRITERS[self._format](record)))

    def sync(self) -> None:
        """Wait until all rows are on the disk."""
        if self._is_regular:
            os.fsync(self._handle)

    def take(self, name: str) -> str | None:
        """Return the label of an input's row, empty if it has none; None without a row. Each row once."""
        labels = self._rows.get(cell_of(name, self._format))
        return labels.pop() if labels else None

    def begin(self) -> None:
        """Write the header, if the format has one and the file is empty."""
        if os.fstat(self._handle).st_size == 0:
            self._put(encode(HEADERS.get(self._format, "")))

    def read(self) -> None:
        """Read the rows that an earlier run has left, and cut off half a row at the end.

        Raises:
            UsageError: The file holds something else. It is left as it is.
        """
        end = 0
        line = b""
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    if line.endswith(b"\n"):
                        self._remember(line, is_first=number == 1)
                        end += len(line)
                    elif number == 1 and not self._may_begin(line):
                        raise UsageError("it holds no whole row")
                except UsageError as error:
                    raise UsageError(
                        f"{self.file}, line {number}: {error}, so the file is left alone; "
                        "name another one with --resume"
                    ) from None
        if not line.endswith(b"\n") and line:
            self.cut = line.decode("utf-8", "replace")
            os.ftruncate(self._handle, end)

    def _remember(self, line: bytes, *, is_first: bool) -> None:
        header = HEADERS.get(self._format)
        if header is not None and is_first:
            if line != encode(header):
                raise UsageError(
                    f"{line.decode('utf-8', 'replace').strip()[:60]!r} is not the header of {self._format}"
                )
            return
        path, label = read_row(line, self._format)
        self._rows.setdefault(path, []).append(self._labels.get(label, label))
        self.num_rows += 1

    def _may_begin(self, line: bytes) -> bool:
        """Tell whether half a line, and nothing else, may be the beginning of a file of ours."""
        start = {"jsonl": b'{"schema": '}.get(self._format, encode(HEADERS.get(self._format, "")))
        return start.startswith(line) or (self._format == "jsonl" and line.startswith(start))

    def _put(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(self.file)) from None


@contextlib.contextmanager
def open_rows(
    file: Path, output_format: Format, labels: Sequence[str], *, resume: bool
) -> Iterator[RowsFile]:
    """Open a file for rows, for this run alone.

    Args:
        file: Made if it is not there.
        output_format: Format of the rows.
        labels: Classes that rows may name.
        resume: Read the rows in it first. Otherwise it must be empty.

    Raises:
        UsageError: It holds something else, or another run is writing to it.
        OSError: It cannot be opened.
    """
    is_new = not file.exists()
    flags = os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    handle = os.open(file, flags | (os.O_RDWR if is_new or file.is_file() else os.O_WRONLY), 0o666)
    try:
        rows = RowsFile(file, handle, output_format, labels)
        if is_new:
            sync_folder(file.parent)
        _lock(handle, file)
        if resume:
            rows.read()
        else:
            require_empty(file)
        yield rows
    finally:
        os.close(handle)


def require_empty(file: Path) -> None:
    """Refuse a file that holds something: rows that are added by mistake would count twice.

    Raises:
        UsageError: It does.
    """
    if file.is_file() and file.stat().st_size:
        raise UsageError(f"{file}: exists already; add to it with --resume {file}, or remove it first")


def _lock(handle: int, file: Path) -> None:
    """Keep other runs from a file until it is closed, however this one ends.

    Raises:
        UsageError: Another run has it.
    """
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        return
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 2**40, os.SEEK_SET)  # a byte that no row gets to: Windows locks what it covers
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:  # anything else: this file system has no locks
            raise UsageError(
                f"{file}: {_holder(handle)} is writing rows to it; wait for its end, or name another file"
            ) from None


def _holder(handle: int) -> str:
    """Return who has locked a file, where the system tells (Linux)."""
    inode = os.fstat(handle).st_ino
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()  # 1: FLOCK ADVISORY WRITE pid device:device:inode 0 EOF
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                return f"process {fields[4]}"
    return "another run"
