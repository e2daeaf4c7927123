"""Extract the features of films at the moments of a grid; each moment is decoded and encoded once.

A film passes through a decoder process as a stream, and its features are yielded as they are ready. For
training, all of them are kept, and also stored under the film and the rate of its grid: the film is read only
once, even if its labelled spans change.

The `rgb` stream takes every second moment, as in clips. For the `pose` stream the people's key points are
stored, and described when a part is cut out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import StreamName
from vidlstm.data.annotations.spans import Film
from vidlstm.engine.extraction.extractor import Extracted
from vidlstm.engine.extraction.films.reading import PIXELS, RGB_EVERY, FilmPart, require_film_streams
from vidlstm.engine.extraction.reading import PEOPLE_SIDE, ReadRequest, without_empty
from vidlstm.engine.extraction.source import Source
from vidlstm.errors import InputError
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.features.store import FeatureStore, StreamFeatures, clip_identity, entry_key
from vidlstm.media.descriptors import motion, pose
from vidlstm.media.descriptors.streams import SEQUENCE_DESCRIPTORS
from vidlstm.media.people.packing import unpack
from vidlstm.media.sampling import every_second, known_fps, plan
from vidlstm.media.video.open import probe
from vidlstm.records import ClipInfo, Problem

_READING_VERSION = 1  # incremented when the same request gives different pixels


class FilmExtractor:
    """Extracts the features of films for one model.

    Args:
        request: Streams and sizes; its sampling is ignored.
        source: Computes the features of films.
        store: The feature store; None: features are not stored.
        rate: Moments per second.

    Raises:
        UsageError: The model needs summary streams, which are not defined for a whole film.
    """

    def __init__(self, request: ReadRequest, source: Source, store: FeatureStore | None, rate: float) -> None:
        require_film_streams(request.streams, has_encoder=source.digest != PIXELS)
        self.request = request
        self.source = source
        self.store = store
        self.rate = rate
        self._recipes = {stream: self._recipe(stream) for stream in request.streams} if store else {}

    def stream(self, paths: Iterable[Path]) -> Iterator[Iterator[FilmPart]]:
        """Yield the parts of each film, in order, as they are ready; see `Source.films`."""
        return self.source.films(paths, self.rate)

    def extract(self, paths: Iterable[Path]) -> Iterator[Extracted]:
        """Yield one result per film, in order: features of one view, `(M, 1, N, D)`, of all N moments."""
        waiting: list[tuple[Path, dict[StreamName, str], ClipFeatures | None, ClipInfo | None]] = []
        for path in paths:
            waiting.append(self._look_up(path))
        missing = iter(self.stream([path for path, _, kept, _ in waiting if kept is None]))
        for path, keys, kept, info in waiting:
            if kept is not None and info is not None:
                yield Extracted(path, kept, info, info.problem)
                continue
            yield self._whole(path, keys, next(missing))

    def _look_up(
        self, path: Path
    ) -> tuple[Path, dict[StreamName, str], ClipFeatures | None, ClipInfo | None]:
        """Return a film's features from the store if all streams are there, otherwise none."""
        if self.store is None:
            return path, {}, None, None
        try:
            identity = clip_identity(path)
        except (OSError, InputError):  # reported when the file is read
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
        """Return everything that a stream's features depend on, except the film."""
        request = self.request
        recipe: dict[str, Any] = {
            "stream": stream,
            "film": _READING_VERSION,
            "rate": self.rate,
            "limits": asdict(request.limits),
            "mirror": request.mirror,
        }
        if stream == "pose":
            networks = None if request.pose_networks is None else request.pose_networks.name
            del recipe["mirror"]
            return {**recipe, "people": request.people, "networks": networks, "side": PEOPLE_SIDE}
        if stream in SEQUENCE_DESCRIPTORS:
            pair = [motion.FLOW_SECONDS, motion.FLOW_SIZE]
            return {**recipe, "version": SEQUENCE_DESCRIPTORS[stream].version, "pair": pair}
        weights = self.source.digest
        return {**recipe, "size": request.size, "channels": request.channels, "weights": weights}


def probe_film(path: Path) -> Film:
    """Return a film's length and frame rate from its header.

    Raises:
        InputError: The film cannot be opened.
    """
    info = probe(path)
    return Film(path, info.seconds, known_fps(info.fps))


def num_moments(film: ClipFeatures) -> int:
    """Return the number of moments of a film's features `(M, 1, N, D)`; with `rgb` alone, an even number."""
    return min(int(v.shape[2]) * (RGB_EVERY if s == "rgb" else 1) for s, v in film.sequences.items())


def cut(film: ClipFeatures, rate: float, start: float, end: float, request: ReadRequest) -> ClipFeatures:
    """Return the features of a part of a film, in the form of a clip's features.

    Args:
        film: Features of the whole film, one view.
        rate: Moments per second.
        start: Start of the part, in seconds.
        end: End of the part, in seconds.
        request: Sampling and number of views.
    """
    length = num_moments(film)
    first = min(max(0, round(start * rate)), length - 1)
    last = min(max(first + 1, round(end * rate)), length)
    return gather(film, first, last, rate, request)


def gather(film: ClipFeatures, first: int, last: int, rate: float, request: ReadRequest) -> ClipFeatures:
    """Like `cut`, for the moments `first` to `last - 1`."""
    table = first + plan(last - first, rate, request.sampling, request.views)
    sequences: dict[str, Values] = {}
    for stream, values in film.sequences.items():
        if stream == "pose":
            sequences[stream] = _pose_at(values[0, 0], table, rate, request)
        elif stream == "rgb":
            moments = np.minimum(every_second(table) // RGB_EVERY, values.shape[2] - 1)
            sequences[stream] = values[:, 0][:, moments]
        else:
            sequences[stream] = values[:, 0][:, table]
    return ClipFeatures(sequences, {})


def _pose_at(
    people: Values, table: NDArray[np.int64], rate: float, request: ReadRequest
) -> NDArray[np.float16]:
    """Describe the people of a part of a film.

    Args:
        people: Packed people of every moment of the film, `(N, D)`.
        table: Moments of each view, `(V, T)`.
        rate: Moments per second.
        request: Number of people, and whether the mirrored part is wanted, too.

    Returns:
        As for a clip, `(M, V, T', D')`, without the moments at which nobody is seen.
    """
    moments, inverse = np.unique(table, return_inverse=True)
    placed = pose.slots(unpack(people[moments]), len(moments), request.people)
    steps = pose.describe(placed, moments / rate)[inverse.reshape(table.shape)]
    steps = without_empty(steps, SEQUENCE_DESCRIPTORS["pose"])
    copies = [steps, pose.mirror(steps)] if request.mirror else [steps]
    return np.stack(copies).astype(np.float16)
