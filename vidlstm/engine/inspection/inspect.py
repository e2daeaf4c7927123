"""Read files as training does, in decoder processes, and describe each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vidlstm.config import Kind, Sampling
from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.inspection.near_duplicates import SIDE, Signature, signature
from vidlstm.errors import InputError
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.media.file_types import Limits, picture_format, read_head
from vidlstm.media.image import load_picture
from vidlstm.media.resize import square
from vidlstm.media.video.open import probe
from vidlstm.records import Problem

SIGNATURE_FRAMES = 4
"""Number of frames in a video's signature."""
HEADER_TOLERANCE = 2
"""Error of a header's frame count that is not reported: many are off by one or two."""


@dataclass(frozen=True)
class Facts:
    """Facts found by reading one file.

    Args:
        codec: Four characters or the name of a format; empty if unknown.
        width: Width as displayed, in pixels; 0 if unknown.
        height: Height as displayed, in pixels; 0 if unknown.
        seconds: Length; None if unknown and for a picture.
        claimed_frames: Number of frames by the header; 0 if it has none.
        num_frames: Number of frames that were read.
        problem: Why the file cannot be used, or only partly (`truncated`).
        signature: Signature for finding near duplicates; None if it has none.
    """

    codec: str = ""
    width: int = 0
    height: int = 0
    seconds: float | None = None
    claimed_frames: int = 0
    num_frames: int = 0
    problem: Problem | None = None
    signature: Signature | None = field(default=None, repr=False, compare=False)

    @property
    def usable(self) -> bool:
        """Whether training can use the file, at least partly."""
        return self.num_frames > 0

    @property
    def has_wrong_header(self) -> bool:
        """Whether the header's number of frames is wrong by more than the usual one or two."""
        claims = self.usable and self.claimed_frames > 0
        return claims and abs(self.claimed_frames - self.num_frames) > HEADER_TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """Return the fields of `check --json`."""
        values = {k: v for k, v in asdict(self).items() if k not in ("signature", "problem")}
        return {**values, "error": None if self.problem is None else self.problem.to_json()}


def inspect_files(paths: Sequence[tuple[Path, Kind]], pool: DecodePool, limits: Limits) -> Iterator[Facts]:
    """Yield the facts about each file, in order."""

    def job(item: tuple[Path, Kind]) -> Job[Facts]:
        return Job(item[0], partial(inspect_file, *item, limits))

    for result in pool.run(paths, job):
        if result is not None:
            facts = result[1]
            assert facts is not None
            yield Facts(problem=Problem.of(facts)) if isinstance(facts, InputError) else facts


def inspect_file(path: Path, kind: Kind, limits: Limits) -> Facts:
    """Read one file. Runs in a decoder process.

    Raises:
        InputError: The file cannot be used.
    """
    if kind == "picture":
        codec = picture_format(read_head(path, limits)) or ""
        picture = load_picture(path)
        height, width = picture.shape[:2]
        return Facts(codec, width, height, None, 1, 1, None, signature([square(picture, SIDE)]))
    claimed = probe(path, limits)
    clip = read_clip(path, ClipSpec(Sampling(), size=SIDE), limits=limits)
    chosen = np.linspace(0, len(clip.frames) - 1, SIGNATURE_FRAMES + 2).round().astype(int)[1:-1]
    return Facts(
        codec=claimed.codec,
        width=clip.info.width,
        height=clip.info.height,
        seconds=clip.info.seconds,
        claimed_frames=claimed.num_frames,
        num_frames=clip.info.num_frames,
        problem=clip.info.problem,
        signature=signature(clip.frames[chosen]),
    )
