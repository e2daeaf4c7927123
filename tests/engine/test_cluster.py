"""A local Ray cluster: order, back-pressure, actors and nodes that die, early ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny import write_action
from vidlstm.config import ModelConfig
from vidlstm.engine.extraction.cluster import connection
from vidlstm.engine.extraction.cluster.cluster import Cluster, Crew
from vidlstm.engine.extraction.cluster.reader import Reader
from vidlstm.engine.extraction.open import open_extractor
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.errors import FailureCode, UsageError
from vidlstm.settings import MachineSettings

ROOT = Path(__file__).parents[2]


def test_a_reader_returns_single_items_first_and_then_batches() -> None:
    reader = Reader(range(50), ahead=100)
    while not reader._over.is_set():
        time.sleep(0.01)
    taken = [reader.take(8) for _ in range(20)]
    assert [len(items) for items in taken[:8]] == [1, 1, 1, 1, 2, 2, 3, 3]
    assert [item for items in taken for item in items] == list(range(50))
    assert reader.is_over()


def test_a_reader_reads_only_as_far_ahead_as_requested() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    reader = Reader(numbers(), ahead=5)
    time.sleep(0.3)
    assert len(read) == 6  # one more is buffered
    reader.stop()


def test_an_error_of_the_source_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    reader = Reader(broken(), ahead=5)
    reader._over.wait(5)
    assert not reader.is_over()
    assert reader.take(3) == [1]
    with pytest.raises(OSError, match="gone"):
        reader.is_over()


def test_without_ray_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"`ray`: it is not installed: pip install 'vidlstm\[ray\]'"):
        Cluster(MachineSettings(ray="local"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ray_cpus": 2.0}, "add `ray`"),
        ({"ray": "local", "ray_cpus": 0.0}, "more than 0"),
        ({"ray": "local", "ray_gpus": -1.0}, "0 or more"),
    ],
)
def test_invalid_settings(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        MachineSettings(**settings)


# ------------------------------------------------------------------------------- with a cluster


class Odd:
    """A source that does not read files."""

    digest = ""


@contextlib.contextmanager
def open_odd() -> Iterator[Any]:
    yield Odd()


@contextlib.contextmanager
def open_never() -> Iterator[Any]:
    if os.getpid():
        raise UsageError("`device=cuda`: there is none")
    yield Odd()


def work(source: Any, items: Iterable[int | str]) -> Iterator[list[Any]]:
    """Return each number with the process that received it; die on deadly items."""
    for item in items:
        if item == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "broken":
            raise UsageError("`backend`: broken")
        if isinstance(item, str) and item.startswith("once "):
            mark = Path(item.removeprefix("once "))
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.002)
        yield [(item, os.getpid())]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with one CPU each."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'vidlstm[ray]'")
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        yield nodes
        nodes.shutdown()


@pytest.fixture
def cluster(nodes: Any) -> Iterator[Cluster]:
    with Cluster(MachineSettings(ray=nodes.address)) as cluster:
        yield cluster


pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of Ray


@pytest.fixture
def crew(cluster: Cluster) -> Crew[Any, Any]:
    return cluster.crew(open_odd, work, 4)


def flat(batches: Iterable[list[Any | None]]) -> list[Any]:
    return [result for batch in batches for result in batch]


@pytest.mark.slow
class TestCrew:
    def test_keeps_the_order_and_uses_every_node(self, crew: Crew[Any, Any]) -> None:
        seen: set[int] = set()
        latest = time.monotonic() + 120

        def numbers() -> Iterator[int]:
            """Go on until both actors have worked: on a busy machine the second starts seconds later."""
            number = 0
            while len(seen) < 2 and time.monotonic() < latest:
                yield number
                number += 1

        results: list[Any] = []
        for batch in crew.run(numbers()):
            results += batch
            seen |= {pid for _, pid in flat([batch])}
        assert [item for item, _ in results] == list(range(len(results)))
        assert len(seen) == 2
        again = flat(crew.run(range(10)))  # by the same actors
        assert {pid for _, pid in again} <= seen

    def test_only_an_item_that_kills_three_actors_is_given_up(self, crew: Crew[Any, Any]) -> None:
        items = [*range(6), "deadly", *range(6, 12)]
        results = flat(crew.run(items))
        assert [None if r is None else r[0] for r in results] == [*range(6), None, *range(6, 12)]

    def test_items_of_a_dead_actor_are_retried(self, crew: Crew[Any, Any], tmp_path: Path) -> None:
        items = [*range(6), f"once {tmp_path / 'mark'}", *range(6, 12)]
        assert [result[0] for result in flat(crew.run(items))] == items

    def test_an_error_outside_the_items_ends_it(self, crew: Crew[Any, Any]) -> None:
        with pytest.raises(UsageError, match="broken"):
            flat(crew.run([1, "broken", 2]))

    def test_the_reason_why_an_actor_does_not_start_is_given(self, cluster: Cluster) -> None:
        with pytest.raises(UsageError, match="`device=cuda`: there is none"):
            flat(cluster.crew(open_never, work, 4).run([1]))

    def test_an_actor_too_large_for_every_node_is_refused(self, nodes: Any) -> None:
        with (
            Cluster(MachineSettings(ray=nodes.address, ray_cpus=64)) as cluster,
            pytest.raises(UsageError, match="needs 64 CPUs and 0 GPUs, but the largest node has 1 and 0"),
        ):
            cluster.crew(open_odd, work, 4)

    def test_takes_items_only_as_fast_as_results_are_consumed(self, crew: Crew[Any, Any]) -> None:
        taken: list[int] = []

        def numbers() -> Iterator[int]:
            for number in range(100_000):
                taken.append(number)
                yield number

        run = crew.run(numbers())
        next(run)
        time.sleep(1)
        assert len(taken) < 200

    def test_an_early_end_yields_only_the_current_results(self, cluster: Cluster) -> None:
        run = cluster.crew(open_odd, work, 4).run(range(100_000))
        first = flat([next(run)])
        cluster.end_early()
        results = first + flat(run)
        assert 1 <= len(results) < 50
        assert [item for item, _ in results] == list(range(len(results)))

    def test_a_blocking_source_of_items_delays_no_result(self, crew: Crew[Any, Any]) -> None:
        more = threading.Event()

        def numbers() -> Iterator[int]:
            yield 1
            more.wait(60)
            yield 2

        run = crew.run(numbers())
        assert flat([next(run)])[0][0] == 1
        more.set()
        assert flat([next(run)])[0][0] == 2

    def test_removing_and_adding_nodes_loses_no_item_and_prints_nothing(
        self, nodes: Any, crew: Crew[Any, Any], capfd: pytest.CaptureFixture[str]
    ) -> None:
        extra = nodes.add_node(num_cpus=1)
        results: list[Any] = []
        for batch in crew.run(range(3000)):
            results += batch
            if extra is not None and len(results) > 500:
                nodes.remove_node(extra, allow_graceful=False)
                nodes.add_node(num_cpus=1)
                extra = None
        assert [item for item, _ in results] == list(range(3000))
        time.sleep(3)  # Ray's message about the dead node comes late
        assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_actors_on_this_machine_have_the_priority_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_worker_niceness", raising=False)
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'vidlstm[ray]'")
    local = connection.Connection(MachineSettings(ray="local"))
    try:
        assert ray.get(ray.remote(niceness).remote()) == niceness()
    finally:
        local.close()


def niceness() -> int:
    return os.nice(0) if hasattr(os, "nice") else 0


@pytest.mark.slow
def test_features_are_those_of_one_machine(nodes: Any, tmp_path: Path) -> None:
    clips = [write_action(tmp_path / f"{n}.avi", "rise" if n % 2 else "sink", n) for n in range(4)]
    paths = [*clips, tmp_path / "missing.avi"]
    config = ModelConfig("video", ("rise", "sink"), ("motion", "colour"))
    request = ReadRequest.for_training(config)
    with open_extractor(request, None, MachineSettings(workers=1), cache=False) as here:
        own = list(here.extract(paths))
    with open_extractor(request, None, MachineSettings(workers=1, ray=nodes.address), cache=True) as there:
        remote = list(there.extract(paths))
        kept = list(there.extract(paths))
    for one, other, third in zip(own, remote, kept, strict=True):
        assert (one.path, one.info, one.problem) == (other.path, other.info, other.problem)
        if one.features is None:
            assert one.problem is not None
            assert one.problem.code is FailureCode.NOT_FOUND
            continue
        assert other.features is not None
        assert third.features is not None
        for stream, values in {**one.features.sequences, **one.features.summaries}.items():
            got = {**other.features.sequences, **other.features.summaries}[stream]
            np.testing.assert_array_equal(values, got)
            assert got.flags.writeable
            np.testing.assert_array_equal(
                values, {**third.features.sequences, **third.features.summaries}[stream]
            )
