"""`spans` on long films, compared with real time and with reading the grid only; memory by length; `watch`.

    python -m tests.benchmarks.speed.films MODEL FILM

reads and encodes the moments of a film's grid as `spans` does, without scoring windows.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.speed.clips import HD, make_clip
from tests.benchmarks.speed.growth import label
from tests.benchmarks.speed.measure import VIDLSTM, Bar, Cost, Result, alternate, run_process

_SAMPLE_FILMS = Path(__file__).parents[3] / "sample_videos" / "films"
_SECONDS = 600
_WATCHED = 25
_LENGTHS = {"1 min": 60, "10 min": 600, "2 h": 7200}


def film_model(kept: Path) -> Path:
    """Return a model trained on the sample films by the first run."""
    run = kept / "film-model"
    if not (run / "model.safetensors").exists():
        run_process([*VIDLSTM, "train", _SAMPLE_FILMS, "--quiet", "--overwrite", "-o", run])
    return run / "model.safetensors"


def measure_films(kept: Path, rounds: int, model: Path | None = None) -> list[Result]:
    """Time `spans` on ten minutes of 720p and `watch` on a film, and measure memory for up to two hours.

    Args:
        kept: Folder of films and models.
        rounds: Number of repetitions of each timing.
        model: Finds the spans; by default a model trained on the sample films.
    """
    model = model or film_model(kept)
    film = make_clip(kept, HD.lasting(_SECONDS))

    def run(*command: str | Path) -> Cost:
        return run_process(command).cost

    costs = alternate(
        {
            "spans": lambda: run(*VIDLSTM, "spans", film, "-c", model, "--quiet"),
            "reading the grid": lambda: run(sys.executable, "-m", f"{__package__}.films", model, film),
        },
        rounds,
    )
    spans, grid = costs["spans"], costs["reading the grid"]
    speed = Result(
        "Ten minutes of 720p",
        ("what", "seconds", "CPU seconds", "times real time"),
        [(name, cost.wall, cost.cpu, _SECONDS / cost.wall) for name, cost in costs.items()],
        [
            Bar("spans, times real time", _SECONDS / spans.wall, 6.0, True),
            Bar("spans over reading the grid, in CPU seconds", spans.cpu / grid.cpu, 1.3, False),
        ],
    )
    watched = run(
        *VIDLSTM, "watch", make_clip(kept, HD.lasting(_WATCHED)), "--realtime", "-c", model, "--quiet"
    )
    live = Result(
        f"watch, {_WATCHED} s of 720p at its speed",
        ("what", "seconds", "CPU seconds", "cores used"),
        [("watch", watched.wall, watched.cpu, watched.cpu / watched.wall)],
        [Bar("watch, cores used", watched.cpu / watched.wall, 1.0, False)],
    )
    rows = [(name, *label(model, [make_clip(kept, HD.lasting(s))], "spans")) for name, s in _LENGTHS.items()]
    megabytes = {name: size for name, _, size in rows}
    bar = Bar("memory of 2 h over that of 10 min", megabytes["2 h"] / megabytes["10 min"], 1.05, False)
    memory = Result("Memory over length", ("720p", "seconds", "peak MB, all processes"), rows, [bar])
    return [speed, live, memory]


def read_grid(model: Path, film: Path) -> None:
    """Read and encode the moments of a film's grid."""
    from vidlstm.engine.extraction.processes.pool import DecodePool
    from vidlstm.engine.prediction.films import make_film_extractor
    from vidlstm.engine.prediction.labeller import load_labeller

    with DecodePool(1, at_once=True) as pool:  # as `spans` reads a single film
        extractor = make_film_extractor(load_labeller(model), pool)
        for parts in extractor.stream([film]):
            for _ in parts:
                pass


if __name__ == "__main__":
    read_grid(*map(Path, sys.argv[1:]))
