"""Jobs on files, in processes beside the encoder.

A decoder is C code fed with files from anywhere. It runs in worker processes, one pipe to each, so
that a file that crashes or hangs it costs that file a failure and not the run: the process is killed
and replaced, and no other job notices. Order is kept; nothing is read further ahead than a small
window, and the source of paths may be a pipe that is still being written. A job that goes through a long
film hands over its result in parts, and waits when nobody takes them.

Imports neither torch nor OpenCV: workers start before whoever needs them pays for these imports.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vidlstm.engine.extraction.jobs import GLANCE, Job, Parts
from vidlstm.engine.extraction.worker import Worker
from vidlstm.errors import InputError

CLIP_SECONDS = 120.0
"""How long one file may take before it counts as hung, unless told otherwise."""
_WINDOW = 8  # files in flight for each worker: what they can read while torch is imported

_MOST_WORKERS = 8
_cores_limit: int | None = None

T = TypeVar("T")
R = TypeVar("R")


def num_cores() -> int:
    """Return how many cores this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return there if _cores_limit is None else min(there, _cores_limit)


def limit_cores(number: int) -> None:
    """Let this process use so many cores at most: others of its kind are on the machine."""
    global _cores_limit
    _cores_limit = number


def default_workers() -> int:
    """Return one worker for each core that this process may use, up to a sensible number."""
    return min(num_cores(), _MOST_WORKERS)


@dataclass(frozen=True)
class _Task(Generic[T, R]):
    item: T
    future: Future[R | InputError] | None  # None: there was nothing to do


class DecodePool:
    """Worker processes that do jobs, in order, a small window ahead of whoever asks.

    Args:
        num_workers: Processes.
        clip_seconds: Time limit of one job.
        at_once: The processes start now and load their modules meanwhile, not when there is something
            to do.
    """

    def __init__(
        self, num_workers: int, clip_seconds: float = CLIP_SECONDS, *, at_once: bool = False
    ) -> None:
        self.clip_seconds = clip_seconds
        self.num_workers = num_workers
        self._jobs: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._abandoned = threading.Event()
        threads = max(1, num_cores() // num_workers)
        self._workers = [Worker(threads) for _ in range(num_workers)]
        for worker in self._workers:
            threading.Thread(target=self._tend, args=(worker, at_once), daemon=True).start()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they do; a run that is not through ends where it is."""
        self.end_early(at_once=True)
        for worker in self._workers:
            self._jobs.put(None)
            worker.retire()

    def end_early(self, *, at_once: bool = False) -> None:
        """Let `run` end after the item that it waits for, or without it; for another thread to call."""
        if at_once:
            self._abandoned.set()
        self._ending.set()

    def run(
        self, items: Iterable[T], job_of: Callable[[T], Job[R] | None]
    ) -> Iterator[tuple[T, R | InputError | None] | None]:
        """Do the jobs of `items`, in order.

        Args:
            items: Anything; consumed in a thread of its own, so it may block.
            job_of: What to do for an item, or None when there is nothing to do.

        Raises:
            VidlstmError: No process can be started.

        Yields:
            The item with what its job gave (None where there was nothing to do). A bare None
            says that the next one is not ready yet, and comes once before each wait. Whoever stops
            asking may run other items afterwards: jobs that nobody waits for are not begun.
        """
        tasks: queue.Queue[_Task[T, R] | BaseException | None] = queue.Queue()
        result: R | InputError | None = None
        places = threading.Semaphore(self.num_workers * _WINDOW)
        left = threading.Event()
        args = (items, job_of, tasks, places, left)
        threading.Thread(target=self._feed, args=args, daemon=True).start()
        try:
            while True:
                if tasks.empty():
                    yield None
                task = self._next(tasks)
                if task is None:
                    return
                if isinstance(task, BaseException):
                    raise task
                if task.future is not None:
                    if not task.future.done():
                        yield None
                    while not wait([task.future], GLANCE).done:
                        if self._abandoned.is_set():
                            return
                places.release()
                result = None if task.future is None else task.future.result()
                yield task.item, result
        finally:
            left.set()
            places.release()  # the feeder may wait for one
            if isinstance(result, Parts):
                result.close()
            with contextlib.suppress(queue.Empty):
                while True:
                    task = tasks.get_nowait()
                    if isinstance(task, _Task) and task.future is not None and not task.future.cancel():
                        task.future.add_done_callback(_close_parts)

    def _next(
        self, tasks: queue.Queue[_Task[T, R] | BaseException | None]
    ) -> _Task[T, R] | BaseException | None:
        while not self._ending.is_set():
            with contextlib.suppress(queue.Empty):
                return tasks.get(timeout=GLANCE)
        return None

    def _feed(
        self,
        items: Iterable[T],
        job_of: Callable[[T], Job[R] | None],
        tasks: queue.Queue[_Task[T, R] | BaseException | None],
        places: threading.Semaphore,
        left: threading.Event,
    ) -> None:
        try:
            for item in items:
                places.acquire()
                if self._ending.is_set() or left.is_set():
                    return
                job = job_of(item)
                future: Future[R | InputError] | None = None
                if job is not None:
                    future = Future()
                    self._jobs.put((job, future))
                tasks.put(_Task(item, future))
            tasks.put(None)
        except BaseException as error:  # whatever the source of items raises, its consumer shall see
            tasks.put(error)

    def _tend(self, worker: Worker, at_once: bool) -> None:
        """Hand jobs to one worker, one at a time."""
        # What this thread starts inherits its signal mask: Ctrl-C is for the command, not for workers.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if at_once:
            with contextlib.suppress(Exception):  # the first job will say it
                worker.start()
        while (order := self._jobs.get()) is not None:
            job, future = order
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if job.in_parts:
                    parts: Parts[Any] = Parts(self._abandoned)
                    future.set_result(parts)
                    if not parts.fill(worker.do_in_parts(job, self.clip_seconds)):
                        worker.drop()
                    continue
                future.set_result(worker.do(job, self.clip_seconds))
            except BaseException as error:  # whoever waits for the result shall see it
                if not future.done():
                    future.set_exception(error)


def _close_parts(future: Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None and isinstance(future.result(), Parts):
        future.result().close()
