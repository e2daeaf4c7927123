"""The driver: sends items to actors in batches, and yields results in the order of the items.

If a node or an actor dies, its items are retried one at a time, each alone on an actor. An item is given up
only after three actors have died while working on it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from vidlstm.engine.extraction.cluster.actor import Greeting, Opener, Work, start_actor
from vidlstm.engine.extraction.cluster.connection import Connection
from vidlstm.engine.extraction.cluster.reader import Reader
from vidlstm.errors import UsageError, VidlstmError
from vidlstm.settings import MachineSettings
from vidlstm.version import __version__

logger = logging.getLogger(__name__)

_TRIES = 3  # actors that may die with one item, or fail to start in a row
_LOOK = 1.0  # seconds between checks of the nodes
_POLL = 0.5  # seconds to wait for a result
_GLANCE = 0.05  # seconds, while an actor has nothing to do
_PATIENCE = 60.0  # seconds without an actor before a warning
_WINDOW = 4  # batches sent ahead, as a multiple of those in progress at once

T = TypeVar("T")
R = TypeVar("R")


class Cluster:
    """A Ray cluster in use by one command.

    Args:
        machine: Address of the cluster, and what an actor reserves.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, machine: MachineSettings) -> None:
        self.machine = machine
        self.connection = Connection(machine)
        self.ending = threading.Event()
        self.abandoned = threading.Event()
        self._crews: list[Crew[Any, Any]] = []

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def crew(self, opener: Opener, work: Work[T, R], most: int) -> Crew[T, R]:
        """Return a crew of actors, which stay until the cluster is closed."""
        crew = Crew(self, opener, work, most)
        self._crews.append(crew)
        return crew

    def end_early(self, *, at_once: bool = False) -> None:
        """Make runs end after the current batch, or at once. May be called from another thread."""
        if at_once:
            self.abandoned.set()
        self.ending.set()

    def close(self) -> None:
        """Stop the actors and their processes, and disconnect."""
        self.end_early(at_once=True)
        for crew in self._crews:
            crew.dismiss()
        self.connection.close()


@dataclass
class _Batch(Generic[T, R]):
    """Items taken together; their results are complete when `missing` is 0."""

    items: list[T]
    results: list[R | None]
    missing: int


@dataclass
class _Task(Generic[T, R]):
    """Items of one batch that one actor works on.

    Args:
        batch: Their batch.
        places: Indices of the items in the batch.
        deaths: Number of actors that died while working on them.
    """

    batch: _Batch[T, R]
    places: list[int]
    deaths: int = 0

    def items(self) -> list[T]:
        return [self.batch.items[place] for place in self.places]

    def finish(self, results: Iterable[R | None]) -> None:
        for place, result in zip(self.places, results, strict=True):
            self.batch.results[place] = result
        self.batch.missing -= len(self.places)


@dataclass
class _Member(Generic[T, R]):
    """The driver's record of an actor."""

    handle: Any
    greeting: Any  # reference to the greeting; None once it has arrived
    tasks: dict[Any, _Task[T, R]] = field(default_factory=dict)  # by reference to the result

    def is_free_for(self, task: _Task[T, R], at_once: int) -> bool:
        """Tell whether it may take a task; a task with which an actor died runs alone on an actor."""
        if self.greeting is not None:
            return False
        if task.deaths or any(own.deaths for own in self.tasks.values()):
            return not self.tasks
        return len(self.tasks) < at_once


class Crew(Generic[T, R]):
    """Actors for one kind of work, as many as the cluster has room for.

    Args:
        cluster: The cluster.
        opener: Opens the source that each actor holds.
        work: What they do with it.
        most: Maximum number of items in a batch.
    """

    def __init__(self, cluster: Cluster, opener: Opener, work: Work[T, R], most: int) -> None:
        import ray

        self._cluster = cluster
        self._most = most
        self._cpus = cluster.connection.cpus()
        self._at_once = 1 + math.ceil(self._cpus)
        cluster.connection.require_room(self._cpus)
        self._opener, self._work = ray.put(opener), ray.put(work)  # once for all actors
        self._members: list[_Member[T, R]] = []
        self._looked = -math.inf
        self._failed_starts = 0
        self._idle_since = time.monotonic()

    def run(self, items: Iterable[T]) -> Iterator[list[R | None]]:
        """Yield a result for each item, in order, in lists of results that are ready at the same time.

        Args:
            items: Consumed in another thread, a small window ahead; may block.

        Yields:
            Results; None for an item that was given up.

        Raises:
            VidlstmError: The work failed regardless of the items, or no actor starts.
        """
        reader = Reader(items, 2 * self._most)
        undone: deque[_Batch[T, R]] = deque()
        again: deque[_Task[T, R]] = deque()
        is_through = False
        try:
            while not self._cluster.abandoned.is_set():
                self._hire()
                is_hungry = self._feed(reader, undone, again)
                while undone and not undone[0].missing:
                    yield undone.popleft().results
                    if self._cluster.ending.is_set():
                        return
                if not undone and (self._cluster.ending.is_set() or reader.is_over()):
                    is_through = True
                    return
                self._wait(_GLANCE if is_hungry and not reader.is_over() else _POLL, again)
        finally:
            reader.stop()
            if not is_through:  # their remaining results are not needed
                self.dismiss()

    def dismiss(self) -> None:
        """Stop the actors and their processes."""
        import ray

        for member in self._members:
            with contextlib.suppress(Exception):  # the cluster itself may be gone
                ray.kill(member.handle)
        self._members = []
        self._looked = -math.inf

    def _hire(self) -> None:
        """Start as many actors as the cluster has room for."""
        now = time.monotonic()
        if now - self._looked < _LOOK * (1 + self._failed_starts):
            return
        self._looked = now
        connection = self._cluster.connection
        while len(self._members) < connection.room(self._cpus):
            handle = start_actor(
                self._opener, self._work, cpus=self._cpus, gpus=connection.gpus(), at_once=self._at_once
            )
            self._members.append(_Member(handle, handle.greet.remote()))
        if any(member.greeting is None for member in self._members):
            self._idle_since = now
        elif now - self._idle_since > _PATIENCE:
            self._idle_since = now
            logger.warning(
                "ray %s: no actor has started for %.0f s; others may be using the cluster",
                connection.address,
                _PATIENCE,
            )

    def _feed(self, reader: Reader[T], undone: deque[_Batch[T, R]], again: deque[_Task[T, R]]) -> bool:
        """Keep every actor supplied with batches; tell whether one could take more."""
        for member in sorted(self._members, key=lambda member: len(member.tasks)):
            while again and member.is_free_for(again[0], self._at_once):
                self._give(member, again.popleft())
        if again:  # hold other batches back, so that an actor becomes free for the retry
            return False
        window = _WINDOW * self._at_once * len(self._members)
        hungry = True
        while hungry:
            hungry = False
            for member in sorted(self._members, key=lambda member: len(member.tasks)):
                if self._cluster.ending.is_set() or len(undone) >= window:
                    return False
                task: _Task[T, R] = _Task(_Batch([], [], 0), [])
                if not member.is_free_for(task, self._at_once):
                    continue
                items = reader.take(self._most)
                if not items:
                    return True
                task.batch = _Batch(items, [None] * len(items), len(items))
                task.places = list(range(len(items)))
                undone.append(task.batch)
                self._give(member, task)
                hungry = True
        return False

    def _give(self, member: _Member[T, R], task: _Task[T, R]) -> None:
        member.tasks[member.handle.do.remote(task.items())] = task

    def _wait(self, seconds: float, again: deque[_Task[T, R]]) -> None:
        """Wait for results, and take those that are ready."""
        import ray

        waited = {ref: member for member in self._members for ref in member.tasks}
        waited |= {m.greeting: m for m in self._members if m.greeting is not None}
        if not waited:
            self._cluster.abandoned.wait(seconds)
            return
        ready, _ = ray.wait(list(waited), num_returns=len(waited), timeout=0)
        if not ready:
            ready, _ = ray.wait(list(waited), timeout=seconds)
        for ref in ready:
            self._take(waited[ref], ref, again)

    def _take(self, member: _Member[T, R], ref: Any, again: deque[_Task[T, R]]) -> None:
        import ray

        if member not in self._members:  # already removed as dead
            return
        try:
            answer = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, VidlstmError) else error from None
        except ray.exceptions.RayError as error:
            self._bury(member, again, str(error))
            return
        if isinstance(answer, Greeting):
            member.greeting = None
            self._failed_starts = 0
            self._check(answer)
            return
        results, notes = answer
        member.tasks.pop(ref).finish(results)
        for note in notes:
            logger.warning("%s", note)

    def _bury(self, member: _Member[T, R], again: deque[_Task[T, R]], why: str) -> None:
        """Remove a dead actor and queue its items again."""
        self._members.remove(member)
        self._looked = -math.inf
        if member.greeting is not None:
            self._failed_starts += 1
            if self._failed_starts >= _TRIES and all(m.greeting is not None for m in self._members):
                last = (why.strip().splitlines() or [""])[-1]
                raise VidlstmError(
                    f"`ray={self._cluster.connection.address}`: no actor starts ({last}); is vidlstm "
                    f"{__version__} installed on every node?"
                )
        logger.debug("an actor died: %s", why)
        for task in member.tasks.values():
            for place in task.places:
                alone = _Task(task.batch, [place], task.deaths + 1)
                if alone.deaths < _TRIES:
                    again.append(alone)
                else:
                    alone.finish([None])

    def _check(self, greeting: Greeting) -> None:
        if greeting.version != __version__:
            raise UsageError(
                f"`ray={self._cluster.connection.address}`: {greeting.node} has vidlstm {greeting.version}, "
                f"this machine has {__version__}; install the same version on every node"
            )
        if greeting.error is not None:
            raise greeting.error
