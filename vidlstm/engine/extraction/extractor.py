"""Files to features: decoding beside encoding, frames of several clips in one encoder batch.

`Extractor.extract` takes paths from anywhere and yields, in their order, one result for each: its
features or why there are none. What the feature store holds already is neither decoded nor encoded
again; of a clip with one stream missing, just that stream is made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import SUMMARY_STREAMS, StreamName
from vidlstm.engine.extraction.jobs import Job
from vidlstm.engine.extraction.pool import DecodePool
from vidlstm.engine.extraction.reading import PEOPLE_SIDE, Reading, ReadRequest, read, read_frames
from vidlstm.errors import InputError
from vidlstm.features.batches import ClipFeatures
from vidlstm.features.store import FeatureStore, StreamFeatures, clip_identity, entry_key
from vidlstm.media.descriptors import motion
from vidlstm.media.descriptors.streams import SEQUENCE_DESCRIPTORS, SUMMARY_DESCRIPTORS
from vidlstm.media.video.frame_array import NAME, Frames
from vidlstm.models.backends.protocol import FrameEncoder
from vidlstm.records import ClipInfo, Problem

_READING_VERSION = 1  # goes up when the same request gives other pixels
_READY_FRAMES = 64  # that are encoded together, from several clips


@dataclass(frozen=True)
class Extracted:
    """What one input gave: features, or the problem that kept them away.

    Args:
        path: The input.
        features: None when the input cannot be used.
        info: What the file told; None when the input cannot be used.
        problem: Why it cannot be used; or `truncated`, beside features of what could be read.
    """

    path: Path
    features: ClipFeatures | None
    info: ClipInfo | None
    problem: Problem | None


@dataclass(frozen=True)
class _Item:
    path: Path
    keys: dict[StreamName, str]  # empty without a store
    kept: dict[StreamName, StreamFeatures]  # what the store holds


class Extractor:
    """Makes features of files for one model.

    Args:
        request: Streams, sampling and sizes.
        encoder: For the `rgb` stream. None keeps pixels, for one that learns.
        store: Where features are kept; None keeps none.
        pool: Who reads the files.
    """

    def __init__(
        self, request: ReadRequest, encoder: FrameEncoder | None, store: FeatureStore | None, pool: DecodePool
    ) -> None:
        self.request = request
        self.store = store
        self.pool = pool
        self.encoder = encoder
        weights = "pixels" if encoder is None else encoder.digest
        self._recipes = {stream: self._recipe(stream, weights) for stream in request.streams} if store else {}

    def extract(self, paths: Iterable[Path]) -> Iterator[Extracted]:
        """Yield one result a path, in order, as soon as it is ready."""
        return itertools.chain.from_iterable(self.extract_together(paths))

    def extract_frames(self, frames: Frames) -> Extracted:
        """Return the features of frames in memory; they are read in this process, and not kept."""
        reading = read_frames(frames, self.request)
        return next(self._finish([(_Item(NAME, {}, {}), reading)]))

    def extract_together(self, paths: Iterable[Path]) -> Iterator[list[Extracted]]:
        """Yield one result a path, in order, those that are ready at the same time together."""
        waiting: list[tuple[_Item, Reading | InputError | None]] = []
        frames = 0
        for result in self.pool.run(map(self._item, paths), self._job):
            if result is not None:
                waiting.append(result)
                reading = result[1]
                if isinstance(reading, Reading) and reading.frames is not None:
                    frames += reading.frames.shape[0] * reading.frames.shape[1]
            # Encode a full batch; or, while the decoders are behind, whatever is there.
            if waiting and (result is None or frames >= _READY_FRAMES or frames == 0):
                yield list(self._finish(waiting))
                waiting, frames = [], 0
        yield list(self._finish(waiting))

    def _item(self, path: Path) -> _Item:
        """Look up what the store holds of a clip."""
        if self.store is None:
            return _Item(path, {}, {})
        try:
            identity = clip_identity(path)
        except OSError:  # reading it will say why
            return _Item(path, {}, {})
        keys = {stream: entry_key(identity, recipe) for stream, recipe in self._recipes.items()}
        found = {stream: self.store.get(key) for stream, key in keys.items()}
        return _Item(path, keys, {stream: entry for stream, entry in found.items() if entry is not None})

    def _job(self, item: _Item) -> Job[Reading] | None:
        missing = tuple(stream for stream in self.request.streams if stream not in item.kept)
        if not missing:
            return None
        return Job(item.path, partial(read, item.path, replace(self.request, streams=missing)))

    def _finish(self, waiting: Sequence[tuple[_Item, Reading | InputError | None]]) -> Iterator[Extracted]:
        """Encode the frames of several clips together and put each clip's features together."""
        encoded = iter(
            self._encode([r.frames for _, r in waiting if isinstance(r, Reading) and r.frames is not None])
        )
        for item, reading in waiting:
            if isinstance(reading, InputError):
                yield Extracted(item.path, None, None, Problem.of(reading))
                continue
            streams = dict(item.kept)
            if reading is not None:
                has_frames = reading.frames is not None and self.encoder is not None
                made = self._assemble(reading, next(encoded) if has_frames else None)
                streams.update(made)
                if self.store is not None and item.keys:
                    for stream, features in made.items():
                        self.store.put(item.keys[stream], features)
            info = next(iter(streams.values())).info
            clip = ClipFeatures(
                {s: f.values for s, f in streams.items() if s not in SUMMARY_STREAMS},
                {s: f.values for s, f in streams.items() if s in SUMMARY_STREAMS},
            )
            yield Extracted(item.path, clip, info, info.problem)

    def _encode(self, clips: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.float16]]:
        """Encode `(M, U, S, S, C)` of each clip to `(M, U, D)`, batches running across clips.

        Where a picture is read as R rows, to `(M, U, R, D)`.
        """
        if not clips or self.encoder is None:
            return
        features = self.encoder(np.concatenate([clip.reshape(-1, *clip.shape[2:]) for clip in clips]))
        start = 0
        for clip in clips:
            count = clip.shape[0] * clip.shape[1]
            yield features[start : start + count].reshape(*clip.shape[:2], *features.shape[1:])
            start += count

    def _assemble(
        self, reading: Reading, rgb: NDArray[np.float16] | None
    ) -> dict[StreamName, StreamFeatures]:
        """Spread the distinct moments over the views."""
        made: dict[StreamName, StreamFeatures] = {}
        if reading.frames is not None and rgb is None:
            made["rgb"] = StreamFeatures(reading.frames[:, reading.table], reading.info)
        if rgb is not None:
            steps = rgb[:, reading.table]
            made["rgb"] = StreamFeatures(steps.reshape(*steps.shape[:2], -1, steps.shape[-1]), reading.info)
        for stream, values in reading.sequences.items():
            sides = [values, SEQUENCE_DESCRIPTORS[stream].mirror(values)] if self.request.mirror else [values]
            made[stream] = StreamFeatures(np.stack(sides).astype(np.float16), reading.info)
        for stream, row in reading.summaries.items():
            made[stream] = StreamFeatures(row[None].astype(np.float16), reading.info)
        return made

    def _recipe(self, stream: StreamName, weights: str) -> dict[str, Any]:
        """Return everything that a stream's features depend on, beside the file."""
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
