"""Jobs on files, in processes beside the encoder.

A decoder is C code fed with files from anywhere. It runs in worker processes, one pipe to each, so
that a file that crashes or hangs it costs that file a failure and not the run: the process is killed
and replaced, and no other job notices. Order is kept; nothing is read further ahead than a small
window, and the source of paths may be a pipe that is still being written.

Imports neither torch nor OpenCV: workers start before whoever needs them pays for these imports.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from multiprocessing import resource_tracker, spawn
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from vidlstm.errors import FailureCode, InputError, VidlstmError

logger = logging.getLogger(__name__)

CLIP_SECONDS = 120.0
"""How long one file may take before it counts as hung, unless told otherwise."""
_WINDOW = 8  # files in flight for each worker: what they can read while torch is imported
_START_SECONDS = 120.0  # for a process to load its modules; far more than even a slow disk needs
_GLANCE = 0.1  # seconds between looks at whether the run shall end

_MOST_WORKERS = 8

T = TypeVar("T")
R = TypeVar("R")


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Return one worker for each core that this process may use, up to a sensible number."""
    return min(num_cores(), _MOST_WORKERS)


@dataclass(frozen=True)
class Job(Generic[R]):
    """Something to do with one file, in another process.

    Args:
        path: The file.
        work: Does it; must be picklable, such as a `functools.partial` of a module's function.
    """

    path: Path
    work: Callable[[], R]


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
        self._workers = [_Worker(threads) for _ in range(num_workers)]
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
                    while not wait([task.future], _GLANCE).done:
                        if self._abandoned.is_set():
                            return
                places.release()
                yield task.item, None if task.future is None else task.future.result()
        finally:
            left.set()
            places.release()  # the feeder may wait for one
            with contextlib.suppress(queue.Empty):
                while True:
                    task = tasks.get_nowait()
                    if isinstance(task, _Task) and task.future is not None:
                        task.future.cancel()

    def _next(
        self, tasks: queue.Queue[_Task[T, R] | BaseException | None]
    ) -> _Task[T, R] | BaseException | None:
        while not self._ending.is_set():
            with contextlib.suppress(queue.Empty):
                return tasks.get(timeout=_GLANCE)
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

    def _tend(self, worker: _Worker, at_once: bool) -> None:
        """Hand jobs to one worker, one at a time."""
        # What this thread starts inherits its signal mask: Ctrl-C is for the command, not for workers.
        # Whoever first needs the resource tracker has SIGINT unblocked by it, so it is started before.
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if at_once:
            with contextlib.suppress(Exception):  # the first job will say it
                worker.start()
        while (order := self._jobs.get()) is not None:
            job, future = order
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(worker.do(job, self.clip_seconds))
            except BaseException as error:  # whoever waits for the result shall see it
                future.set_exception(error)


class _Worker:
    """One process at a time, replaced when a job kills or hangs it.

    Args:
        num_threads: That decode a file.
    """

    _family = threading.RLock()  # multiprocessing's list of children stands no two threads at once

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._retired = False

    def start(self) -> Connection | None:
        """Start the process unless it runs; return the pipe to it, None in retirement."""
        with self._family:
            if self._pipe is None and not self._retired:
                context = multiprocessing.get_context("spawn")
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, self._num_threads), daemon=True)
                with _without_main(), _without_opencv(), theirs:
                    process.start()
                self._process, self._pipe = process, ours
            return self._pipe

    def do(self, job: Job[R], seconds: float) -> R | InputError:
        """Return what the job gives, or why it gives nothing.

        Raises:
            VidlstmError: No process can be started, whatever the job.
        """

        def failure(code: FailureCode, message: str) -> InputError:
            return InputError(job.path, code, message)

        pipe = self._hand_over(job)
        if pipe is None:
            raise VidlstmError("decoder processes cannot be started; VIDLSTM_DEBUG=1 shows why")
        try:
            if not pipe.poll(seconds):
                self._bury()
                message = f"reading took longer than {seconds:g} s (--timeout)"
                return failure(FailureCode.TIMEOUT, message)
            result: R | InputError
            result, notes = pipe.recv()
        except (EOFError, OSError):
            message = f"the decoder crashed on it ({_cause(self._bury())})"
            return failure(FailureCode.DECODER_CRASHED, message)
        for note in notes:
            logger.warning("%s", note)
        return result

    def _hand_over(self, job: Job[R]) -> Connection | None:
        """Give the job to the process and return once it has it, with all modules that it needs."""
        for _ in range(2):  # a process can have died of something else since its last job
            pipe = self.start()
            if pipe is None:
                break
            with contextlib.suppress(EOFError, OSError):
                pipe.send(job)
                if pipe.poll(_START_SECONDS):
                    pipe.recv()
                    return pipe
            self._bury()
        return None

    def _bury(self) -> int | None:
        """Be sure that the process is gone, and return its exit code."""
        with self._family:
            process, pipe = self._process, self._pipe
            self._process = self._pipe = None
            if process is None or pipe is None:
                return None
            pipe.close()
            process.join(_GLANCE)  # one that crashed on its own has its own exit code
            process.kill()
            process.join()
            return process.exitcode

    def retire(self) -> None:
        """End the process, whatever it does, and start no other."""
        with self._family:
            self._retired = True
            if self._process is not None:
                # Its pipe is left to the thread that reads from it.
                self._process.kill()
                self._process.join()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep a new process from running the caller's script again, as spawn does unless it finds none.

    Workers need nothing of it, and a script that is not all under `if __name__ == "__main__"` would
    start its own workers in each of them.
    """
    names = vars(sys.modules["__main__"])
    hidden: dict[str, object] = {name: names[name] for name in ("__file__", "__spec__") if name in names}
    names.pop("__file__", None)
    names["__spec__"] = None
    try:
        yield
    finally:
        names.update(hidden)


@contextlib.contextmanager
def _without_opencv() -> Iterator[None]:
    """Keep a new process from taking over where OpenCV leads `sys.path` while another thread imports it.

    In its own folder it has a `typing`, among others, which would stand for Python's.
    """
    describe = spawn.get_preparation_data

    def describe_without(name: str) -> dict[str, Any]:
        told = describe(name)
        told["sys_path"] = [folder for folder in told["sys_path"] if not Path(folder, "typing").is_dir()]
        return told

    spawn.get_preparation_data = describe_without
    try:
        yield
    finally:
        spawn.get_preparation_data = describe


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"


def _serve(pipe: Connection, num_threads: int) -> None:
    """Do jobs until the pipe closes. Runs in the worker process."""
    if not os.environ.get("VIDLSTM_DEBUG"):
        # What C code writes must reach neither results nor terminal; nor may a worker that outlives a
        # killed command hold its pipe open.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
    # Not only for what is used here: it loads the decoders, before the first job asks for them.
    from vidlstm.engine.extraction import reading  # noqa: F401
    from vidlstm.media.opencv import decode_with

    decode_with(num_threads)
    notes = _Notes()
    logging.getLogger("vidlstm").addHandler(notes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            job: Job[Any] = pipe.recv()
            pipe.send(None)
            pipe.send((_do(job), notes.take()))


class _Notes(logging.Handler):
    """Warnings of a worker, which the process that started it logs in its place."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self._texts.append(record.getMessage())

    def take(self) -> list[str]:
        """Return what was logged since the last time."""
        texts, self._texts = self._texts, []
        return texts


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(job: Job[R]) -> R | InputError:
    try:
        return job.work()
    except InputError as error:
        return error
    except MemoryError:
        return InputError(job.path, FailureCode.TOO_LARGE, "not enough memory to read it")
    except Exception as error:  # a decoder's own exception on a hostile file
        return InputError(job.path, FailureCode.READ_ERROR, f"{type(error).__name__}: {error}")
