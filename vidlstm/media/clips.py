"""One clip: the moments that were planned, small, in time order, from a single decode.

`read_clip` plans on the number of packets (or on the header's claim), reads, and then knows the
truth. A number that was off by less than half a segment has moved no moment out of its segment
and stands; otherwise the clip is planned and read once more. Frames are reduced one at a time, so
that a long film is never held in memory.

A clip that ends early is not an error: the frames that came are used. It is called truncated when
more than two frames are missing and, by time, more than a quarter of the clip, or more than a
tenth and two seconds; below that a header is merely inexact, as headers are (edit lists, dropped
frames, a sound track that goes on).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Sampling
from vidlstm.errors import FailureCode, InputError
from vidlstm.media.file_types import Limits
from vidlstm.media.frame_pairs import Fit, PairSpec, gather
from vidlstm.media.sampling import DEFAULT_FPS, every_second, plan, random_plan
from vidlstm.media.video.base import Image, Video
from vidlstm.media.video.frame_folder import FrameFolder
from vidlstm.media.video.h264_reader import DoubtError
from vidlstm.media.video.open import open_video
from vidlstm.records import ClipInfo, Problem

__all__ = ["Clip", "ClipSpec", "Limits", "PairSpec", "read_clip"]

_READINGS = 3  # by the claim, by the truth, and once more for a file that changes meanwhile
_NO_LIMITS = Limits()


@dataclass(frozen=True)
class ClipSpec:
    """What of a clip is wanted.

    Args:
        sampling: Which moments.
        views: Rows of moments.
        size: Side of the square frames, in pixels; None when no frames are wanted.
        fit: `squash` brings the whole frame to the square, `crop` takes the central square.
        pairs: Pairs of neighbouring frames wanted beside them, of every moment.
        every_second: Frames are wanted of every second moment of each view only.
    """

    sampling: Sampling
    views: int = 1
    size: int | None = 224
    fit: Fit = "squash"
    pairs: PairSpec | None = None
    every_second: bool = False


@dataclass(frozen=True)
class Clip:
    """What was read of a clip: U distinct moments in time order.

    Args:
        frames: `(F, S, S, 3)` uint8 RGB, of F of the moments; `(F, 0, 0, 3)` when none were wanted.
        frame_table: `(V, T')` int64: the F frames of each view. The same as `table`, unless frames of
            every second moment were wanted.
        times: When each is shown, `(U,)` float64, in seconds from the first frame.
        table: `(V, T)` int64: row v is view v, its values number the U moments.
        pairs: `(U, 2, h, w)` uint8 grey: the frame of each moment and its neighbour, in time order.
        pair_seconds: `(U,)` float64: from the first to the second of each pair; 0 when a clip of
            one frame is paired with itself.
        info: What reading told of the clip.
    """

    frames: Image
    frame_table: NDArray[np.int64]
    times: NDArray[np.float64]
    table: NDArray[np.int64]
    pairs: Image | None
    pair_seconds: NDArray[np.float64] | None
    info: ClipInfo


def read_clip(
    path: Path, spec: ClipSpec, rng: np.random.Generator | None = None, limits: Limits = _NO_LIMITS
) -> Clip:
    """Read the moments that `spec` asks for.

    Args:
        path: A video file, or a folder of numbered pictures.
        spec: What is wanted.
        rng: Take moments at random places, in one view, for training from pixels.
        limits: What the clip may cost.

    Raises:
        InputError: The clip cannot be used, with the reason's code.
    """
    try:
        return _read(Path(path), spec, rng, limits, selective=True)
    except DoubtError:
        return _read(Path(path), spec, rng, limits, selective=False)


def _read(
    path: Path, spec: ClipSpec, rng: np.random.Generator | None, limits: Limits, *, selective: bool
) -> Clip:
    known: int | None = None
    for _ in range(_READINGS):
        with open_video(path, limits, selective=selective) as video:
            believed = known or video.expected
            if not believed:
                known = video.read_to_end()
                continue
            fps = video.info.fps
            if rng is None:
                chosen = plan(believed, fps, spec.sampling, spec.views)
            else:
                chosen = random_plan(believed, fps, spec.sampling, rng)
            pictured = every_second(chosen) if spec.every_second else chosen
            looked_at = pictured if spec.pairs is None else chosen
            moments, table = np.unique(looked_at, return_inverse=True)
            shown, frame_table = np.unique(pictured, return_inverse=True)
            slack = believed / chosen.shape[1] / 2
            gathered = gather(
                video, moments, np.isin(moments, shown), spec.size, spec.fit, spec.pairs,
                at_least=math.floor(believed - slack),
            )  # fmt: skip
            # With seeks the packets are the truth; in order, the rest costs about 3 % more.
            known = believed if video.jumped else video.read_to_end()
            same_length = plan(known, fps, spec.sampling).shape[1] == chosen.shape[1]
            if gathered is not None and same_length and (known == believed or abs(known - believed) < slack):
                return Clip(
                    frames=gathered.frames,
                    frame_table=frame_table.reshape(pictured.shape).astype(np.int64),
                    times=gathered.times,
                    table=table.reshape(looked_at.shape).astype(np.int64),
                    pairs=gathered.pairs,
                    pair_seconds=gathered.pair_seconds,
                    info=clip_info(video, known),
                )
    raise InputError(path, FailureCode.READ_ERROR, "changes while it is read")


def clip_info(video: Video, num_frames: int) -> ClipInfo:
    """Return what reading a video to its end, or to frame `num_frames`, told of it."""
    return ClipInfo(
        num_frames=num_frames,
        seconds=video.end_seconds,
        width=video.info.width,
        height=video.info.height,
        problem=_problem(video, num_frames),
    )


def _problem(video: Video, num_frames: int) -> Problem | None:
    if isinstance(video, FrameFolder):
        if not video.num_unreadable:
            return None
        message = f"{video.num_unreadable} of {video.num_pictures} pictures cannot be read"
        return Problem(FailureCode.TRUNCATED, message)
    claimed = video.info.num_frames
    if claimed - num_frames <= 2:
        return None
    # By time: the count of a variable frame rate is a guess, its length is not.
    whole = video.info.seconds or claimed / DEFAULT_FPS
    end = video.end_seconds if video.info.seconds else num_frames / DEFAULT_FPS
    lost = whole - end
    if lost > whole / 4 or (lost > whole / 10 and lost > 2):
        return Problem(FailureCode.TRUNCATED, f"decoding stopped at frame {num_frames} of {claimed}")
    return None
