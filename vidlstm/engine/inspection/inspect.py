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
from vidlstm.engine.extraction.reading import PEOPLE_SIDE
from vidlstm.engine.inspection.near_duplicates import SIDE, Signature, signature
from vidlstm.errors import InputError
from vidlstm.media.clips import Clip, ClipSpec, read_clip
from vidlstm.media.file_types import Limits, picture_format, read_head
from vidlstm.media.image import load_picture
from vidlstm.media.resize import square
from vidlstm.media.video.open import probe
from vidlstm.records import Problem

SIGNATURE_FRAMES = 4
"""Number of frames in a video's signature."""
PEOPLE_CLIPS = 50
"""Maximum number of videos searched for people: takes seconds, and tells whether most clips show any."""
PEOPLE_FRAMES = 4
"""Number of frames of a video that are searched for people."""
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
        people: Number of people in at least half of `PEOPLE_FRAMES` frames; None if not searched for people.
    """

    codec: str = ""
    width: int = 0
    height: int = 0
    seconds: float | None = None
    claimed_frames: int = 0
    num_frames: int = 0
    problem: Problem | None = None
    signature: Signature | None = field(default=None, repr=False, compare=False)
    people: int | None = None

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


def inspect_files(
    paths: Sequence[tuple[Path, Kind]], pool: DecodePool, limits: Limits, networks: Path | None = None
) -> Iterator[Facts]:
    """Yield the facts about each file, in order.

    Args:
        paths: The files, and the kind to read each as.
        pool: Processes that read them.
        limits: Limits of a clip.
        networks: Folder of the networks that find people, in `PEOPLE_CLIPS` videos spread over the list;
            None: do not look for people.
    """
    videos = [number for number, (_, kind) in enumerate(paths) if kind == "video"]
    places = np.linspace(0, len(videos) - 1, min(PEOPLE_CLIPS, len(videos))).round().astype(int)
    looked_at = {videos[place] for place in places} if networks is not None else set()

    def job(numbered: tuple[int, tuple[Path, Kind]]) -> Job[Facts]:
        number, item = numbered
        return Job(item[0], partial(inspect_file, *item, limits, networks if number in looked_at else None))

    for result in pool.run(list(enumerate(paths)), job):
        if result is not None:
            facts = result[1]
            assert facts is not None
            yield Facts(problem=Problem.of(facts)) if isinstance(facts, InputError) else facts


def inspect_file(path: Path, kind: Kind, limits: Limits, networks: Path | None = None) -> Facts:
    """Read one file. Runs in a decoder process.

    Args:
        path: The file.
        kind: The kind to read it as.
        limits: Limits of a clip.
        networks: Folder of the networks that find people; None: do not look for people.

    Raises:
        InputError: The file cannot be used.
    """
    if kind == "picture":
        codec = picture_format(read_head(path, limits)) or ""
        picture = load_picture(path)
        height, width = picture.shape[:2]
        return Facts(codec, width, height, None, 1, 1, None, signature([square(picture, SIDE)]))
    claimed = probe(path, limits)
    side = None if networks is None else PEOPLE_SIDE
    clip = read_clip(path, ClipSpec(Sampling(), size=SIDE, picture_side=side), limits=limits)
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
        people=None if networks is None else _count_people(clip, networks),
    )


def _count_people(clip: Clip, networks: Path) -> int:
    # Imported here, because nothing else needs the library that runs the networks.
    from vidlstm.engine.extraction.people import count_people

    assert clip.pictures is not None
    chosen = np.linspace(0, len(clip.pictures) - 1, PEOPLE_FRAMES + 2).round().astype(int)[1:-1]
    return int(np.sort(count_people(clip.pictures[chosen], networks))[PEOPLE_FRAMES // 2])
