"""Part 6: the same commands on a GPU and on the CPU of its machine, and how long the GPU waits for files."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.speed.clips import make_clips
from tests.benchmarks.speed.labelling import NUM_CLIPS
from tests.benchmarks.speed.measure import VIDLSTM, Cost, Result, median, run_process
from tests.benchmarks.speed.training import write_many

_EXTRACTED = 400  # clips
_TIMES = 5  # how often each clip is labelled in the longer run
_FINE_TUNED = 200  # clips
_GLANCE = 50  # milliseconds
STREAMS = ("rgb+motion", "rgb")
WAYS: dict[str, tuple[str, ...]] = {
    "GPU, float32": ("--device", "cuda"),
    "GPU, bfloat16": ("--device", "cuda", "--precision", "bfloat16"),
    "CPU": ("--device", "cpu"),
}


def measure_gpu(kept: Path, rounds: int) -> Iterator[Result]:
    """Time extraction, training, fine-tuning and labelling."""
    import torch

    if not torch.cuda.is_available():
        yield Result("GPU", (), [], notes=["not measured: torch finds no GPU"])
        return
    name = torch.cuda.get_device_name()
    clips = make_clips(kept, NUM_CLIPS)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_many(clips, work / "data", _EXTRACTED)
        write_many(clips, work / "few", _FINE_TUNED)
        table, models = _train(work / "data", work)
        yield Result(f"Extraction of {_EXTRACTED} clips, and training on them; {name}", *table)
        yield Result(f"Labelling, files to rows; {name}", *_label(models, clips, rounds))
        fine_tuning = _tune(work / "few", work)
        yield Result(f"Fine-tuning the whole encoder on {_FINE_TUNED} clips; {name}", *fine_tuning)


Table = tuple[tuple[str, ...], list[tuple[str | float, ...]]]


def _train(data: Path, work: Path) -> tuple[Table, dict[str, Path]]:
    """Train in each way without cached features; return the table, and a model for each choice of streams."""
    rows: list[tuple[str | float, ...]] = []
    models = {}
    for streams in STREAMS:
        for way, options in WAYS.items():
            run = work / f"{streams} {way}"
            command: list[str | Path] = [*VIDLSTM, "train", data, "--streams", streams, *options]
            with busy() as samples:
                said = _run(*command, "--epochs", "3", "-o", run)
            seconds = [line["seconds"] for line in _epochs(run)]
            rows.append(
                (
                    f"{streams}, {way}",
                    _EXTRACTED / said["seconds"]["extract"],
                    statistics.median(seconds),
                    _share(samples, options),
                )
            )
            models[streams] = run / "model.safetensors"
    return (("", "clips/s extracted", "seconds/epoch", "GPU busy, %"), rows), models


def _label(models: dict[str, Path], clips: Sequence[Path], rounds: int) -> Table:
    """Label few and many clips, start-up included; the first ones are decoded while torch starts."""
    rows: list[tuple[str | float, ...]] = []
    many = list(clips) * _TIMES
    for streams, model in models.items():
        for way, options in WAYS.items():
            command: list[str | Path] = [*VIDLSTM, "predict", "-", "-c", model, "-q", *options]
            costs: dict[int, list[Cost]] = {len(clips): [], len(many): []}
            if "cpu" in options:  # OpenVINO converts a model once
                run_process(command, stdin=f"{clips[0]}\n")
            for _ in range(rounds):
                for some in (clips, many):
                    with busy() as samples:
                        ended = run_process(command, stdin="".join(f"{clip}\n" for clip in some))
                    costs[len(some)].append(ended.cost)
            first, second = (median(found) for found in costs.values())
            rows.append((f"{streams}, {way}", first.wall, second.wall, second.cpu, _share(samples, options)))
    columns = (
        "",
        f"seconds, {len(clips)} clips",
        f"seconds, {len(many)}",
        f"CPU seconds, {len(many)}",
        "GPU busy, %",
    )
    return columns, rows


def _tune(data: Path, work: Path) -> Table:
    """Fine-tune in each way; on a GPU the first epoch, which includes start-up, does not count."""
    rows: list[tuple[str | float, ...]] = []
    for way, options in WAYS.items():
        run = work / f"fine {way}"
        gpu = "cuda" in options
        precision = () if "--precision" in options else ("--precision", "float32")
        command = [*VIDLSTM, "train", data, "--streams", "rgb", "--unfreeze", "all", *options, *precision]
        with busy() as samples:
            said = _run(*command, "--epochs", "4" if gpu else "1", "-o", run)
        seconds = statistics.median(line["seconds"] for line in _epochs(run)[gpu:])
        clips = said["num_clips"]["train"]
        rows.append((way, seconds, clips / seconds, _share(samples, options)))
    return ("", "seconds/epoch", "clips/s, trained on or validated", "GPU busy, %"), rows


def _run(*train: str | Path) -> dict[str, Any]:
    """Train without cached features; return the output of the command."""
    said: dict[str, Any] = json.loads(run_process([*train, "--no-cache", "--json", "--quiet"]).out)
    return said


def _epochs(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@contextlib.contextmanager
def busy() -> Iterator[list[int]]:
    """Sample the utilisation of the GPU, in percent, until the end of the block."""
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    samples: list[int] = []
    with subprocess.Popen([*command, "-lms", str(_GLANCE)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield samples
        finally:
            process.terminate()
            assert process.stdout is not None
            samples += [int(line) for line in process.stdout.read().split() if line.isdecimal()]


def _share(samples: Sequence[int], options: Sequence[str]) -> str | float:
    """Return the mean utilisation from the first to the last busy sample, if a GPU was requested."""
    places = [place for place, value in enumerate(samples) if value]
    if not places or "cuda" not in options:
        return "-"
    return statistics.mean(samples[places[0] : places[-1] + 1])
