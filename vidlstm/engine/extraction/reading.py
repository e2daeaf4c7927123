"""Read one file: pixels for the encoder, descriptors for the other streams.

Runs in a decoder process. Imports no torch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Grid, Kind, ModelConfig, Sampling, StreamName
from vidlstm.errors import FailureCode, InputError
from vidlstm.files import kind_of
from vidlstm.media import image
from vidlstm.media.clips import Clip, ClipSpec, PairSpec, read_clip
from vidlstm.media.descriptors import motion
from vidlstm.media.descriptors.streams import (
    SEQUENCE_DESCRIPTORS,
    SUMMARY_DESCRIPTORS,
    SequenceDescriptor,
)
from vidlstm.media.file_types import Limits, read_head
from vidlstm.media.sampling import every_second
from vidlstm.media.video.frame_array import Frames
from vidlstm.records import ClipInfo

_STORED_VIEWS = 3  # views per clip, so that each epoch can use different moments
PEOPLE_SIDE = 640
"""Longest side of the pictures for finding people, in pixels; pictures are never enlarged."""

SUMMARY_FRAMES = 8
"""Number of moments of a video that its summary streams use."""


@dataclass(frozen=True)
class ReadRequest:
    """What to read from every file. Sent to the worker processes, so it holds only plain values.

    `film_rate` is the number of moments per second of films, see `vidlstm.engine.extraction.films.extractor`.
    """

    kind: Kind
    streams: tuple[StreamName, ...]
    sampling: Sampling
    views: int
    grid: Grid
    size: int
    channels: int
    mirror: bool = False
    limits: Limits = field(default_factory=Limits)
    film_rate: float | None = None
    people: int = 0
    pose_networks: Path | None = None

    @staticmethod
    def of(
        config: ModelConfig, *, views: int, limits: Limits | None = None, pose_networks: Path | None = None
    ) -> ReadRequest:
        """Return the request for a model.

        Args:
            config: The model.
            views: Number of views per clip.
            limits: Limits of a clip.
            pose_networks: Folder of the networks of the `pose` stream.
        """
        return ReadRequest(
            config.kind,
            config.streams,
            config.sampling,
            views,
            config.grid,
            config.encoder.size,
            config.encoder.channels,
            config.mirror,
            limits or Limits(),
            config.film_rate,
            config.people,
            pose_networks,
        )

    @staticmethod
    def for_training(config: ModelConfig, pose_networks: Path | None = None) -> ReadRequest:
        """Return the request for training, which reads more moments than the head uses at once."""
        several = config.views > 1 or config.kind == "picture"
        views = config.views if several else _STORED_VIEWS
        return ReadRequest.of(config, views=views, pose_networks=pose_networks)

    @staticmethod
    def for_pixels(config: ModelConfig) -> ReadRequest:
        """Return the request for training the encoder on pixels."""
        return replace(ReadRequest.for_training(config), streams=("rgb",))


@dataclass(frozen=True)
class Reading:
    """Frames and descriptors of one file, from a worker process.

    Args:
        frames: uint8 `(M, U, S, S, C)`, the distinct moments for the encoder, plain and (M = 2)
            mirrored; None without `rgb`.
        table: int64 `(V, T)`, indices into the U of `frames`.
        sequences: By stream, float32 `(V, T, D)`; T may differ between streams.
        summaries: By stream, float32 `(D,)`.
        info: Facts about the clip.
        people_seconds: CPU seconds spent on finding people.
    """

    frames: NDArray[np.uint8] | None
    table: NDArray[np.int64]
    sequences: dict[StreamName, NDArray[np.float32]]
    summaries: dict[StreamName, NDArray[np.float32]]
    info: ClipInfo
    people_seconds: float = 0.0


def read(path: Path, request: ReadRequest) -> Reading:
    """Read one file as the request says.

    Raises:
        InputError: The file cannot be used.
    """
    try:
        return _read_picture(path, request) if request.kind == "picture" else _read_video(path, request)
    except InputError as error:
        other = kind_of(path)
        wrong = error.code in (FailureCode.NOT_A_VIDEO, FailureCode.NOT_A_PICTURE)
        if not wrong or other in (None, request.kind):
            raise
        message = f"is a {other}, but the model labels {request.kind}s"
        raise InputError(path, FailureCode.WRONG_KIND, message) from None


def read_frames(frames: Frames, request: ReadRequest) -> Reading:
    """Read frames in memory; the request must be for videos."""
    return _read_video(frames, request)


def _read_video(path: Path | Frames, request: ReadRequest) -> Reading:
    wants_summary = any(s in SUMMARY_DESCRIPTORS for s in request.streams)
    wants_frames = "rgb" in request.streams or wants_summary
    spec = ClipSpec(
        sampling=request.sampling,
        views=request.views,
        size=request.size if wants_frames else None,
        pairs=PairSpec(motion.FLOW_SECONDS, motion.FLOW_SIZE) if "motion" in request.streams else None,
        every_second=not wants_summary,
        picture_side=PEOPLE_SIDE if "pose" in request.streams else None,
    )
    clip = read_clip(path, spec, request.limits)
    people_seconds = 0.0
    if clip.pictures is not None and request.pose_networks is not None:
        # Imported here, because other streams do not need the library that runs the networks.
        from vidlstm.engine.extraction.people import find_people

        began = time.process_time()
        people = find_people(clip.pictures, request.pose_networks, request.people)
        people_seconds = time.process_time() - began
        clip = replace(clip, pictures=None, people=people)
    frames, table = clip.frames, clip.frame_table
    few = np.linspace(0, len(frames) - 1, min(SUMMARY_FRAMES, len(frames))).astype(int)
    if wants_summary:  # of all moments, not only of those that the `rgb` stream takes
        moments, table = np.unique(every_second(table), return_inverse=True)
        frames, table = frames[moments], table.reshape(len(clip.table), -1)
    return Reading(
        to_channels(frames[None], request.channels) if "rgb" in request.streams else None,
        table,
        {s: _describe(clip, d) for s, d in SEQUENCE_DESCRIPTORS.items() if s in request.streams},
        {s: d.describe(clip.frames[few]) for s, d in SUMMARY_DESCRIPTORS.items() if s in request.streams},
        clip.info,
        people_seconds,
    )


def _describe(clip: Clip, descriptor: SequenceDescriptor) -> NDArray[np.float32]:
    """Describe a clip's views, `(V, T, D)`, without the steps that have no information."""
    return without_empty(descriptor.describe(clip)[clip.table], descriptor)


def without_empty(steps: NDArray[np.float32], descriptor: SequenceDescriptor) -> NDArray[np.float32]:
    """Remove the steps of `(V, T, D)` that have no information; if none has any, keep one."""
    if descriptor.is_there is None:
        return steps
    there = np.asarray(descriptor.is_there(steps).any(0))  # a step is the same moment in all views
    there[0] |= not there.any()
    return steps[:, there]


def _read_picture(path: Path, request: ReadRequest) -> Reading:
    read_head(path, request.limits)
    picture = image.load_picture(path, image.PictureLimits(request.limits.max_pixels))
    boxes = image.region_boxes(picture.shape[0], picture.shape[1], request.grid)
    copies = [picture, np.ascontiguousarray(picture[:, ::-1])] if request.mirror else [picture]
    regions = np.stack([image.cut_regions(copy, boxes, request.size) for copy in copies])
    return Reading(
        to_channels(regions, request.channels) if "rgb" in request.streams else None,
        np.arange(regions.shape[1])[None],
        {},
        {s: d.describe(picture[None]) for s, d in SUMMARY_DESCRIPTORS.items() if s in request.streams},
        ClipInfo(num_frames=1, seconds=None, width=picture.shape[1], height=picture.shape[0]),
    )


def to_channels(frames: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Convert RGB `(..., 3)` to the encoder's number of channels."""
    if channels == 3:
        return frames
    weights = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as cv2 and PIL
    grey: NDArray[np.uint8] = np.rint(frames @ weights).astype(np.uint8)[..., None]
    return grey
