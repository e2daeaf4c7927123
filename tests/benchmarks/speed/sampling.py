"""Part 1: read sixteen frames of a file at the encoder's size."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tests.benchmarks.speed.clips import H264, HD, LONG, MPEG4, make_clip
from tests.benchmarks.speed.measure import Bar, Cost, Result, alternate
from tests.benchmarks.speed.readers import (
    CONTENDERS,
    SIZE,
    Contender,
    Pictures,
    ReaderProcess,
    ffmpeg_for_torchcodec,
)
from vidlstm.config import Sampling
from vidlstm.media.resize import square
from vidlstm.media.sampling import plan
from vidlstm.media.video.open import open_video

NUM_FRAMES = 16
_REAL_CLIPS = 12
_TOLERANCE = 10.0  # mean grey levels between two ways to resize the same frame
SHORT = ("7 s 320x240 MPEG-4", "10 s 340x256 H.264", "10 s 1280x720 H.264")


def compare_sampling(kept: Path, real: Path | None, rounds: int) -> Result:
    """Time every reader on every kind of file."""
    cases: dict[str, Sequence[Path]] = {
        SHORT[0]: [make_clip(kept, MPEG4)],
        SHORT[1]: [make_clip(kept, H264)],
        SHORT[2]: [make_clip(kept, HD)],
        "5 min 1280x720 H.264": [make_clip(kept, LONG)],
    }
    if real is not None:
        files = sorted(p for p in real.rglob("*") if p.suffix.lower() in (".avi", ".mp4", ".mkv", ".mov"))
        chosen = files[:: max(1, len(files) // _REAL_CLIPS)][:_REAL_CLIPS]
        cases[f"{len(chosen)} clips of {real.name}"] = chosen
    with ffmpeg_for_torchcodec() as env, contextlib.ExitStack() as stack:
        os.environ.update(env)
        readers = []
        for contender in CONTENDERS:
            readers.append(ReaderProcess(contender))
            stack.callback(readers[-1].close)
        found: dict[str, dict[Contender, Cost]] = {}
        notes: list[str] = []
        for name, paths in cases.items():
            found[name] = _compare(paths, readers, rounds, notes, name)
    return summarise({name: best_of(costs) for name, costs in found.items()}, notes)


def _compare(
    paths: Sequence[Path], readers: Sequence[ReaderProcess], rounds: int, notes: list[str], case: str
) -> dict[Contender, Cost]:
    """Return the medians of the readers that give the right frames."""
    moments = {path: _moments(path) for path in paths}
    right = {path: _frames(path, moments[path]) for path in paths}
    works = {}
    for reader in readers:
        name = f"{reader.contender.library} ({reader.contender.way})"
        try:
            wrong = [p for p in paths if not same_frames(reader.read(p, moments[p])[1], right[p])]
        except RuntimeError as error:
            notes.append(f"{case}: {name} not measured: {error}")
            continue
        if wrong:
            notes.append(f"{case}: {name} not measured: other frames of {len(wrong)} of {len(paths)} files")
            continue
        works[name] = reader

    def run(reader: ReaderProcess) -> Cost:
        costs = [reader.read(path, moments[path])[0] for path in paths]
        return Cost(sum(c.wall for c in costs), sum(c.cpu for c in costs))

    costs = alternate({name: partial(run, reader) for name, reader in works.items()}, rounds)
    return {works[name].contender: cost for name, cost in costs.items()}


def _moments(path: Path) -> tuple[int, ...]:
    with open_video(path, seek=False) as video:
        fps, num_frames = video.info.fps, video.read_to_end()
    return tuple(plan(num_frames, fps, Sampling("uniform", NUM_FRAMES))[0].tolist())


def _frames(path: Path, moments: Sequence[int]) -> Pictures:
    """Return the frames from a full decode, each with the next frame: `(T, 2, S, S, 3)`."""
    wanted = sorted({index for moment in moments for index in (moment, moment + 1)})
    with open_video(path, seek=False) as video:
        found = {f.index: square(f.image, SIZE) for f in video.read(wanted)}
    return np.stack([np.stack([found[m], found.get(m + 1, found[m])]) for m in moments])


def same_frames(pictures: Pictures, right: Pictures) -> bool:
    """Tell whether pictures `(T, S, S, 3)` show the first and not the second of each pair in `right`."""
    if len(pictures) != len(right):
        return False
    off = np.abs(pictures[:, None].astype(np.int16) - right).mean(axis=(2, 3, 4))
    return bool((off[:, 0] <= _TOLERANCE).all() and (off[:, 0] <= off[:, 1] + 0.5).all())


def best_of(costs: Mapping[Contender, Cost]) -> dict[str, Cost]:
    """Return the fastest way of every library."""
    best: dict[str, Cost] = {}
    for contender, cost in costs.items():
        if contender.library not in best or cost.wall < best[contender.library].wall:
            best[contender.library] = cost
    return best


def summarise(found: Mapping[str, Mapping[str, Cost]], notes: Sequence[str]) -> Result:
    """Return the table: milliseconds of each library, and our speed-up over the fastest peer."""
    libraries = tuple(dict.fromkeys(c.library for c in CONTENDERS))
    rows: list[tuple[str | float, ...]] = []
    bars = []
    for case, best in found.items():
        ours = best["vidlstm"].wall if "vidlstm" in best else float("nan")
        peer = min((cost.wall for name, cost in best.items() if name != "vidlstm"), default=float("nan"))
        cells = [f"{best[name].wall * 1e3:.1f}" if name in best else "-" for name in libraries]
        rows.append((case, *cells, peer / ours))
        bars.append(Bar(f"{case}: our time over the fastest peer's", ours / peer, 1.05, at_least=False))
    short = [found[case] for case in SHORT if "vidlstm" in found.get(case, {})]
    if short:
        peers = set.intersection(*(set(best) for best in short)) - {"vidlstm"}
        together = {name: sum(best[name].wall for best in short) for name in (*peers, "vidlstm")}
        fastest = min(together[name] for name in peers)
        bars.append(
            Bar(
                "the three short files together: times faster than the fastest peer",
                fastest / together["vidlstm"],
                1.3,
                at_least=True,
            )
        )
    columns = ("16 frames, milliseconds", *libraries, "fastest peer / ours")
    return Result("Sampling", columns, rows, bars, notes)
