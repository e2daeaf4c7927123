"""A Ray cluster compared with one machine: throughput, a lost node, the cost of Ray, a long queue, memory.

    python -m tests.benchmarks.cluster MODEL CLIPS [--clips 400] [--parts nodes,change,local,queue,memory]

CLIPS is a folder of videos; they are linked until there are enough. The nodes are processes of this machine
(`ray.cluster_utils.Cluster`), bound to one CPU each on Linux, so two of them need two idle cores. Without the
binding, a node's encoder and decoder take more than the one CPU that it claims to have. Throughput is
measured between two rows, when all actors are working.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

_FIRST = 48  # rows until all actors are working


@dataclass
class Labelled:
    """The rows of a run, and their times."""

    rows: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0
    peak: int = 0  # bytes of the command itself

    def rate(self) -> float:
        """Return clips per second between two rows in the middle."""
        last = len(self.rows) - _FIRST // 2
        return (last - _FIRST) / (self.times[last] - self.times[_FIRST])


def predict_command(model: Path, *options: str) -> list[str]:
    """Return the command that labels files named on standard input."""
    return [sys.executable, "-m", "vidlstm", "predict", "-", "-c", str(model), "-q", *options]


def label(
    model: Path, names: Iterable[str], *options: str, at_row: Callable[[int], object] = lambda _: None
) -> Labelled:
    """Run `predict` on files named on standard input."""
    command = predict_command(model, "-f", "jsonl", *options)
    done = Labelled()
    began = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as listing,
        subprocess.Popen(command, stdin=_file(listing, names), stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            done.rows.append(line)
            done.times.append(time.monotonic() - began)
            at_row(len(done.rows))
            if len(done.rows) % 100 == 1:
                done.peak = max(done.peak, _memory(process.pid))
        process.wait()
    done.seconds = time.monotonic() - began
    return done


def _file(listing: IO[str], names: Iterable[str]) -> IO[str]:
    listing.writelines(f"{name}\n" for name in names)
    listing.seek(0)
    return listing


def _memory(pid: int) -> int:
    """Return the private memory of a process, in bytes, on Linux."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def link_clips(source: Path, folder: Path, number: int) -> list[str]:
    """Link clips into a folder until there are enough; return their names."""
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".mp4", ".avi", ".mkv", ".webm"))
    names = []
    for index, clip in zip(range(number), itertools.cycle(found), strict=False):
        link = folder / f"{index:06}{clip.suffix}"
        link.symlink_to(clip.resolve())
        names.append(str(link))
    return names


def nodes_of(number: int) -> Any:
    """Start a cluster of nodes with one CPU each."""
    from ray.cluster_utils import Cluster

    with _one_cpu(0):
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for index in range(1, number):
        add_node(nodes, index)
    return nodes


def add_node(nodes: Any, index: int) -> Any:
    """Add a node with its own CPU."""
    with _one_cpu(index):
        return nodes.add_node(num_cpus=1)


@contextmanager
def _one_cpu(index: int) -> Iterator[None]:
    """Bind the processes that are started in this block to one CPU, if the system supports it."""
    if sys.platform != "linux":
        yield
        return
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[index % len(allowed)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def compare_nodes(model: Path, names: list[str], plain: Labelled) -> None:
    """Print the throughput of one node and of two nodes."""
    rates = {}
    for number in (1, 2):
        nodes = nodes_of(number)
        done = label(model, names, "--ray", nodes.address)
        nodes.shutdown()
        rates[number] = done.rate()
        print(
            f"{number} node(s): {done.rate():.2f} clips/s, first row after {done.times[0]:.1f} s, "
            f"{done.seconds:.1f} s in all, rows {_same(done, plain)}",
            flush=True,
        )
    print(f"two nodes against one: {rates[2] / rates[1]:.2f} times the throughput", flush=True)


def change_nodes(model: Path, names: list[str], plain: Labelled) -> None:
    """Remove a node halfway, and add another one."""
    nodes = nodes_of(1)
    extra = add_node(nodes, 1)

    def change(row: int) -> None:
        if row == len(names) // 2:
            nodes.remove_node(extra, allow_graceful=False)
            add_node(nodes, 1)

    done = label(model, names, "--ray", nodes.address, at_row=change)
    nodes.shutdown()
    print(
        f"a node removed at row {len(names) // 2}, one added: {done.seconds:.1f} s, {len(done.rows)} rows, "
        f"{_same(done, plain)}",
        flush=True,
    )


def measure_local(model: Path, names: list[str], plain: Labelled) -> None:
    """Print the cost of `--ray local`."""
    done = label(model, names, "--ray", "local")
    print(
        f"--ray local, {len(names)} clips: {done.seconds:.1f} s, plain {plain.seconds:.1f} s "
        f"({done.seconds / plain.seconds - 1:+.0%}); between rows {done.rate():.2f} clips/s, plain "
        f"{plain.rate():.2f}; first row after {done.times[0]:.1f} s, plain {plain.times[0]:.1f}; rows "
        f"{_same(done, plain)}",
        flush=True,
    )


def queue_names(model: Path, names: list[str]) -> None:
    """Queue 100,000 names, and print when rows arrive."""
    nodes = nodes_of(2)
    many = list(itertools.islice(itertools.cycle(names), 100_000))
    command = predict_command(model, "--ray", nodes.address)
    began = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as listing,
        subprocess.Popen(command, stdin=_file(listing, many), stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        times = [time.monotonic() - began for _ in itertools.islice(process.stdout, 10)]
        process.stdout.close()  # like `| head`
        status = process.wait(60)
    nodes.shutdown()
    print(
        f"100,000 names: first row after {times[0]:.1f} s, tenth {times[-1]:.1f} s; status {status}",
        flush=True,
    )


def measure_memory(model: Path, folder: Path) -> None:
    """Print the driver's memory for 1,000 and 20,000 inputs, none of which is a video."""
    nodes = nodes_of(2)
    for number in (1_000, 20_000):
        names = []
        for index in range(number):
            file = folder / f"tiny{index:05}.mp4"
            file.write_bytes(b"no video")
            names.append(str(file))
        done = label(model, names, "--ray", nodes.address)
        print(
            f"{number} tiny files: {done.peak / 2**20:.0f} MiB private, {len(done.rows)} rows, "
            f"{done.seconds:.1f} s",
            flush=True,
        )
    nodes.shutdown()


def _same(done: Labelled, plain: Labelled) -> str:
    return "the same to the byte" if done.rows == plain.rows else "DIFFERENT"


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--clips", dest="number", type=int, default=400)
    parser.add_argument("--parts", default="nodes,change,local,queue,memory")
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    parts = cast("str", arguments.parts).split(",")
    model = arguments.model.resolve()
    with tempfile.TemporaryDirectory() as folder:
        names = link_clips(arguments.clips, Path(folder), arguments.number)
        plain = Labelled()
        if {"nodes", "change", "local"} & set(parts):
            before = _cpu(resource.RUSAGE_CHILDREN)
            plain = label(model, names)
            cpu = _cpu(resource.RUSAGE_CHILDREN) - before
            print(
                f"plain: {plain.seconds:.1f} s, {plain.rate():.2f} clips/s, {cpu:.1f} CPU seconds", flush=True
            )
        if "nodes" in parts:
            compare_nodes(model, names, plain)
        if "change" in parts:
            change_nodes(model, names, plain)
        if "local" in parts:
            measure_local(model, names, plain)
        if "queue" in parts:
            queue_names(model, names)
        if "memory" in parts:
            measure_memory(model, Path(folder))


if __name__ == "__main__":
    main()
