"""Read a file as training reads it, and describe it. Runs in a decoder process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vidlstm.config import Kind, Sampling
from vidlstm.engine.extraction.jobs import Job
from vidlstm.engine.extraction.pool import DecodePool
from vidlstm.engine.inspection.near_duplicates import SIDE, Look, look_at
from vidlstm.errors import InputError
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.media.file_types import Limits, picture_format, read_head
from vidlstm.media.frame_pairs import square
from vidlstm.media.image import load_picture
from vidlstm.media.video.open import probe
from vidlstm.records import Problem

MOMENTS = 4
"""Frames of a clip that are looked at."""
LIE_FRAMES = 2
"""A header may be wrong by so many frames without a word: every other one is."""


@dataclass(frozen=True)
class Facts:
    """What one file is.

    Args:
        codec: Four characters or a format's name; empty when unknown.
        width: As shown, in pixels; 0 when unknown.
        height: As shown, in pixels; 0 when unknown.
        seconds: Length; None when unknown or for a picture.
        claimed_frames: What the header says.
        num_frames: What there is.
        problem: Why it cannot be used, or only in part (`truncated`).
        look: As `look_at` gives it.
    """

    codec: str = ""
    width: int = 0
    height: int = 0
    seconds: float | None = None
    claimed_frames: int = 0
    num_frames: int = 0
    problem: Problem | None = None
    look: Look | None = field(default=None, repr=False, compare=False)

    @property
    def usable(self) -> bool:
        """Whether training could use it, if only in part."""
        return self.num_frames > 0

    @property
    def header_lies(self) -> bool:
        """Whether the header's number of frames is wrong by more than headers usually are."""
        return self.usable and abs(self.claimed_frames - self.num_frames) > LIE_FRAMES

    def to_json(self) -> dict[str, Any]:
        """Return what `check --json` says of a file."""
        values = {k: v for k, v in asdict(self).items() if k not in ("look", "problem")}
        return {**values, "error": None if self.problem is None else self.problem.to_json()}


def check_files(paths: Sequence[tuple[Path, Kind]], pool: DecodePool, limits: Limits) -> Iterator[Facts]:
    """Yield what each file is, in order."""

    def job(item: tuple[Path, Kind]) -> Job[Facts]:
        return Job(item[0], partial(examine, *item, limits))

    for result in pool.run(paths, job):
        if result is not None:
            facts = result[1]
            assert facts is not None
            yield Facts(problem=Problem.of(facts)) if isinstance(facts, InputError) else facts


def examine(path: Path, kind: Kind, limits: Limits) -> Facts:
    """Read one file and describe it. Runs in a decoder process.

    Raises:
        InputError: It cannot be used.
    """
    if kind == "picture":
        codec = picture_format(read_head(path, limits)) or ""
        picture = load_picture(path)
        height, width = picture.shape[:2]
        return Facts(codec, width, height, None, 1, 1, None, look_at([square(picture, SIDE, "squash")]))
    claimed = probe(path, limits)
    clip = read_clip(path, ClipSpec(Sampling(), size=SIDE), limits=limits)
    chosen = np.linspace(0, len(clip.frames) - 1, MOMENTS + 2).round().astype(int)[1:-1]
    return Facts(
        codec=claimed.codec,
        width=clip.info.width,
        height=clip.info.height,
        seconds=clip.info.seconds,
        claimed_frames=claimed.num_frames,
        num_frames=clip.info.num_frames,
        problem=clip.info.problem,
        look=look_at(clip.frames[chosen]),
    )
