"""Read a film or live stream at the moments of a grid, and compute its features.

Imports no torch, as reading runs in decoder processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import SUMMARY_STREAMS, StreamName
from vidlstm.engine.extraction.reading import PEOPLE_SIDE, ReadRequest, to_channels
from vidlstm.errors import UsageError
from vidlstm.features.batches import Values
from vidlstm.media.clips import Clip
from vidlstm.media.descriptors import motion
from vidlstm.media.descriptors.streams import SEQUENCE_DESCRIPTORS
from vidlstm.media.films import FilmSpec, read_film
from vidlstm.media.frame_pairs import PairSpec
from vidlstm.models.backends.protocol import FrameEncoder
from vidlstm.records import ClipInfo

if TYPE_CHECKING:
    from vidlstm.engine.extraction.people import FilmPeople

PIXELS = "pixels"
"""Digest if there is no encoder: the `rgb` stream is then pixels, for training the encoder."""
RGB_EVERY = 2
"""Distance between the moments of the `rgb` stream, in moments of the grid."""


@dataclass(frozen=True)
class FilmReading:
    """Frames and descriptors of a few consecutive moments, from a decoder process.

    Args:
        num_moments: U.
        frames: uint8 `(F, S, S, C)`, of every second moment; None without `rgb`.
        sequences: By stream, float32 `(U, D)`; `pose` as packed people, see `vidlstm.media.people.packing`.
        info: Facts about the film so far.
    """

    num_moments: int
    frames: NDArray[np.uint8] | None
    sequences: dict[StreamName, NDArray[np.float32]]
    info: ClipInfo


@dataclass(frozen=True)
class FilmPart:
    """The features of a few consecutive moments.

    Args:
        num_moments: U.
        sequences: By stream, float16 `(M, n, D)`: plain and mirrored; n is U, or U / 2 for `rgb`. Without an
            encoder `rgb` is uint8 `(1, n, S, S, C)`. `pose` is packed people, `(1, U, D)`.
        info: Facts about the film so far; in the last part, about the whole film.
    """

    num_moments: int
    sequences: dict[StreamName, Values]
    info: ClipInfo


def require_film_streams(streams: Sequence[StreamName], *, has_encoder: bool) -> None:
    """Check that a model's streams can be computed for films.

    Args:
        streams: The streams of the model.
        has_encoder: Whether frames are encoded by a frozen encoder; otherwise they stay pixels.

    Raises:
        UsageError: The model needs summary streams, which are not defined for a whole film, or trains its
            encoder on pixels.
    """
    for stream in streams:
        if stream in SUMMARY_STREAMS:
            raise UsageError(
                f"`streams`: {stream} describes a whole clip and cannot be used for films; leave it out"
            )
    if "rgb" in streams and not has_encoder:
        raise UsageError(
            "the encoder can be trained on clips, not on films; leave out `unfreeze` and `encoder=simple`"
        )


class FilmEncoder:
    """Computes the features of a film or live stream for one model.

    Args:
        request: Streams and sizes; its sampling is ignored.
        encoder: Encoder of the `rgb` stream; None: the stream stays pixels.

    Raises:
        UsageError: The model needs summary streams, which are not defined for a whole film.
    """

    def __init__(self, request: ReadRequest, encoder: FrameEncoder | None) -> None:
        require_film_streams(request.streams, has_encoder=True)
        self._request = request
        self._encoder = encoder
        self._width = 0

    def __call__(self, reading: FilmReading) -> FilmPart:
        """Return the features of a few moments."""
        made: dict[StreamName, Values] = {}
        for stream, values in reading.sequences.items():
            mirrors = self._request.mirror and stream != "pose"
            mirrored = [SEQUENCE_DESCRIPTORS[stream].mirror(values)] if mirrors else []
            made[stream] = np.stack([values, *mirrored]).astype(np.float16)
        if reading.frames is not None:
            if self._encoder is None:
                made["rgb"] = reading.frames[None]
            elif len(reading.frames):
                made["rgb"] = self._encoder(reading.frames)[None]
            else:
                made["rgb"] = np.zeros((1, 0, self._width), np.float16)
            self._width = made["rgb"].shape[-1]
        return FilmPart(reading.num_moments, made, reading.info)


def film_readings(
    path: Path, request: ReadRequest, rate: float, most: int | None = None
) -> Iterator[FilmReading]:
    """Read a film at the moments of its grid. Runs in a decoder process.

    Args:
        path: Path of the film.
        request: Streams and sizes; its sampling is ignored.
        rate: Moments per second.
        most: Stop after the part that has this moment; None: read the whole film.

    Raises:
        InputError: The film cannot be read, or not beyond this point.
    """
    describe = FilmDescriber(request)
    done = 0
    for clip in read_film(path, film_spec(request, rate), request.limits):
        yield describe(clip)
        done += len(clip.times)
        if most is not None and done >= most:
            return


def film_spec(request: ReadRequest, rate: float) -> FilmSpec:
    """Return which frames of a film the streams of a request need."""
    return FilmSpec(
        rate,
        size=request.size if "rgb" in request.streams else None,
        pairs=PairSpec(motion.FLOW_SECONDS, motion.FLOW_SIZE) if "motion" in request.streams else None,
        every=RGB_EVERY,
        picture_side=PEOPLE_SIDE if "pose" in request.streams else None,
    )


class FilmDescriber:
    """Describes consecutive moments of one film or live stream.

    Args:
        request: Streams and sizes; its sampling is ignored.
    """

    def __init__(self, request: ReadRequest) -> None:
        self._request = request
        self._people: FilmPeople | None = None
        if "pose" in request.streams and request.pose_networks is not None:
            # Imported here, because other streams do not need the library that runs the networks.
            from vidlstm.engine.extraction.people import FilmPeople

            self._people = FilmPeople(request.pose_networks, request.people)

    def __call__(self, clip: Clip) -> FilmReading:
        """Return frames for the encoder and descriptors for the other streams, for the next moments."""
        streams = self._request.streams
        frames = to_channels(clip.frames, self._request.channels) if "rgb" in streams else None
        described: dict[StreamName, NDArray[np.float32]] = {
            s: d.describe(clip) for s, d in SEQUENCE_DESCRIPTORS.items() if s in streams and s != "pose"
        }
        if self._people is not None and clip.pictures is not None:
            described["pose"] = self._people.find(clip.pictures)
        return FilmReading(len(clip.times), frames, described, clip.info)
