"""Compute the features of files with the decoder processes and the encoder of this machine.

Extraction on a Ray cluster is another source (`vidlstm.engine.extraction.cluster`). A source does not store
features; that is the extractor's task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import StreamName
from vidlstm.engine.extraction.fetching import Fetcher, Local
from vidlstm.engine.extraction.films.reading import PIXELS, FilmEncoder, FilmPart, film_readings
from vidlstm.engine.extraction.processes.jobs import Job, Parts
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import Reading, ReadRequest, read, read_frames
from vidlstm.errors import InputError
from vidlstm.features.store import StreamFeatures
from vidlstm.media.descriptors.streams import SEQUENCE_DESCRIPTORS
from vidlstm.media.video.frame_array import Frames
from vidlstm.models.backends.protocol import FrameEncoder

_READY_FRAMES = 64  # frames of several clips, encoded together

Made: TypeAlias = Mapping[StreamName, StreamFeatures] | InputError
"""The result for a clip: features by stream, or why there are none."""


@dataclass(frozen=True)
class Order:
    """A clip and the streams to compute.

    Args:
        path: The file.
        streams: The streams to compute; if empty, the file is not read.
    """

    path: Path
    streams: tuple[StreamName, ...]


class Source(Protocol):
    """Computes the features of files."""

    digest: str
    """Digest of everything that the `rgb` stream depends on, except the pictures."""

    def clips(self, orders: Iterable[Order]) -> Iterator[list[Made]]:
        """Yield the result for each clip, in order, in lists of results that are ready at the same time.

        Args:
            orders: Consumed in another thread, a small window ahead; may block.
        """

    def films(self, paths: Iterable[Path], rate: float) -> Iterator[Iterator[FilmPart]]:
        """Yield the parts of each film, in order, as they are ready.

        All parts of a film must be consumed before the next film. If the film cannot be read, or only up to
        some point, its parts end with an `InputError`.

        Args:
            paths: Paths of the films.
            rate: Moments per second.
        """


class LocalSource:
    """Computes features on this machine; decodes and encodes in parallel, with batches across clips.

    Args:
        request: Streams, sampling and sizes.
        encoder: Encoder of the `rgb` stream; None: the stream stays pixels, for training an encoder.
        pool: Decoder processes that read the files.
    """

    def __init__(self, request: ReadRequest, encoder: FrameEncoder | None, pool: DecodePool) -> None:
        self.digest = PIXELS if encoder is None else encoder.digest
        self._people_seconds, self._num_searched = 0.0, 0
        self._request = request
        self._encoder = encoder
        self._fetcher = Fetcher(request.limits.max_bytes)
        self.pool = pool

    @property
    def people_seconds(self) -> float | None:
        """CPU seconds per clip spent on finding people so far; None if no clip was searched."""
        return self._people_seconds / self._num_searched if self._num_searched else None

    def clips(self, orders: Iterable[Order]) -> Iterator[list[Made]]:
        """Yield the result for each clip, in order, in lists of results that are ready at the same time."""
        waiting: list[Reading | InputError | None] = []
        frames = 0
        for result in self.pool.run(self._fetcher.ahead(orders, _wanted), self._job):
            if result is not None:
                local, reading = result
                self._fetcher.release(local)
                if isinstance(local.path, InputError):
                    reading = local.path
                waiting.append(reading)
                if isinstance(reading, Reading) and reading.frames is not None:
                    frames += reading.frames.shape[0] * reading.frames.shape[1]
            # Encode a full batch, or whatever is ready while the decoders are slower.
            if waiting and (result is None or frames >= _READY_FRAMES or frames == 0):
                yield list(self._finish(waiting))
                waiting, frames = [], 0
        yield list(self._finish(waiting))

    def frames(self, frames: Frames) -> Made:
        """Return the features of frames in memory; they are read in this process."""
        return next(self._finish([read_frames(frames, self._request)]))

    def films(
        self, paths: Iterable[Path], rate: float, most: int | None = None
    ) -> Iterator[Iterator[FilmPart]]:
        """Yield the parts of each film, in order, as they are ready; `most` as for `film_readings`."""

        def job(local: Local[Path]) -> Job[Any] | None:
            if isinstance(local.path, InputError):
                return None
            work = partial(film_readings, local.path, self._request, rate, most)
            return Job(local.path, work, in_parts=True)

        encode = FilmEncoder(self._request, self._encoder)
        for result in self.pool.run(self._fetcher.ahead(paths, Path), job):
            if result is not None:
                local, readings = result
                yield map(encode, readings) if isinstance(readings, Parts) else _failing(local)
                self._fetcher.release(local)

    def _job(self, local: Local[Order]) -> Job[Reading] | None:
        streams = local.item.streams
        if not streams or isinstance(local.path, InputError):
            return None
        return Job(local.path, partial(read, local.path, replace(self._request, streams=streams)))

    def _finish(self, waiting: Sequence[Reading | InputError | None]) -> Iterator[Made]:
        """Encode the frames of several clips together and put each clip's features together."""
        encoded = iter(
            self._encode([r.frames for r in waiting if isinstance(r, Reading) and r.frames is not None])
        )
        for reading in waiting:
            if reading is None:
                yield {}
            elif isinstance(reading, InputError):
                yield reading
            else:
                has_frames = reading.frames is not None and self._encoder is not None
                yield self._assemble(reading, next(encoded) if has_frames else None)

    def _encode(self, clips: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.float16]]:
        """Encode `(M, U, S, S, C)` of each clip to `(M, U, D)`, in batches across clips.

        An encoder that reads a picture as R rows gives `(M, U, R, D)`.
        """
        if not clips or self._encoder is None:
            return
        features = self._encoder(np.concatenate([clip.reshape(-1, *clip.shape[2:]) for clip in clips]))
        start = 0
        for clip in clips:
            count = clip.shape[0] * clip.shape[1]
            yield features[start : start + count].reshape(*clip.shape[:2], *features.shape[1:])
            start += count

    def _assemble(
        self, reading: Reading, rgb: NDArray[np.float16] | None
    ) -> dict[StreamName, StreamFeatures]:
        """Return the features by view, from those of the distinct moments."""
        made: dict[StreamName, StreamFeatures] = {}
        if reading.frames is not None and rgb is None:
            made["rgb"] = StreamFeatures(reading.frames[:, reading.table], reading.info)
        if rgb is not None:
            steps = rgb[:, reading.table]
            made["rgb"] = StreamFeatures(steps.reshape(*steps.shape[:2], -1, steps.shape[-1]), reading.info)
        if "pose" in reading.sequences:
            self._people_seconds += reading.people_seconds
            self._num_searched += 1
        for stream, values in reading.sequences.items():
            mirror = self._request.mirror
            copies = [values, SEQUENCE_DESCRIPTORS[stream].mirror(values)] if mirror else [values]
            made[stream] = StreamFeatures(np.stack(copies).astype(np.float16), reading.info)
        for stream, row in reading.summaries.items():
            made[stream] = StreamFeatures(row[None].astype(np.float16), reading.info)
        return made


def _wanted(order: Order) -> Path:
    """Return the file that an order needs; an empty path if all its streams are stored."""
    return order.path if order.streams else Path()


def _failing(local: Local[Path]) -> Iterator[FilmPart]:
    if isinstance(local.path, InputError):
        raise local.path
    yield from ()
