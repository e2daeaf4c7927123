"""Extract the features of files: from the feature store if possible, otherwise from a source.

`Extractor.extract` takes paths and yields one result for each, in order: its features, or why there are none.
Streams in the feature store are not decoded or encoded again; only missing streams of a clip are computed.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidlstm.config import SUMMARY_STREAMS, StreamName
from vidlstm.engine.extraction.reading import PEOPLE_SIDE, ReadRequest
from vidlstm.engine.extraction.source import LocalSource, Made, Order, Source
from vidlstm.errors import InputError
from vidlstm.features.batches import ClipFeatures
from vidlstm.features.store import FeatureStore, StreamFeatures, entry_key, identities
from vidlstm.media.descriptors import motion
from vidlstm.media.descriptors.streams import SEQUENCE_DESCRIPTORS, SUMMARY_DESCRIPTORS
from vidlstm.media.video.frame_array import NAME, Frames
from vidlstm.records import ClipInfo, Problem

_READING_VERSION = 2  # incremented when the same request gives different pixels


@dataclass(frozen=True)
class Extracted:
    """The result for one input: features, or a problem.

    Args:
        path: The input.
        features: None if the input cannot be used.
        info: Facts about the clip; None if the input cannot be used.
        problem: Why it cannot be used; or `truncated`, with the features of the readable part.
    """

    path: Path
    features: ClipFeatures | None
    info: ClipInfo | None
    problem: Problem | None


@dataclass(frozen=True)
class _Item:
    path: Path
    keys: dict[StreamName, str]  # empty without a store
    kept: dict[StreamName, StreamFeatures]  # from the store


class Extractor:
    """Extracts the features of files for one model.

    Args:
        request: Streams, sampling and sizes.
        source: Computes the features of files.
        store: The feature store; None: features are not stored.
    """

    def __init__(self, request: ReadRequest, source: Source, store: FeatureStore | None) -> None:
        self.request = request
        self.source = source
        self.store = store
        self._recipes = {stream: self._recipe(stream, source.digest) for stream in request.streams}

    def extract(self, paths: Iterable[Path]) -> Iterator[Extracted]:
        """Yield one result per path, in order, as soon as it is ready."""
        return itertools.chain.from_iterable(self.extract_together(paths))

    def extract_frames(self, frames: Frames) -> Extracted:
        """Return the features of frames in memory; only a local source supports this."""
        assert isinstance(self.source, LocalSource)
        return self._complete(_Item(NAME, {}, {}), self.source.frames(frames))

    def extract_together(self, paths: Iterable[Path]) -> Iterator[list[Extracted]]:
        """Yield one result per path, in order, in lists of results that are ready at the same time."""
        items: deque[_Item] = deque()

        def orders() -> Iterator[Order]:
            for item in self._look_up(paths):
                items.append(item)
                missing = (stream for stream in self.request.streams if stream not in item.kept)
                yield Order(item.path, tuple(missing))

        for together in self.source.clips(orders()):
            yield [self._complete(items.popleft(), made) for made in together]

    def _look_up(self, paths: Iterable[Path]) -> Iterator[_Item]:
        """Look up each clip's streams in the store."""
        if self.store is None:
            yield from (_Item(path, {}, {}) for path in paths)
            return
        for path, identity in identities(paths):
            if identity is None:
                yield _Item(path, {}, {})
                continue
            keys = {stream: entry_key(identity, recipe) for stream, recipe in self._recipes.items()}
            found = {stream: self.store.get(key) for stream, key in keys.items()}
            kept = {stream: entry for stream, entry in found.items() if entry is not None}
            yield _Item(path, keys, kept)

    def _complete(self, item: _Item, made: Made) -> Extracted:
        """Combine stored and new features of a clip, and store the new ones."""
        if isinstance(made, InputError):
            return Extracted(item.path, None, None, Problem.of(made))
        if self.store is not None and item.keys:
            for stream, features in made.items():
                self.store.put(item.keys[stream], features)
        known = {**item.kept, **made}
        # The order decides which random numbers a stream gets in training: see `features.batches.choose`.
        streams = {stream: known[stream] for stream in self.request.streams if stream in known}
        info = next(iter(streams.values())).info
        clip = ClipFeatures(
            {s: f.values for s, f in streams.items() if s not in SUMMARY_STREAMS},
            {s: f.values for s, f in streams.items() if s in SUMMARY_STREAMS},
        )
        return Extracted(item.path, clip, info, info.problem)

    def _recipe(self, stream: StreamName, weights: str) -> dict[str, Any]:
        """Return everything that a stream's features depend on, except the file."""
        request = self.request
        recipe: dict[str, Any] = {
            "stream": stream,
            "reading": _READING_VERSION,
            "kind": request.kind,
            "sampling": asdict(request.sampling),
            "views": request.views,
            "limits": asdict(request.limits),
            "grid": asdict(request.grid) if request.kind == "picture" else None,
        }
        if stream in SUMMARY_DESCRIPTORS:
            return {**recipe, "version": SUMMARY_DESCRIPTORS[stream].version, "size": request.size}
        recipe["mirror"] = request.mirror
        if stream == "pose":
            networks = None if request.pose_networks is None else request.pose_networks.name
            extra = {"people": request.people, "networks": networks, "side": PEOPLE_SIDE}
            return {**recipe, "version": SEQUENCE_DESCRIPTORS[stream].version, **extra}
        if stream in SEQUENCE_DESCRIPTORS:
            pair = [motion.FLOW_SECONDS, motion.FLOW_SIZE]
            return {**recipe, "version": SEQUENCE_DESCRIPTORS[stream].version, "pair": pair}
        return {**recipe, "size": request.size, "channels": request.channels, "weights": weights}
