"""Part 4: training on stored features."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.speed.clips import make_clips
from tests.benchmarks.speed.labelling import NUM_CLIPS
from tests.benchmarks.speed.measure import VIDLSTM, Bar, Result, run_process

_SAMPLE_VIDEOS = Path(__file__).parents[3] / "sample_videos"
_GLANCE = 0.01
_MANY = 1000
_CLASSES = 5


def measure_training(kept: Path, real: Path | None, rounds: int) -> list[Result]:
    """Time training and cross-validation on the real clips, if given, and the start of training on many."""
    return [*measure_small(real, rounds), measure_many(kept, rounds)]


def measure_small(real: Path | None, rounds: int) -> list[Result]:
    """Time a first `train`, repeated runs and a cross-validation."""
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


def measure_many(kept: Path, rounds: int) -> Result:
    """Time the first epoch on many generated clips, so many that importing torch hardly matters."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        write_many(make_clips(kept, NUM_CLIPS), data)
        env = {"VIDLSTM_CACHE_DIR": f"{temporary}/cache"}
        run = Path(temporary) / "run"
        first = time_to_first_epoch(data, run, env)
        again = sorted(time_to_first_epoch(data, run, env) for _ in range(rounds))[rounds // 2]
    rows: list[tuple[str | float, ...]] = [("the first time", first), ("the same again", again)]
    bar = Bar("the first epoch of a repeated train comes so many times sooner", first / again, 20, True)
    return Result(f"Training on {_MANY} clips, up to the first epoch", ("", "seconds"), rows, [bar])


def write_many(clips: Sequence[Path], data: Path, count: int = _MANY) -> None:
    """Write the clips repeatedly into class folders, each file with a different box at its end."""
    for number in range(count):
        clip = clips[number % len(clips)]
        content = number.to_bytes(4, "big")
        box = b"JUNK\4\0\0\0" + content if clip.suffix == ".avi" else b"\0\0\0\x0cfree" + content
        path = data / f"class{number % _CLASSES}" / f"{number:04}{clip.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clip.read_bytes() + box)


def time_to_first_epoch(data: Path, run: Path, env: dict[str, str]) -> float:
    """Return the seconds from the start of `train` until its first epoch is written."""
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
