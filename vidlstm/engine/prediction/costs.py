"""Measure what each stream of a model costs on a clip, on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from vidlstm.config import StreamName
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import CLIP_SECONDS, DecodePool
from vidlstm.engine.extraction.reading import Reading, ReadRequest, read
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.errors import InputError

T = TypeVar("T")

_REPEATS = 3  # other programs and cold memory only ever add time


@dataclass(frozen=True)
class Costs:
    """CPU seconds for the features of one clip, the shortest of three times.

    Args:
        streams: Each stream alone, with decoding.
        together: All streams of the model, decoded once.
    """

    streams: dict[StreamName, float]
    together: float


def measure_costs(labeller: Labeller, clip: Path) -> Costs:
    """Measure a model's streams on a clip. A decoder process reads it, as in prediction.

    Raises:
        InputError: The clip cannot be used.
    """
    streams, networks = labeller.config.streams, write_networks(labeller.pose)
    whole = ReadRequest.of(labeller.config, views=labeller.config.views, pose_networks=networks)
    with DecodePool(1, _REPEATS * CLIP_SECONDS) as pool:

        def seconds(*streams: StreamName) -> float:
            request = replace(whole, streams=streams)
            for result in pool.run([clip], lambda path: Job(path, partial(_read, path, request))):
                if result is not None:
                    assert result[1] is not None
                    if isinstance(result[1], InputError):
                        raise result[1]
                    reading, took = result[1]
                    return took + _encode(labeller, reading)
            raise AssertionError("a job has a result")

        together = seconds(*streams)  # the first time: it also loads what all later ones use
        return Costs({stream: seconds(stream) for stream in streams}, together)


def _read(clip: Path, request: ReadRequest) -> tuple[Reading, float]:
    """Runs in a decoder process."""
    readings, times = zip(*(_timed(partial(read, clip, request)) for _ in range(_REPEATS)), strict=True)
    return readings[0], min(times)


def _encode(labeller: Labeller, reading: Reading) -> float:
    if reading.frames is None or labeller.encoder is None:
        return 0.0
    frames = reading.frames.reshape(-1, *reading.frames.shape[2:])
    return min(_timed(partial(labeller.encoder, frames))[1] for _ in range(_REPEATS))


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return a result, and the CPU seconds of all threads of this process meanwhile."""
    began = time.process_time()
    result = work()
    return result, time.process_time() - began
