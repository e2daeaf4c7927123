"""Part 5: start-up time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.speed.clips import MPEG4, make_clip
from tests.benchmarks.speed.labelling import trained_model
from tests.benchmarks.speed.measure import VIDLSTM, Bar, Cost, Result, alternate, run_process

_BARE = """
import sys, time
import vidlstm
with vidlstm.load(sys.argv[1], workers=1) as model:
    [*model.predict(sys.argv[2])]
    started = time.perf_counter()
    [*model.predict(sys.argv[2])]
    print(time.perf_counter() - started)
"""


def _cost_of(command: Sequence[str | Path]) -> Cost:
    return run_process(command).cost


def measure_startup(kept: Path, rounds: int) -> list[Result]:
    """Time commands with almost no work, compared with the imports that they need."""
    model, clip = trained_model(kept), make_clip(kept, MPEG4)
    commands: dict[str, list[str | Path]] = {
        "import typer, rich": [sys.executable, "-c", "import typer, rich"],
        "vidlstm --help": [*VIDLSTM, "--help"],
        "import torch, torchvision": [sys.executable, "-c", "import torch, torchvision"],
        "predict, one clip": [*VIDLSTM, "predict", clip, "-c", model],
    }
    costs = alternate({name: partial(_cost_of, command) for name, command in commands.items()}, rounds)
    work = sorted(float(run_process([sys.executable, "-c", _BARE, model, clip]).out) for _ in range(3))[1]
    rows: list[tuple[str | float, ...]] = [(name, cost.wall, cost.cpu) for name, cost in costs.items()]
    rows.append(("labelling that clip with a loaded model", work, work))
    first = costs["vidlstm --help"].wall / costs["import typer, rich"].wall
    second = costs["predict, one clip"].wall / (costs["import torch, torchvision"].wall + work)
    bars = [
        Bar("--help over importing typer and rich", first, 1.5, at_least=False),
        Bar(
            "predict of one clip over importing torch, torchvision and the bare work",
            second,
            1.3,
            at_least=False,
        ),
    ]
    return [Result("Start-up", ("", "seconds", "CPU seconds"), rows, bars)]
