"""Part 4: training on features that are there already."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.benchmarks.speed.measure import VIDLSTM, Bar, Result, run_process

_SAMPLE_VIDEOS = Path(__file__).parents[3] / "sample_videos"
_GLANCE = 0.01


def measure_training(real: Path | None, rounds: int) -> list[Result]:
    """Time a first `train`, repeated ones and a cross-validation, on the real clips where they are given."""
    data = real if real is not None else _SAMPLE_VIDEOS
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        env = {"VIDLSTM_CACHE_DIR": str(work / "cache")}
        first = time_to_first_epoch(data, work / "run", env)
        again = sorted(time_to_first_epoch(data, work / "run", env) for _ in range(rounds))[rounds // 2]
        ended = run_process([*VIDLSTM, "train", data, "--json", "-q", "-o", work / "whole"], env)
        said = json.loads(ended.out)
        epochs = len((work / "whole" / "metrics.jsonl").read_text().splitlines())
        rate = epochs / said["seconds"]["train"]
        rows: list[tuple[str | float, ...]] = [
            ("train, start to the end of the first epoch, nothing kept", first),
            ("the same again", again),
            ("train, all of it, features kept", ended.cost.wall),
            ("epochs a second", rate),
        ]
        bars = [
            Bar("the first epoch of a repeated train comes so many times sooner", first / again, 20, True)
        ]
        if real is not None:
            folds = run_process([*VIDLSTM, "crossval", data, "--folds", "group", "-q", "--json"], env)
            number = json.loads(folds.out)["num_folds"]
            rows.append((f"crossval, {number} folds, features kept", folds.cost.wall))
            bars.append(Bar(f"crossval of {number} folds, seconds", folds.cost.wall, 60, False))
        return [Result(f"Training on {data.name}", ("", "seconds"), rows, bars)]


def time_to_first_epoch(data: Path, run: Path, env: dict[str, str]) -> float:
    """Return the seconds from the start of `train` until its first epoch is written down."""
    shutil.rmtree(run, ignore_errors=True)
    command = [*VIDLSTM, "train", str(data), "--quiet", "-o", str(run)]
    started = time.monotonic()
    with subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.PIPE) as process:
        metrics = run / "metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None:
                assert process.stderr is not None
                raise RuntimeError(process.stderr.read().decode()[-2000:])
            time.sleep(_GLANCE)
        seconds = time.monotonic() - started
        process.terminate()
    return seconds
