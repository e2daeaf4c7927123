"""Labelling compared with the plain script, in under two minutes: has something become slow?

The script reads with OpenCV, so that nothing else needs to be installed. CPU seconds are compared, which vary
less than wall time on a busy machine. Imports are included, and matter because the clips are few.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.benchmarks.speed.clips import make_clips
from tests.benchmarks.speed.labelling import (
    FLOAT32,
    OPENVINO,
    TORCH,
    Command,
    Scores,
    agreement,
    label,
    predict,
    script,
    trained_model,
)
from tests.benchmarks.speed.measure import Bar, Result, alternate
from vidlstm.models.backends.int8 import is_default
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.header import read_header

_NUM_CLIPS = 10
_ROUNDS = 2
_SCRIPT = "script with OpenCV"
_LEAST = {TORCH: 2.5, FLOAT32: 3.0, OPENVINO: 4.0}
"""Minimum ratio of the script's CPU time to ours: about half of the values on an AMD EPYC with AVX-512."""


def check_quick(kept: Path) -> Result:
    """Compare CPU times and scores with those of the script."""
    model, clips = trained_model(kept), make_clips(kept, _NUM_CLIPS)
    commands: dict[str, Command] = {
        _SCRIPT: script(model, "opencv"),
        TORCH: predict(model, "--backend", "torch"),
    }
    if is_installed():
        commands[FLOAT32] = predict(model, "--backend", "openvino", "--precision", "float32")
        if is_default(read_header(model).training.get("int8", {})):
            commands[OPENVINO] = predict(model)
    scores: dict[str, Scores] = {}
    ways = {name: partial(label, scores, name, command, {}) for name, command in commands.items()}
    for way in ways.values():
        way(clips[:1])  # converts and caches the networks
    costs = alternate({name: partial(way, clips) for name, way in ways.items()}, _ROUNDS)
    rows, bars = [], []
    for name, cost in costs.items():
        times = costs[_SCRIPT].cpu / cost.cpu
        share, largest = agreement(scores[name], scores[_SCRIPT])
        rows.append((name, cost.wall, cost.cpu, times, f"{share:.0%}", f"{largest:.4f}"))
        if name in _LEAST:
            bars.append(Bar(f"{name}: times less CPU time than the script", times, _LEAST[name], True))
            bars.append(Bar(f"{name}: share of equal labels", share, 0.95, True))
    columns = ("seconds", "CPU seconds", "times less CPU", "same labels", "scores off by")
    return Result("Quick check", (f"{len(clips)} clips, files to rows", *columns), rows, bars)
