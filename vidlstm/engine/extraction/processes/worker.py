"""A worker process that runs one job at a time, and is replaced if a job crashes or hangs it.

Imports neither torch nor OpenCV before the process needs them.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from vidlstm.engine.extraction.processes.jobs import GLANCE, Job
from vidlstm.errors import FailureCode, InputError, VidlstmError

logger = logging.getLogger(__name__)

_STARTS = 5  # attempts to start a process for one job
_PAUSE = 0.1  # seconds; doubles with each attempt
_START_SECONDS = 120.0  # for loading the modules of a process; far more than a slow disk needs
_PROGRAM = """\
import sys
sys.path[:] = sys.argv[3:]
from vidlstm.engine.extraction.processes.worker import serve
serve(int(sys.argv[1]), int(sys.argv[2]))
"""

R = TypeVar("R")


@dataclass(frozen=True)
class _Part(Generic[R]):
    """One part on its way from the process."""

    value: R


class Worker:
    """A process that is replaced if a job crashes or hangs it.

    Args:
        num_threads: Number of threads for decoding a file.
    """

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self._lock = threading.RLock()  # one thread sends jobs, another may end the process
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._retired = False
        self._has_worked = False

    def start(self) -> Connection | None:
        """Start the process unless it is running; return the pipe to it, or None after `retire`."""
        with self._lock:
            if self._pipe is None and not self._retired:
                self._process, self._pipe = _start(self._num_threads)
            return self._pipe

    def do(self, job: Job[R], seconds: float) -> R | InputError:
        """Return the result of a job, or why it has none.

        Raises:
            VidlstmError: No process can be started at all.
        """
        result: R | InputError = self._receive(job, self._begin(job), seconds)
        return result

    def do_in_parts(self, job: Job[Iterable[R]], seconds: float) -> Iterator[R | InputError]:
        """Yield the parts of a job's result, each within the time limit, and an error if it ends early.

        Raises:
            VidlstmError: No process can be started at all.
        """
        pipe = self._begin(job)
        while (part := self._receive(job, pipe, seconds)) is not None:
            yield part.value if isinstance(part, _Part) else part
            if isinstance(part, InputError):
                return

    def drop(self) -> None:
        """Kill the process; the next job starts a new one."""
        self._bury()

    def _begin(self, job: Job[Any]) -> Connection | None:
        pipe = self._hand_over(job)
        if pipe is None and not self._has_worked:
            raise VidlstmError("decoder processes cannot be started; VIDLSTM_DEBUG=1 shows why")
        return pipe

    def _receive(self, job: Job[Any], pipe: Connection | None, seconds: float) -> Any:
        """Return the next message of the process, or why there is none."""
        if pipe is None:
            message = f"no decoder process could be started for it in {_STARTS} attempts; try again"
            return InputError(job.path, FailureCode.DECODER_CRASHED, message)
        try:
            if not pipe.poll(seconds):
                self._bury()
                message = f"reading took longer than {seconds:g} s, the time limit"
                return InputError(job.path, FailureCode.TIMEOUT, message)
            result, notes = pipe.recv()
        except (EOFError, OSError):
            message = f"the decoder crashed on it ({_cause(self._bury())})"
            return InputError(job.path, FailureCode.DECODER_CRASHED, message)
        for note in notes:
            logger.warning("%s", note)
        return result

    def _hand_over(self, job: Job[R]) -> Connection | None:
        """Send the job to the process; return when it has received it and loaded its modules."""
        # The process may have died since its last job, or be killed while it starts, for example when memory
        # is short, so try again a moment later.
        for number in range(_STARTS):
            with contextlib.suppress(EOFError, OSError):
                pipe = self.start()
                if pipe is None:
                    break
                pipe.send(job)
                if pipe.poll(_START_SECONDS):
                    pipe.recv()
                    self._has_worked = True
                    return pipe
            self._bury()
            if number:
                time.sleep(_PAUSE * 2**number)
        return None

    def _bury(self) -> int | None:
        """Make sure that the process has ended, and return its exit code."""
        with self._lock:
            process, pipe = self._process, self._pipe
            self._process = self._pipe = None
            if process is None or pipe is None:
                return None
            pipe.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GLANCE)  # after a crash, it has an exit code already
            return _kill(process)

    def retire(self) -> None:
        """End the process, whatever it is doing, and never start another one."""
        with self._lock:
            self._retired = True
            if self._process is not None:
                _kill(self._process)  # its pipe is closed by the thread that reads from it


def _start(num_threads: int) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a worker process, and return it with the pipe to it.

    `multiprocessing` is not used: its children run the caller's script again, and two threads cannot start
    them at the same time. The process ends when its standard input closes, so it does not outlive this one.
    """
    ours, theirs = multiprocessing.Pipe()
    handle = theirs.fileno()
    inherited: dict[str, Any] = {"pass_fds": (handle,)}
    if sys.platform == "win32":
        os.set_handle_inheritable(handle, True)
        inherited = {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})}
    # While another thread imports OpenCV, its folder is in `sys.path`. It contains a `typing` module, among
    # others, which would replace Python's.
    folders = [folder for folder in sys.path if not Path(folder, "typing").is_dir()]
    errors = None if os.environ.get("VIDLSTM_DEBUG") else subprocess.DEVNULL
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(handle), str(num_threads), *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # output of C code must not get into the results
            stderr=errors,
            **inherited,
        )
    return process, ours


def _kill(process: subprocess.Popen[bytes]) -> int:
    process.kill()
    if process.stdin is not None:
        process.stdin.close()
    return process.wait()


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"


def serve(handle: int, num_threads: int) -> None:
    """Run jobs until the pipe closes. Runs in the worker process.

    Args:
        handle: The pipe: a file descriptor, on Windows a handle.
        num_threads: Number of threads for decoding a file.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Imported here to load the decoders before the first job needs them.
    from vidlstm.engine.extraction import reading  # noqa: F401
    from vidlstm.media.opencv import decode_with

    decode_with(num_threads)
    notes = Notes()
    logging.getLogger("vidlstm").addHandler(notes)
    pipe = _connection(handle)
    with contextlib.suppress(EOFError, OSError):
        while True:
            job: Job[Any] = pipe.recv()
            pipe.send(None)
            for result in _do_in_parts(job) if job.in_parts else [_do(job)]:
                pipe.send((result, notes.take()))


def _connection(handle: int) -> Connection:
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection

        return PipeConnection(handle)
    return Connection(handle)


def _end_with_parent() -> None:
    with contextlib.suppress(OSError):
        os.read(0, 1)  # nothing is ever written to it
    os._exit(1)


class Notes(logging.Handler):
    """Collects the warnings of a worker, which the parent process logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self._texts.append(record.getMessage())

    def take(self) -> list[str]:
        """Return and clear the collected warnings."""
        texts, self._texts = self._texts, []
        return texts


def _do_in_parts(job: Job[Iterable[R]]) -> Iterator[_Part[R] | InputError | None]:
    """Yield the parts of a job's result, then None, or an error if it ends early."""
    begun = _do(Job(job.path, lambda: iter(job.work())))
    if isinstance(begun, InputError):
        yield begun
        return
    while True:
        part = _do(Job(job.path, partial(next, begun, None)))
        yield part if part is None or isinstance(part, InputError) else _Part(part)
        if part is None or isinstance(part, InputError):
            return


def _do(job: Job[R]) -> R | InputError:
    try:
        return job.work()
    except InputError as error:
        return error
    except MemoryError:
        return InputError(job.path, FailureCode.TOO_LARGE, "not enough memory to read it")
    except Exception as error:  # any exception of a decoder on a hostile file
        return InputError(job.path, FailureCode.READ_ERROR, f"{type(error).__name__}: {error}")
