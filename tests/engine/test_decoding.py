"""The pool of decoder processes: order, crashes, hangs, slow sources, early ends."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.processes.worker import Worker
from vidlstm.errors import FailureCode, InputError, VidlstmError

LIMIT = 1.0


def act(path: Path) -> str:
    """Replace a decoder: the name of the file says what it does."""
    name = path.name
    if "segfault" in name:
        ctypes.string_at(0)
    if "exit" in name:
        os._exit(7)
    if "hang" in name:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if "memory" in name:
        raise MemoryError
    if "raise" in name:
        raise ValueError("odd")
    if "refuse" in name:
        raise InputError(path, FailureCode.NOT_A_VIDEO, "is not a video")
    if "noise" in name:
        os.write(1, b"noise\n")
        os.write(2, b"noise\n")
    if "warn" in name:
        logging.getLogger("vidlstm.media").warning("%s is read the slow way", name)
    if "slow" in name:
        time.sleep(0.3)
    return name.upper()


def job(name: str) -> Job[str]:
    return Job(Path(name), partial(act, Path(name)))


def outcomes(pool: DecodePool, names: list[str]) -> list[tuple[str, str]]:
    found = []
    for result in pool.run(names, job):
        if result is not None:
            name, outcome = result
            assert outcome is not None
            found.append((name, outcome.code.value if isinstance(outcome, InputError) else outcome))
    return found


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(2, LIMIT) as pool:
        yield pool


def test_results_come_in_the_order_of_the_items(pool: DecodePool) -> None:
    names = ["slow", *"abcdefgh", "slow2", "i"]
    assert outcomes(pool, names) == [(name, name.upper()) for name in names]


def test_messages_logged_by_a_worker_are_logged_by_the_parent(
    pool: DecodePool, caplog: pytest.LogCaptureFixture
) -> None:
    assert outcomes(pool, ["warn1", "a", "warn2"]) == [("warn1", "WARN1"), ("a", "A"), ("warn2", "WARN2")]
    assert sorted(caplog.messages) == ["warn1 is read the slow way", "warn2 is read the slow way"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("segfault", "decoder_crashed"),
        ("exit", "decoder_crashed"),
        ("hang", "timeout"),
        ("memory", "too_large"),
        ("raise", "read_error"),
        ("refuse", "not_a_video"),
    ],
)
def test_a_bad_file_affects_only_itself(pool: DecodePool, name: str, code: str) -> None:
    names = ["a", name, "b", "c", name, name, "d"]
    expected = [(n, code if n == name else n.upper()) for n in names]
    assert outcomes(pool, names) == expected


def test_the_pool_survives_many_crashes_in_a_row(pool: DecodePool) -> None:
    names = ["exit"] * 8 + ["end"]
    assert outcomes(pool, names) == [("exit", "decoder_crashed")] * 8 + [("end", "END")]


@pytest.mark.skipif(os.name == "nt", reason="has no signals")
def test_a_crash_names_its_signal(pool: DecodePool) -> None:
    outcome = next(r for r in pool.run(["segfault"], job) if r is not None)[1]
    assert isinstance(outcome, InputError)
    assert "SIGSEGV" in outcome.message
    assert outcome.path == "segfault"


def test_a_worker_that_is_killed_while_idle_is_replaced() -> None:
    with DecodePool(1, LIMIT) as pool:
        assert outcomes(pool, ["a"]) == [("a", "A")]
        process = pool._workers[0]._process
        assert process is not None
        process.kill()
        process.wait()
        assert outcomes(pool, ["b"]) == [("b", "B")]


def test_output_of_decoders_is_suppressed(pool: DecodePool, capfd: pytest.CaptureFixture[str]) -> None:
    assert outcomes(pool, ["noise"]) == [("noise", "NOISE")]
    assert capfd.readouterr() == ("", "")


def test_items_without_a_job_keep_their_place(pool: DecodePool) -> None:
    results = pool.run(["a", "none", "b"], lambda name: None if name == "none" else job(name))
    assert [r for r in results if r is not None] == [("a", "A"), ("none", None), ("b", "B")]


def test_the_first_result_comes_before_the_source_ends(pool: DecodePool) -> None:
    more = threading.Event()

    def source() -> Iterator[str]:
        yield "first"
        assert more.wait(20)
        yield "second"

    results = (r for r in pool.run(source(), job) if r is not None)
    assert next(results) == ("first", "FIRST")
    more.set()
    assert list(results) == [("second", "SECOND")]


def test_the_source_is_not_read_far_ahead(pool: DecodePool) -> None:
    taken = []

    def source() -> Iterator[str]:
        for number in range(1000):
            taken.append(number)
            yield str(number)

    results = (r for r in pool.run(source(), job) if r is not None)
    next(results)
    time.sleep(0.2)
    assert len(taken) < 20
    pool.end_early()  # releases the feeder
    list(results)
    pool._ending.clear()


def test_an_error_of_the_source_reaches_the_consumer(pool: DecodePool) -> None:
    def source() -> Iterator[str]:
        yield "a"
        raise OSError("the source is gone")

    results = pool.run(source(), job)
    with pytest.raises(OSError, match="gone"):
        list(results)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_run_can_be_ended_while_its_source_is_silent(at_once: bool) -> None:
    silence = threading.Event()

    def source() -> Iterator[str]:
        yield "a"
        silence.wait(60)

    with DecodePool(1, LIMIT) as pool:
        results = (r for r in pool.run(source(), job) if r is not None)
        assert next(results) == ("a", "A")
        threading.Timer(0.2, pool.end_early, kwargs={"at_once": at_once}).start()
        assert list(results) == []
        silence.set()


def test_an_early_end_waits_for_the_current_item() -> None:
    with DecodePool(1, 20) as pool:
        results = pool.run(["slow1", "slow2", "slow3"], job)
        found = []
        for result in results:
            if result is None:
                continue
            found.append(result[0])
            threading.Timer(0.1, pool.end_early).start()
        assert found == ["slow1", "slow2"]


def test_the_end_does_not_wait_for_a_job_that_hangs() -> None:
    started = time.monotonic()
    with DecodePool(1, 600) as pool:
        results = pool.run(["a", "hang"], job)
        assert next(r for r in results if r is not None) == ("a", "A")
    assert time.monotonic() - started < 20


def test_a_process_that_is_killed_while_it_starts_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Worker.start
    killed: list[int | None] = []

    def start_and_kill(worker: Worker) -> Connection | None:
        pipe = start(worker)
        if len(killed) < 3 and worker._process is not None:
            killed.append(worker._process.pid)
            worker._process.kill()
        return pipe

    monkeypatch.setattr(Worker, "start", start_and_kill)
    with DecodePool(1, LIMIT) as pool:
        assert outcomes(pool, ["a", "b"]) == [("a", "A"), ("b", "B")]
    assert len(killed) == 3


def test_a_later_failure_to_start_costs_one_job_and_not_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vidlstm.engine.extraction.processes.worker._PAUSE", 0.0)
    with DecodePool(1, LIMIT) as pool:
        assert outcomes(pool, ["a"]) == [("a", "A")]
        pool._workers[0].drop()
        with monkeypatch.context() as patch:
            patch.setattr("vidlstm.engine.extraction.processes.worker._PROGRAM", "raise SystemExit(1)")
            assert outcomes(pool, ["b"]) == [("b", "decoder_crashed")]
        assert outcomes(pool, ["c"]) == [("c", "C")]


def test_a_process_that_cannot_start_is_not_blamed_on_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidlstm.engine.extraction.processes.worker._PROGRAM", "raise SystemExit(1)")
    with DecodePool(1, LIMIT) as pool, pytest.raises(VidlstmError, match="cannot be started"):
        outcomes(pool, ["a"])


def test_stopping_early_closes_the_source_and_leaves_no_jobs() -> None:
    let_go = threading.Event()

    def source() -> Iterator[str]:
        try:
            for number in range(1000):
                yield f"slow{number}"
        finally:
            let_go.set()

    with DecodePool(1, LIMIT) as pool:
        results = pool.run(source(), job)
        assert next(r for r in results if r is not None)[0] == "slow0"
        del results
        assert let_go.wait(20)
        assert outcomes(pool, ["a"]) == [("a", "A")]
        assert pool._jobs.empty()


def test_a_system_that_cannot_start_processes_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("vidlstm.engine.extraction.processes.worker.subprocess.Popen", refuse)
    monkeypatch.setattr("vidlstm.engine.extraction.processes.worker._PAUSE", 0.0)
    with DecodePool(1, LIMIT) as pool, pytest.raises(VidlstmError, match="cannot be started"):
        outcomes(pool, ["a"])


PARENT = """
import time
from vidlstm.engine.extraction.processes.worker import Worker
Worker(1).start()
print("started", flush=True)
time.sleep(600)
"""


def test_a_worker_ends_even_if_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "VIDLSTM_DEBUG": "1"},  # workers then write to the parent's standard error
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().split() == [b"started"]
    parent.kill()
    assert parent.communicate(timeout=60) == (b"", b"")  # returns once no process holds the pipe


def test_processes_start_when_there_is_something_to_do() -> None:
    with DecodePool(2, LIMIT) as pool:
        assert list(pool.run(["a"], lambda _: None))[-1] == ("a", None)
        assert [worker._process for worker in pool._workers] == [None, None]
        assert outcomes(pool, ["a"]) == [("a", "A")]


def test_processes_can_start_at_once() -> None:
    with DecodePool(1, LIMIT, at_once=True) as pool:
        deadline = time.monotonic() + 20
        while pool._workers[0]._process is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)


RACE = """
import sys, threading
from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.processes.worker import Worker
from pathlib import Path
from functools import partial
with DecodePool(1, 60.0) as pool:
    assert "cv2" not in sys.modules
    before = list(sys.path)
    threading.Thread(target=__import__, args=("cv2",)).start()
    while sys.path == before:  # until OpenCV puts its own folders into it
        pass
    job = lambda item: Job(Path(item), partial(len, item))
    print([outcome for _, outcome in filter(None, pool.run(["abc"], job))])
"""


def test_a_process_that_starts_while_opencv_is_imported_finds_python_s_modules() -> None:
    """OpenCV contains a `typing` module, and puts its folder first in `sys.path` during its import."""
    ended = subprocess.run(
        [sys.executable, "-c", RACE], capture_output=True, text=True, cwd=Path.cwd(), timeout=120, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[3]\n", "")


# ------------------------------------------------------------------------------- results in parts


def count(path: Path) -> Iterator[int]:
    """Replace the reader of a film: its name gives the number of parts, and what happens in the middle."""
    for number in range(int(path.stem.split("_")[0])):
        yield number
        if number == 1:
            act(path)


def film(name: str) -> Job[Any]:
    return Job(Path(name), partial(count, Path(name)), in_parts=True)


def parts_of(pool: DecodePool, names: list[str]) -> list[tuple[str, list[int | str]]]:
    found: list[tuple[str, list[int | str]]] = []
    for result in pool.run(names, film):
        if result is None:
            continue
        name = result[0]
        parts: Any = result[1]
        taken: list[int | str] = []
        try:
            taken += parts
        except InputError as error:
            taken.append(error.code.value)
        found.append((name, taken))
    return found


def test_parts_come_in_order_film_by_film() -> None:
    with DecodePool(2, LIMIT) as pool:
        assert parts_of(pool, ["3_a", "0_b", "9_c"]) == [
            ("3_a", [0, 1, 2]),
            ("0_b", []),
            ("9_c", [*range(9)]),
        ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("segfault", "decoder_crashed"),
        ("hang", "timeout"),
        ("refuse", "not_a_video"),
        ("raise", "read_error"),
    ],
)
def test_a_film_that_fails_in_the_middle_keeps_its_parts(name: str, code: str) -> None:
    with DecodePool(1, LIMIT) as pool:
        assert parts_of(pool, [f"5_{name}", "2_next"]) == [(f"5_{name}", [0, 1, code]), ("2_next", [0, 1])]


def test_an_abandoned_film_is_not_read_further() -> None:
    with DecodePool(1, LIMIT) as pool:
        for result in pool.run(["1000000_long"], film):
            if result is not None:
                parts: Any = result[1]
                assert next(iter(parts)) == 0
                break
        assert parts_of(pool, ["2_next"]) == [("2_next", [0, 1])]
