"""Films to features: the moments of one grid, each decoded, encoded and its flow computed once.

A film goes through a decoder process as a stream, and its features come as they are ready. For training
all of them are kept, in the feature store too, under the film and the rate of its grid: whatever spans are
labelled in it, and however they change, it is read once.

The `rgb` stream takes every second moment, as it does in clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import SUMMARY_STREAMS, StreamName
from vidlstm.data.annotations.spans import Film
from vidlstm.engine.extraction.extractor import Extracted
from vidlstm.engine.extraction.jobs import Job, Parts
from vidlstm.engine.extraction.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest, to_channels
from vidlstm.errors import InputError, UsageError
from vidlstm.features.batches import ClipFeatures
from vidlstm.features.store import FeatureStore, StreamFeatures, clip_identity, entry_key
from vidlstm.media.clips import Clip
from vidlstm.media.descriptors import motion
from vidlstm.media.descriptors.streams import SEQUENCE_DESCRIPTORS
from vidlstm.media.films import FilmSpec, read_film
from vidlstm.media.frame_pairs import PairSpec
from vidlstm.media.sampling import every_second, known_fps, plan
from vidlstm.media.video.open import probe
from vidlstm.models.backends.protocol import FrameEncoder
from vidlstm.records import ClipInfo, Problem

RGB_EVERY = 2
"""Moments of the grid for each that the `rgb` stream takes."""
_READING_VERSION = 1  # goes up when the same request gives other pixels


@dataclass(frozen=True)
class FilmReading:
    """What a worker made of a few moments that follow each other.

    Args:
        num_moments: U.
        frames: uint8 `(F, S, S, C)`, of every second moment; None when `rgb` is off.
        sequences: By stream, float32 `(U, D)`.
        info: What is known of the film so far.
    """

    num_moments: int
    frames: NDArray[np.uint8] | None
    sequences: dict[StreamName, NDArray[np.float32]]
    info: ClipInfo


@dataclass(frozen=True)
class FilmPart:
    """The features of a few moments that follow each other.

    Args:
        num_moments: U.
        sequences: By stream, float16 `(M, n, D)`: plain and mirrored; n is U, and U / 2 for `rgb`.
        info: What is known of the film so far; of the last part, of the whole film.
    """

    num_moments: int
    sequences: dict[StreamName, NDArray[np.float16]]
    info: ClipInfo


class FilmEncoder:
    """Makes features of what was read of a film, or of a live stream, for one model.

    Args:
        request: Streams and sizes; its sampling is not looked at.
        encoder: For the `rgb` stream.

    Raises:
        UsageError: The model reads summary streams, which a film as a whole does not have, or people.
    """

    def __init__(self, request: ReadRequest, encoder: FrameEncoder | None) -> None:
        for stream in request.streams:
            if stream in SUMMARY_STREAMS:
                raise UsageError(f"`streams`: {stream} describes whole clips; films are read without it")
            if stream == "pose":
                raise UsageError("`streams`: pose follows people through clips; films are read without it")
        if "rgb" in request.streams and encoder is None:
            raise UsageError(
                "unfreeze: an encoder is trained on clips, not on spans of films; leave it frozen"
            )
        self._request = request
        self._encoder = encoder
        self._width = 0

    def __call__(self, reading: FilmReading) -> FilmPart:
        """Return the features of a few moments."""
        made: dict[StreamName, NDArray[np.float16]] = {}
        for stream, values in reading.sequences.items():
            mirrored = [SEQUENCE_DESCRIPTORS[stream].mirror(values)] if self._request.mirror else []
            made[stream] = np.stack([values, *mirrored]).astype(np.float16)
        if reading.frames is not None and self._encoder is not None:
            if len(reading.frames):
                made["rgb"] = self._encoder(reading.frames)[None]
            else:
                made["rgb"] = np.zeros((1, 0, self._width), np.float16)
            self._width = made["rgb"].shape[-1]
        return FilmPart(reading.num_moments, made, reading.info)


class FilmExtractor:
    """Makes the features of films for one model.

    Args:
        request: Streams and sizes; its sampling is not looked at.
        encoder: For the `rgb` stream.
        store: Where features are kept; None keeps none.
        pool: Who reads the films.
        rate: Moments a second.

    Raises:
        UsageError: The model reads summary streams, which a film as a whole does not have, or people.
    """

    def __init__(
        self,
        request: ReadRequest,
        encoder: FrameEncoder | None,
        store: FeatureStore | None,
        pool: DecodePool,
        rate: float,
    ) -> None:
        self.request = request
        self.store = store
        self.pool = pool
        self.rate = rate
        self._encode = FilmEncoder(request, encoder)
        self._weights = None if encoder is None else encoder.digest
        self._recipes = {stream: self._recipe(stream) for stream in request.streams} if store else {}

    def stream(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Iterator[FilmPart]]]:
        """Yield each film with its parts, in order, as they are ready.

        A film's parts must be taken before the next film is. They end with an `InputError` where the film
        cannot be used, or from there on.
        """

        def job(path: Path) -> Job[Any]:
            return Job(path, partial(film_readings, path, self.request, self.rate), in_parts=True)

        for result in self.pool.run(paths, job):
            if result is not None:
                path, readings = result
                assert isinstance(readings, Parts)
                yield path, map(self._encode, readings)

    def extract(self, paths: Iterable[Path]) -> Iterator[Extracted]:
        """Yield one result a film, in order: features of one view, `(M, 1, N, D)`, of all its N moments."""
        waiting: list[tuple[Path, dict[StreamName, str], ClipFeatures | None, ClipInfo | None]] = []
        for path in paths:
            waiting.append(self._look_up(path))
        missing = iter(self.stream([path for path, _, kept, _ in waiting if kept is None]))
        for path, keys, kept, info in waiting:
            if kept is not None and info is not None:
                yield Extracted(path, kept, info, info.problem)
                continue
            _, parts = next(missing)
            yield self._whole(path, keys, parts)

    def _look_up(
        self, path: Path
    ) -> tuple[Path, dict[StreamName, str], ClipFeatures | None, ClipInfo | None]:
        """Return what the store holds of a film: all of it, or nothing."""
        if self.store is None:
            return path, {}, None, None
        try:
            identity = clip_identity(path)
        except OSError:  # reading it will say why
            return path, {}, None, None
        keys = {stream: entry_key(identity, recipe) for stream, recipe in self._recipes.items()}
        found = {stream: self.store.get(key) for stream, key in keys.items()}
        entries = {stream: entry for stream, entry in found.items() if entry is not None}
        if len(entries) < len(keys):
            return path, keys, None, None
        info = next(iter(entries.values())).info
        return path, keys, ClipFeatures({s: e.values for s, e in entries.items()}, {}), info

    def _whole(self, path: Path, keys: dict[StreamName, str], parts: Iterator[FilmPart]) -> Extracted:
        taken: list[FilmPart] = []
        try:
            taken += parts
        except InputError as error:
            return Extracted(path, None, None, Problem.of(error))
        info = taken[-1].info
        sequences: dict[StreamName, NDArray[np.float16]] = {
            stream: np.concatenate([part.sequences[stream] for part in taken], axis=1)[:, None]
            for stream in self.request.streams
        }
        if self.store is not None:
            for stream, key in keys.items():
                self.store.put(key, StreamFeatures(sequences[stream], info))
        return Extracted(
            path, ClipFeatures({str(s): v for s, v in sequences.items()}, {}), info, info.problem
        )

    def _recipe(self, stream: StreamName) -> dict[str, Any]:
        """Return everything that a stream's features depend on, beside the film."""
        request = self.request
        recipe: dict[str, Any] = {
            "stream": stream,
            "film": _READING_VERSION,
            "rate": self.rate,
            "limits": asdict(request.limits),
            "mirror": request.mirror,
        }
        if stream in SEQUENCE_DESCRIPTORS:
            pair = [motion.FLOW_SECONDS, motion.FLOW_SIZE]
            return {**recipe, "version": SEQUENCE_DESCRIPTORS[stream].version, "pair": pair}
        return {**recipe, "size": request.size, "channels": request.channels, "weights": self._weights}


def probe_film(path: Path) -> Film | None:
    """Return a film's length and frame rate by its header; None where it cannot be opened."""
    try:
        info = probe(path)
    except InputError:
        return None
    return Film(path, info.seconds, known_fps(info.fps))


def film_readings(path: Path, request: ReadRequest, rate: float) -> Iterator[FilmReading]:
    """Read a film at the moments of its grid. Runs in a decoder process.

    Raises:
        InputError: It cannot be used, or not from here on.
    """
    for clip in read_film(path, film_spec(request, rate), request.limits):
        yield reading_of(clip, request)


def film_spec(request: ReadRequest, rate: float) -> FilmSpec:
    """Return what of a film's frames feeds the streams of a request."""
    return FilmSpec(
        rate,
        size=request.size if "rgb" in request.streams else None,
        pairs=PairSpec(motion.FLOW_SECONDS, motion.FLOW_SIZE) if "motion" in request.streams else None,
        every=RGB_EVERY,
    )


def reading_of(clip: Clip, request: ReadRequest) -> FilmReading:
    """Return what the encoder and the other streams need of a few moments."""
    frames = to_channels(clip.frames, request.channels) if "rgb" in request.streams else None
    described = {s: d.describe(clip) for s, d in SEQUENCE_DESCRIPTORS.items() if s in request.streams}
    return FilmReading(len(clip.times), frames, described, clip.info)


def num_moments(film: ClipFeatures) -> int:
    """Return the number of moments of a film's features `(M, 1, N, D)`; by `rgb` alone, to the next even."""
    return min(int(v.shape[2]) * (RGB_EVERY if s == "rgb" else 1) for s, v in film.sequences.items())


def cut(film: ClipFeatures, rate: float, start: float, end: float, request: ReadRequest) -> ClipFeatures:
    """Return the features of a part of a film as a clip's, by the moments of the grid.

    Args:
        film: All of it, one view.
        rate: Moments a second.
        start: Of the part, in seconds.
        end: Of the part.
        request: How many steps and views.
    """
    length = num_moments(film)
    first = min(max(0, round(start * rate)), length - 1)
    last = min(max(first + 1, round(end * rate)), length)
    return gather(film, first, last, rate, request)


def gather(film: ClipFeatures, first: int, last: int, rate: float, request: ReadRequest) -> ClipFeatures:
    """As `cut`, for the moments from `first` to before `last`."""
    table = first + plan(last - first, rate, request.sampling, request.views)
    tables = dict.fromkeys(film.sequences, table)
    if "rgb" in film.sequences:
        limit = film.sequences["rgb"].shape[2] - 1
        tables["rgb"] = np.minimum(every_second(table) // RGB_EVERY, limit)
    return ClipFeatures({s: film.sequences[s][:, 0][:, tables[s]] for s in film.sequences}, {})
