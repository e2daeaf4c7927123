"""How the cost grows with the number of clips, and with the length of a clip."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import tempfile
import time
from pathlib import Path

from tests.benchmarks.soak import family
from tests.benchmarks.speed.clips import H264, make_clip, make_clips
from tests.benchmarks.speed.labelling import NUM_CLIPS, trained_model
from tests.benchmarks.speed.measure import VIDLSTM, Bar, Result

_COUNTS = (10, 100, 1000, 10_000)
_SECONDS = {"10 s": 10, "1 min": 60, "10 min": 600, "2 h": 7200}
_GLANCE = 0.05


def measure_growth(kept: Path) -> list[Result]:
    """Label increasing numbers of clips, and clips of increasing length."""
    model, clips = trained_model(kept), make_clips(kept, NUM_CLIPS)
    rows: list[tuple[str | float, ...]] = []
    found = {}
    for count in _COUNTS:
        found[count] = seconds, megabytes = label(
            model, list(itertools.islice(itertools.cycle(clips), count))
        )
        rows.append((f"{count} clips", seconds, megabytes, seconds / count))
    for name, length in _SECONDS.items():
        seconds, megabytes = label(model, [make_clip(kept, H264.lasting(length))])
        rows.append((f"one clip of {name}", seconds, megabytes, seconds))
    per_clip = [(found[b][0] - found[a][0]) / (b - a) for a, b in itertools.pairwise(_COUNTS)]
    bars = [
        Bar(
            "a clip of 1,000 to 10,000 over one of 10 to 100, in time", per_clip[-1] / per_clip[0], 1.1, False
        ),
        Bar("memory of 10,000 clips over that of 100", found[10_000][1] / found[100][1], 1.1, False),
    ]
    columns = ("predict", "seconds", "peak MB, all processes", "seconds a clip")
    return [Result("Growth", columns, rows, bars)]


def label(model: Path, clips: list[Path], command: str = "predict") -> tuple[float, float]:
    """Return the duration of a command in seconds, and the peak memory of all its processes together."""
    with tempfile.TemporaryFile("w+") as names:
        names.write("".join(f"{clip}\n" for clip in clips))
        names.seek(0)
        words = [*VIDLSTM, command, "-", "-c", str(model), "--quiet"]
        started = time.monotonic()
        peak = 0.0
        with subprocess.Popen(words, stdin=names, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, _megabytes(process.pid))
                time.sleep(_GLANCE)
        return time.monotonic() - started, peak


def _megabytes(pid: int) -> float:
    """Return the memory of a process and all its children; shared memory counts once."""
    total = 0
    with contextlib.suppress(OSError):  # one of them has just ended
        for member in family(pid):
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
