"""The actor that runs on the nodes: it holds the source of one machine and works on a stream of items.

Batches arrive one by one, but all go through one run of the source, so decoders and encoder never wait
between two batches.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from vidlstm.engine.extraction.processes.pool import limit_cores
from vidlstm.engine.extraction.processes.worker import Notes
from vidlstm.engine.extraction.source import Source
from vidlstm.errors import VidlstmError
from vidlstm.version import __version__

T = TypeVar("T")
R = TypeVar("R")

Opener: TypeAlias = Callable[[], AbstractContextManager[Source]]
"""Opens the source of one machine. It is sent to the actors, so it must be picklable."""
Work: TypeAlias = Callable[[Source, Iterable[T]], Iterator[list[R]]]
"""Yields a result for each item, in order, in lists of results that are ready at the same time."""


@dataclass(frozen=True)
class Greeting:
    """The message of an actor that has started.

    Args:
        node: Name of its machine.
        version: Version of vidlstm on that machine.
        error: Why it cannot work; any other actor on such a machine would fail in the same way.
    """

    node: str
    version: str
    error: VidlstmError | None = None


@dataclass
class _Batch(Generic[R]):
    """The results of one batch of items, filled as they are ready."""

    num_items: int
    results: list[R] = field(default_factory=list)
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def add(self, result: R) -> None:
        self.results.append(result)
        if len(self.results) == self.num_items:
            self.over.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.over.set()


class Actor(Generic[T, R]):
    """Works on batches of items; several may be in progress at once.

    Args:
        opener: Opens the source.
        work: What to do with the source and the items.
        num_cores: Number of cores that this actor may use.
    """

    def __init__(self, opener: Opener, work: Work[T, R], num_cores: int) -> None:
        self._opener = opener
        self._work = work
        self._num_cores = num_cores
        self._items: queue.SimpleQueue[tuple[T, _Batch[R]]] = queue.SimpleQueue()
        self._order = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._notes = Notes()
        self._error: BaseException | None = None

    def greet(self) -> Greeting:
        """Open the source."""
        logging.getLogger("vidlstm").addHandler(self._notes)
        limit_cores(self._num_cores)
        try:
            source = self._stack.enter_context(self._opener())
        except VidlstmError as error:
            return Greeting(socket.gethostname(), __version__, error)
        threading.Thread(target=self._serve, args=(source,), daemon=True).start()
        return Greeting(socket.gethostname(), __version__)

    def do(self, items: list[T]) -> tuple[list[R], list[str]]:
        """Return a result for each item, and the messages logged meanwhile.

        Raises:
            VidlstmError: The source failed, regardless of the items.
        """
        batch: _Batch[R] = _Batch(len(items))
        with self._order:
            for item in items:
                self._items.put((item, batch))
        if self._error is not None:
            raise self._error
        batch.over.wait()
        if batch.error is not None:
            raise batch.error
        return batch.results, self._notes.take()

    def _serve(self, source: Source) -> None:
        under_way: deque[_Batch[R]] = deque()

        def items() -> Iterator[T]:
            while True:
                item, batch = self._items.get()
                under_way.append(batch)
                yield item

        try:
            for together in self._work(source, items()):
                for result in together:
                    under_way.popleft().add(result)
        except BaseException as error:
            self._error = error
            for batch in list(under_way):
                batch.fail(error)


def start_actor(opener: Any, work: Any, *, cpus: float, gpus: float, at_once: int) -> Any:
    """Start an actor where the cluster has room for it; return its handle.

    Args:
        opener: Opens the source; or a reference to that function.
        work: What to do with the source; or a reference to that function.
        cpus: Number of CPUs it reserves.
        gpus: Number of GPUs it reserves.
        at_once: Maximum number of batches in progress at once.
    """
    import ray

    remote = ray.remote(
        num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0, max_concurrency=at_once + 1
    )(Actor)
    return remote.remote(opener, work, max(1, int(cpus)))
