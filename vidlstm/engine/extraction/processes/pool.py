"""A pool of decoder processes, in parallel with the encoder.

Decoders are C code that reads untrusted files. They run in worker processes, with one pipe each, so that a
file that crashes or hangs a decoder fails alone: the process is killed and replaced, and other jobs are not
affected. Results keep the order of the inputs. Files are read only a small window ahead, so the paths may
come from a pipe that is still being written. A job on a long film returns its result in parts, and waits
until they are taken.

Imports neither torch nor OpenCV, so that workers can start before these imports.
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

from vidlstm.engine.extraction.processes.jobs import GLANCE, Job, Parts
from vidlstm.engine.extraction.processes.worker import Worker
from vidlstm.errors import InputError

CLIP_SECONDS = 120.0
"""Default time limit per file."""
_WINDOW = 8  # files in flight per worker: as many as it can read while torch is imported

_MAX_WORKERS = 16
"""Default limit: for one H200, 8 workers read 25 clips per second, 12 read 37 and 16 read 39."""
_MAX_THREADS = 4
"""Limit of the decoding threads of a worker: a film is then decoded faster than its frames are reduced."""
_cores_limit: int | None = None

T = TypeVar("T")
R = TypeVar("R")


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return number if _cores_limit is None else min(number, _cores_limit)


def limit_cores(number: int) -> None:
    """Limit the number of cores that this process uses, because other actors share the machine."""
    global _cores_limit
    _cores_limit = number


def default_workers() -> int:
    """Return the default number of workers: one per core that this process may use, up to a maximum."""
    return min(num_cores(), _MAX_WORKERS)


@dataclass(frozen=True)
class _Task(Generic[T, R]):
    item: T
    future: Future[R | InputError] | None  # None: nothing to do


class DecodePool:
    """Worker processes that run jobs, in order, a small window ahead of the consumer.

    Args:
        num_workers: Number of processes.
        clip_seconds: Time limit per job.
        at_once: Start the processes now, so that they load their modules in the meantime, not with the first
            job.
    """

    def __init__(
        self, num_workers: int, clip_seconds: float = CLIP_SECONDS, *, at_once: bool = False
    ) -> None:
        self.clip_seconds = clip_seconds
        self.num_workers = num_workers
        self._jobs: queue.SimpleQueue[tuple[Job[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._abandoned = threading.Event()
        threads = min(max(1, num_cores() // num_workers), _MAX_THREADS)
        self._workers = [Worker(threads) for _ in range(num_workers)]
        for worker in self._workers:
            threading.Thread(target=self._tend, args=(worker, at_once), daemon=True).start()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes, whatever they are doing; an unfinished `run` ends at once."""
        self.end_early(at_once=True)
        for worker in self._workers:
            self._jobs.put(None)
            worker.retire()

    def end_early(self, *, at_once: bool = False) -> None:
        """Make `run` end after the current item, or `at_once`; called from another thread."""
        if at_once:
            self._abandoned.set()
        self._ending.set()

    def run(
        self, items: Iterable[T], job_of: Callable[[T], Job[R] | None]
    ) -> Iterator[tuple[T, R | InputError | None] | None]:
        """Run the jobs of `items`, in order.

        Args:
            items: The items; consumed in a separate thread, so the iterable may block.
            job_of: Returns the job for an item, or None if there is nothing to do.

        Raises:
            VidlstmError: No process can be started.

        Yields:
            Each item with the result of its job (None if there was nothing to do). A bare None before each
            wait means that the next result is not ready yet. If the consumer stops early, it may run other
            items afterwards: jobs without a consumer are not started.
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
        except BaseException as error:  # raised again in the consumer
            tasks.put(error)

    def _tend(self, worker: Worker, at_once: bool) -> None:
        """Pass jobs to one worker, one at a time."""
        # Processes started by this thread inherit its signal mask, so that Ctrl-C does not reach the workers.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if at_once:
            with contextlib.suppress(Exception):  # reported with the first job
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
            except BaseException as error:  # raised again where the result is awaited
                if not future.done():
                    future.set_exception(error)


def _close_parts(future: Future[Any]) -> None:
    if not future.cancelled() and future.exception() is None and isinstance(future.result(), Parts):
        future.result().close()
