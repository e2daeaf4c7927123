"""Read one clip: the planned moments, resized, in time order, in a single decode.

`read_clip` plans the moments from the number of packets and their times, reads them, and then knows the
true number of frames. If it differs, the clip is planned and read again, so that the moments depend on the
frames alone, and any other program can choose the same ones. Of UT-Interaction's 120 clips, 3 are read
twice. Frames are resized one at a time, so a long film is never held in memory.

A clip that ends early or is damaged is not an error: the frames that can be decoded are used. It is
reported as truncated if more than a quarter of its frames are lost, or more than a tenth and more than two
seconds; below that, a note gives the number. Frames are lost if the file announces them but does not
contain them, or they cannot be decoded. A wrong count in the header does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Sampling
from vidlstm.errors import FailureCode, InputError
from vidlstm.media.file_types import Limits
from vidlstm.media.frame_pairs import PairSpec, read_moments
from vidlstm.media.sampling import every_second, known_fps, plan, plan_at
from vidlstm.media.video.base import Image, Video
from vidlstm.media.video.frame_array import FrameArray, Frames
from vidlstm.media.video.frame_folder import FrameFolder
from vidlstm.media.video.open import ATTEMPTS, DoubtError, open_video
from vidlstm.records import ClipInfo, Problem

__all__ = ["Clip", "ClipSpec", "Limits", "PairSpec", "read_clip"]

_READINGS = 3  # by packets, by counted frames, and once more in case the file changes meanwhile
_NO_LIMITS = Limits()


@dataclass(frozen=True)
class ClipSpec:
    """What to read from a clip.

    Args:
        sampling: Which moments to read.
        views: Number of views.
        size: Side of the square frames, in pixels; None: no square frames.
        pairs: Frame pairs to read at every moment; None: no pairs.
        every_second: Read square frames only at every second moment of each view.
        picture_side: Longest side of the whole pictures read at every moment, in pixels; None: no pictures.
    """

    sampling: Sampling
    views: int = 1
    size: int | None = 224
    pairs: PairSpec | None = None
    every_second: bool = False
    picture_side: int | None = None


@dataclass(frozen=True)
class Clip:
    """The U distinct moments read from a clip, in time order.

    Args:
        frames: Square frames of F of the moments, uint8 RGB `(F, S, S, 3)`; `(F, 0, 0, 3)` without frames.
        frame_table: Frames of each view, int64 `(V, T')`: indices into the F frames. Equals `table` unless
            only every second moment has a frame.
        times: Time of each moment since the first frame, in seconds, float64 `(U,)`.
        table: Moments of each view, int64 `(V, T)`: indices into the U moments.
        pairs: Frame pairs, uint8 grey `(U, 2, h, w)`: each moment's frame and a neighbour, in time order.
        pair_seconds: Time from the first to the second frame of each pair, float64 `(U,)`; 0 if a clip of
            one frame is paired with itself.
        info: Facts about the clip.
        pictures: Whole pictures, uint8 RGB `(U, H, W, 3)`; None without pictures.
        people: Key points, float32 `(U, N, 13, 3)`, see `vidlstm.media.descriptors.pose`; None until people
            have been detected.
    """

    frames: Image
    frame_table: NDArray[np.int64]
    times: NDArray[np.float64]
    table: NDArray[np.int64]
    pairs: Image | None
    pair_seconds: NDArray[np.float64] | None
    info: ClipInfo
    pictures: Image | None = None
    people: NDArray[np.float32] | None = None


def read_clip(path: Path | Frames, spec: ClipSpec, limits: Limits = _NO_LIMITS) -> Clip:
    """Read the moments that `spec` asks for.

    Args:
        path: A video file, a folder of numbered pictures, or frames in memory.
        spec: What to read.
        limits: Limits of the clip.

    Raises:
        InputError: The clip cannot be used; the code gives the reason.
    """
    for attempt in ATTEMPTS[:-1]:
        try:
            return _read(path, spec, limits, *attempt)
        except DoubtError:
            continue
    return _read(path, spec, limits, *ATTEMPTS[-1])


def _read(
    path: Path | Frames, spec: ClipSpec, limits: Limits, selective: bool, num_threads: int | None
) -> Clip:
    counted: int | None = None
    times: NDArray[np.float64] | None = None
    for _ in range(_READINGS):
        # Once frames are counted, packet numbers may differ from frame numbers, so do not seek.
        how = {"selective": selective, "seek": counted is None}
        with _open(path, limits, **how, num_threads=num_threads) as video:
            assumed = counted or video.expected
            if counted is not None:
                video.times = times
            if not assumed:
                counted, times = _measure(video)
                continue
            chosen = _choose(video, assumed, spec)
            pictured = every_second(chosen) if spec.every_second else chosen
            looked_at = pictured if spec.pairs is None and spec.picture_side is None else chosen
            moments, table = np.unique(looked_at, return_inverse=True)
            shown, frame_table = np.unique(pictured, return_inverse=True)
            read = read_moments(
                video, moments, np.isin(moments, shown), spec.size, spec.pairs, assumed, spec.picture_side
            )
            if video.jumped:  # not all frames were read, so the packet count stands
                counted = assumed
            else:  # reading the rest costs about 3 % more
                counted, times = _measure(video)
            if read is not None and _plan_stands(video, counted, assumed, chosen, spec):
                return Clip(
                    frames=read.frames,
                    frame_table=frame_table.reshape(pictured.shape).astype(np.int64),
                    times=read.times,
                    table=table.reshape(looked_at.shape).astype(np.int64),
                    pairs=read.pairs,
                    pair_seconds=read.pair_seconds,
                    info=clip_info(video, counted),
                    pictures=read.pictures,
                )
    raise InputError(video.path, FailureCode.READ_ERROR, "changes while it is being read")


def _open(
    path: Path | Frames, limits: Limits, *, seek: bool, selective: bool, num_threads: int | None
) -> Video:
    if isinstance(path, Frames):
        return FrameArray(path)
    return open_video(Path(path), limits, seek=seek, selective=selective, num_threads=num_threads)


def _choose(video: Video, num_frames: int, spec: ClipSpec) -> NDArray[np.int64]:
    """Return the frames of each view, `(V, T)`."""
    times, fps = video.times, video.info.fps
    if times is None or len(times) != num_frames:
        return plan(num_frames, fps, spec.sampling, spec.views)
    return plan_at(times, fps, spec.sampling, spec.views)


def _plan_stands(video: Video, counted: int, assumed: int, chosen: NDArray[np.int64], spec: ClipSpec) -> bool:
    """Tell whether the moments chosen for an assumed number of frames also hold for the counted number.

    In a folder, a damaged picture is noticed only if it is read, so the count may change with every reading.
    There it is enough that every moment is still in its segment.
    """
    if not isinstance(video, FrameFolder):
        return counted == assumed
    steps = plan(counted, video.info.fps, spec.sampling).shape[1]
    return bool(steps == chosen.shape[1] and abs(counted - assumed) < assumed / steps / 2)


def _measure(video: Video) -> tuple[int, NDArray[np.float64] | None]:
    """Return the true number of frames, and their times."""
    num_frames = video.read_to_end()
    return num_frames, np.array(video.met) if len(video.met) == num_frames else video.times


def clip_info(video: Video, num_frames: int) -> ClipInfo:
    """Return the facts about a video that has been read to its end, or up to frame `num_frames`."""
    loss = _loss(video, num_frames)
    serious = loss if isinstance(loss, Problem) else None
    return ClipInfo(
        num_frames=num_frames,
        seconds=video.end_seconds,
        width=video.info.width,
        height=video.info.height,
        problem=serious,
        notes=(*video.notes, loss) if isinstance(loss, str) else video.notes,
    )


def _loss(video: Video, num_frames: int) -> Problem | str | None:
    """Describe the lost frames: as a problem if there are many, else as a note; None if there are none."""
    lost = video.num_lost
    if not lost:
        return None
    if isinstance(video, FrameFolder):
        message = f"{lost} of {video.num_pictures} pictures cannot be read"
        return Problem(FailureCode.TRUNCATED, message)
    whole = max(num_frames, video.expected) + video.num_missing
    message = f"{lost} of {whole} frames are missing or damaged"
    if video.num_missing and lost - video.num_missing <= 1:  # the cut may go through a frame
        message = f"the file is cut short: it has {num_frames} of {whole} frames"
    is_serious = lost > whole / 4 or (lost > whole / 10 and lost > 2 * known_fps(video.info.fps))
    return Problem(FailureCode.TRUNCATED, message) if is_serious else message
