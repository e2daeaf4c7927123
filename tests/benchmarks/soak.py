"""Does `predict` leak? Memory and open files over a thousand files; time to the first row.

Run by hand: `python -m tests.benchmarks.soak MODEL CLIPS_FOLDER [--files 1000] [--names 100000]`. Linux
only (it reads /proc). Exits with 1 if memory grows by more than a tenth from the first quarter to the end.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = (sys.executable, "-m", "vidlstm", "predict", "--quiet", "-c")


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = {int(child) for task in tasks for child in (task / "children").read_text().split()}
    return [pid, *itertools.chain(*(family(child) for child in sorted(found)))]


def measure(pid: int) -> tuple[int, int, int]:
    """Return the MB of the command, the MB of its workers, and the open files of all of them."""
    sizes, num_open = [], 0
    for member in family(pid):
        pages = int(Path(f"/proc/{member}/statm").read_text().split()[1])
        sizes.append(pages * os.sysconf("SC_PAGE_SIZE") // 2**20)
        num_open += len(list(Path(f"/proc/{member}/fd").iterdir()))
    return sizes[0], sum(sizes[1:]), num_open


def plant(folder: Path, clips: Path, number: int) -> Path:
    """Fill a folder with links to clips."""
    sources = sorted(p.resolve() for p in clips.rglob("*") if p.suffix in (".mp4", ".avi", ".mkv"))
    folder.mkdir()
    for i, source in zip(range(number), itertools.cycle(sources), strict=False):
        (folder / f"{i:06}{source.suffix}").symlink_to(source)
    return folder


def soak(model: Path, folder: Path, number: int) -> bool:
    """Label a folder, and print memory and open files on the way."""
    started = time.monotonic()
    seen = []
    with subprocess.Popen([*COMMAND, model, folder], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for row, _ in enumerate(process.stdout, 1):
            if row in (20, number // 4, number // 2, 3 * number // 4, number - 8):
                seen.append(measure(process.pid))
                seconds = time.monotonic() - started
                own, workers, num_open = seen[-1]
                rate = row / seconds
                print(
                    f"row {row:5}: {own} MB, workers {workers} MB, {num_open} open files, {rate:.1f} files/s"
                )
    return seen[-1][0] + seen[-1][1] <= 1.1 * (seen[1][0] + seen[1][1]) and seen[-1][2] <= seen[1][2] + 2


def time_to_first_row(model: Path, given: str | Path, names: list[str] | None) -> float:
    """Return the seconds from the start to the first row."""
    started = time.monotonic()
    with subprocess.Popen(
        [*COMMAND, model, given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        rest = "".join(f"{name}\n" for name in names or ()).encode()
        written = os.write(process.stdin.fileno(), rest) if rest else 0
        assert not rest or written < len(rest), "the list must not end before the first row"
        process.stdout.readline()
        seconds = time.monotonic() - started
        process.kill()
    return seconds


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--names", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        steady = soak(
            options.model, plant(Path(temporary) / "soak", options.clips, options.files), options.files
        )
        print("steady" if steady else "GREW")
        many = plant(Path(temporary) / "many", options.clips, options.names)
        names = [str(path) for path in sorted(many.iterdir())]
        for _ in range(2):
            print(f"first row, one file: {time_to_first_row(options.model, names[0], None):.2f} s")
            print(f"first row, folder of {len(names)}: {time_to_first_row(options.model, many, None):.2f} s")
            print(f"first row, pipe of {len(names)}: {time_to_first_row(options.model, '-', names):.2f} s")
    return 0 if steady else 1


if __name__ == "__main__":
    sys.exit(main())
