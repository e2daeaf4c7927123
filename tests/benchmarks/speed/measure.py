"""Timing: run contenders in alternation, take medians, compare them with limits."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VIDLSTM = (sys.executable, "-m", "vidlstm")


@dataclass(frozen=True)
class Cost:
    """The cost of a piece of work.

    Args:
        wall: Wall time in seconds.
        cpu: CPU seconds of all cores together, user and system.
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Bar:
    """A measured value and its limit.

    Args:
        name: What was measured.
        value: The value.
        limit: The smallest or the largest value allowed.
        at_least: Whether `limit` is the smallest.
    """

    name: str
    value: float
    limit: float
    at_least: bool

    @property
    def holds(self) -> bool:
        """Whether the value is within the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Result:
    """The result of one part of the benchmark.

    Args:
        title: Title of the table.
        columns: Names of the columns.
        rows: Text and numbers.
        bars: The values with limits.
        notes: What was left out, and why.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str | float, ...]]
    bars: Sequence[Bar] = ()
    notes: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {
            "title": self.title,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
            "bars": [{**asdict(bar), "holds": bar.holds} for bar in self.bars],
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """Return the result as a table for people."""
        cells = [self.columns, *(tuple(map(_text, row)) for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [self.title, ""]
        for row in cells:
            lines.append(
                "  ".join(
                    cell.ljust(w) if i == 0 else cell.rjust(w)
                    for i, (cell, w) in enumerate(zip(row, widths, strict=True))
                ).rstrip()
            )
        for bar in self.bars:
            word = "at least" if bar.at_least else "at most"
            lines.append(
                f"{'holds' if bar.holds else 'MISSED'}: {bar.name}: {bar.value:.2f} ({word} {bar.limit:g})"
            )
        return "\n".join([*lines, *self.notes])


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def alternate(contenders: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, Cost]:
    """Run the contenders in turn, so that other load on the machine affects all of them alike.

    Returns:
        The median wall and CPU seconds of each.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            costs[name].append(run())
    return {name: median(found) for name, found in costs.items()}


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of wall and CPU seconds."""
    return Cost(statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs))


def timed(work: Callable[[], object]) -> Cost:
    """Run a function in this process; return its cost."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


@dataclass(frozen=True)
class Ended:
    """The cost and the output of a process that succeeded."""

    cost: Cost
    out: str


def run_process(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, stdin: str = ""
) -> Ended:
    """Run a command to its end; its cost includes its children.

    Raises:
        RuntimeError: It failed; the message is its standard error.
    """
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(
        [os.fspath(word) for word in command], input=stdin, capture_output=True, text=True,
        env={**os.environ, **(env or {})}, check=False,
    )  # fmt: skip
    wall, after = time.perf_counter() - started, os.times()
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Ended(Cost(wall, cpu), done.stdout)


def describe_machine() -> dict[str, str | int]:
    """Return the facts that the figures depend on: processor, cores, memory, versions."""
    facts: dict[str, str | int] = {
        "processor": _processor(),
        "cores": num_cores(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    for package in ("torch", "opencv-python", "openvino", "torchcodec", "decord", "av", "transformers"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def num_cores() -> int:
    """Return the number of cores that this process may use, without importing torch."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """Return the processor's name and its vector instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())} ({', '.join(flags)})"
