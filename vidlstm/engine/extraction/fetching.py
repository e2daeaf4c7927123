"""Download files from object stores to a temporary folder, a few ahead of the decoders.

The folder holds at most 4 GiB, or one larger file. A file is removed once it has been read. Files left by a
killed process are removed by the next one.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from vidlstm.errors import FailureCode, InputError
from vidlstm.stores import address_of, fetch, size_of

_ROOM = 4 * 2**30  # bytes
_AHEAD = 16  # files
_THREADS = 8
_GLANCE = 0.1  # seconds
_PREFIX = "vidlstm-fetched-"

T = TypeVar("T")


@dataclass(frozen=True)
class Local(Generic[T]):
    """An item and its local file.

    Args:
        item: The item.
        path: Path of the local file, or the error if it could not be downloaded.
        fetched: Size of the downloaded copy, in bytes; None if the file was local from the start.
    """

    item: T
    path: Path | InputError
    fetched: int | None = None


class Fetcher:
    """Downloads files.

    Args:
        max_bytes: Maximum size of a file.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._used = 0
        self._turn = 0
        self._changed = threading.Condition()
        self._folder: Path | None = None

    def ahead(self, items: Iterable[T], path_of: Callable[[T], Path]) -> Iterator[Local[T]]:
        """Yield each item with its local file, in order.

        Args:
            items: The items; may block.
            path_of: Returns the path of an item, which may stand for an address in a store.
        """
        left = iter(items)
        for item in left:
            if address_of(path_of(item)) is not None:
                yield from self._fetched(itertools.chain([item], left), path_of)
                return
            yield Local(item, path_of(item))

    def release(self, local: Local[T]) -> None:
        """Remove a downloaded copy after it has been read."""
        if local.fetched is not None and isinstance(local.path, Path):
            local.path.unlink(missing_ok=True)
            with self._changed:
                self._used -= local.fetched
                self._changed.notify_all()

    def _fetched(self, items: Iterator[T], path_of: Callable[[T], Path]) -> Iterator[Local[T]]:
        under_way: queue.Queue[tuple[T, Future[tuple[Path, int]] | None] | BaseException | None]
        under_way = queue.Queue(_AHEAD)
        stopped = threading.Event()

        def put(entry: tuple[T, Future[tuple[Path, int]] | None] | BaseException | None) -> None:
            while not stopped.is_set():
                with contextlib.suppress(queue.Full):
                    under_way.put(entry, timeout=_GLANCE)
                    return

        def submit() -> None:
            tickets = itertools.count(self._turn)
            try:
                for item in items:
                    address = address_of(path_of(item))
                    future = (
                        None
                        if address is None
                        else threads.submit(self._fetch, address, next(tickets), stopped)
                    )
                    put((item, future))
                    if stopped.is_set():
                        return
                put(None)
            except BaseException as error:
                put(error)

        with contextlib.ExitStack() as stack:
            threads = ThreadPoolExecutor(_THREADS)
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
            stack.callback(stopped.set)
            threading.Thread(target=submit, daemon=True).start()
            while (entry := under_way.get()) is not None:
                if isinstance(entry, BaseException):
                    raise entry
                item, future = entry
                if future is None:
                    yield Local(item, path_of(item))
                    continue
                try:
                    copy, size = future.result()
                    yield Local(item, copy, size)
                except InputError as error:
                    yield Local(item, error)

    def _fetch(self, address: str, ticket: int, stopped: threading.Event) -> tuple[Path, int]:
        """Download a file once there is room. Room is given in reading order, so later files wait."""
        error, room = None, 0
        try:
            size = size_of(address)
            if size is not None and size > self._max_bytes:
                raise InputError(
                    address, FailureCode.TOO_LARGE, f"has {size:,} bytes, more than {self._max_bytes:,}"
                )
            room = min(self._max_bytes, _ROOM) if size is None else size
        except InputError as failed:
            error = failed
        with self._changed:
            while not (self._turn == ticket and (not self._used or self._used + room <= _ROOM)):
                if stopped.is_set():
                    raise CancelledError
                self._changed.wait(_GLANCE)
            self._turn += 1
            self._used += room
            self._changed.notify_all()
        if error is not None:
            raise error
        target = self._own_folder() / f"{ticket}{Path(address.rpartition('/')[2]).suffix}"
        try:
            fetch(address, target, self._max_bytes)
        except BaseException:
            self.release(Local(None, target, room))
            raise
        return target, room

    def _own_folder(self) -> Path:
        with self._changed:
            if self._folder is None:
                _remove_left()
                self._folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
                atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
            return self._folder


def _remove_left() -> None:
    """Remove the folders of processes that no longer run."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if os.name == "posix" and pid.isdecimal() and not _lives(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
