"""Files to pixels and descriptors, in processes beside the encoder.

A decoder is C code fed with files from anywhere. It runs in worker processes, so that a file that
crashes or hangs it costs that file a failure and not the run. Order is kept; nothing is read further
ahead than a small window, and the source of paths may be a pipe that is still being written.

Imports no torch: `predict` starts its workers before it pays for that import.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool

from vidlstm.config import Grid, Kind, ModelConfig, Sampling, StreamName
from vidlstm.errors import FailureCode, InputError
from vidlstm.media import image, motion
from vidlstm.media.clips import ClipSpec, PairSpec, read_clip
from vidlstm.media.files import Limits
from vidlstm.media.sampling import every_second
from vidlstm.media.streams import SEQUENCE_DESCRIPTORS, SUMMARY_DESCRIPTORS
from vidlstm.records import ClipInfo

CLIP_SECONDS = 120.0
"""How long one file may take before it counts as hung, unless told otherwise."""
SUMMARY_FRAMES = 8
"""Moments of a video that its summary streams look at."""
_WINDOW = 3  # files in flight for each worker


@dataclass(frozen=True)
class ReadRequest:
    """What the workers make of every file. Travels to them; holds only plain values."""

    kind: Kind
    streams: tuple[StreamName, ...]
    sampling: Sampling
    views: int
    grid: Grid
    size: int
    channels: int
    mirror: bool = False
    limits: Limits = field(default_factory=Limits)

    @staticmethod
    def of(config: ModelConfig, *, views: int, limits: Limits | None = None) -> ReadRequest:
        """Return the request that feeds a model of `config` with `views` views of each clip."""
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
        )


@dataclass(frozen=True)
class Reading:
    """What a worker made of one file.

    Args:
        frames: uint8 `(M, U, S, S, C)`, the distinct moments for the encoder, plain and (M = 2)
            mirrored; None when `rgb` is off.
        table: int64 `(V, T)` into the U of `frames`.
        sequences: By stream, float32 `(V, T, D)`, each with a T of its own.
        summaries: By stream, float32 `(D,)`.
        info: What the file told.
    """

    frames: NDArray[np.uint8] | None
    table: NDArray[np.int64]
    sequences: dict[StreamName, NDArray[np.float32]]
    summaries: dict[StreamName, NDArray[np.float32]]
    info: ClipInfo


def read(path: Path, request: ReadRequest) -> Reading:
    """Read one file as the request says.

    Raises:
        InputError: The file cannot be used.
    """
    return _read_picture(path, request) if request.kind == "picture" else _read_video(path, request)


def _read_video(path: Path, request: ReadRequest) -> Reading:
    wants_summary = any(s in SUMMARY_DESCRIPTORS for s in request.streams)
    wants_frames = "rgb" in request.streams or wants_summary
    spec = ClipSpec(
        sampling=request.sampling,
        views=request.views,
        size=request.size if wants_frames else None,
        pairs=PairSpec(motion.FLOW_SECONDS, motion.FLOW_SIZE) if "motion" in request.streams else None,
    )
    clip = read_clip(path, spec, limits=request.limits)
    few = (
        np.linspace(0, len(clip.frames) - 1, min(SUMMARY_FRAMES, len(clip.frames))).astype(int)
        if wants_frames
        else 0
    )
    frames, table = None, every_second(clip.table)
    if "rgb" in request.streams:
        moments, table = np.unique(table, return_inverse=True)
        table = table.reshape(len(clip.table), -1)
        frames = _to_channels(clip.frames[moments][None], request.channels)
    return Reading(
        frames,
        table,
        {s: d.describe(clip)[clip.table] for s, d in SEQUENCE_DESCRIPTORS.items() if s in request.streams},
        {s: d.describe(clip.frames[few]) for s, d in SUMMARY_DESCRIPTORS.items() if s in request.streams},
        clip.info,
    )


def _read_picture(path: Path, request: ReadRequest) -> Reading:
    picture = image.load_picture(path)
    boxes = image.region_boxes(picture.shape[0], picture.shape[1], request.grid)
    sides = [picture, np.ascontiguousarray(picture[:, ::-1])] if request.mirror else [picture]
    regions = np.stack([image.cut_regions(side, boxes, request.size) for side in sides])
    return Reading(
        _to_channels(regions, request.channels) if "rgb" in request.streams else None,
        np.arange(regions.shape[1])[None],
        {},
        {s: d.describe(picture[None]) for s, d in SUMMARY_DESCRIPTORS.items() if s in request.streams},
        ClipInfo(num_frames=1, seconds=None, width=picture.shape[1], height=picture.shape[0]),
    )


def _to_channels(frames: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Bring RGB `(..., 3)` to the encoder's number of channels."""
    if channels == 3:
        return frames
    weights = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as cv2 and PIL
    grey: NDArray[np.uint8] = np.rint(frames @ weights).astype(np.uint8)[..., None]
    return grey


T = TypeVar("T")
Job = tuple[Path, ReadRequest]


@dataclass(frozen=True)
class _Task(Generic[T]):
    item: T
    path: Path
    future: Future[Reading] | None  # None: there was nothing to read


class DecodePool:
    """Worker processes that read files, in order, a small window ahead of whoever asks.

    Args:
        num_workers: Processes.
        clip_seconds: Time limit of one file.
    """

    def __init__(self, num_workers: int, clip_seconds: float = CLIP_SECONDS) -> None:
        self.clip_seconds = clip_seconds
        self.num_workers = num_workers
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPool(max_workers=num_workers, context=context)
        self._stopped = threading.Event()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def run(
        self, items: Iterable[T], job_of: Callable[[T], Job | None]
    ) -> Iterator[tuple[T, Reading | InputError | None] | None]:
        """Read the files of `items`, in order.

        Args:
            items: Anything; consumed in a thread of its own, so it may block.
            job_of: The file of an item and what to make of it, or None when there is nothing to read.

        Yields:
            The item with what reading it gave (None where there was nothing to read). A bare None
            says that the next one is not ready yet, and comes once before each wait.
        """
        tasks: queue.Queue[_Task[T] | BaseException | None] = queue.Queue()
        places = threading.Semaphore(self.num_workers * _WINDOW)
        feeder = threading.Thread(target=self._feed, args=(items, job_of, tasks, places), daemon=True)
        feeder.start()
        while True:
            if tasks.empty():
                yield None
            task = tasks.get()
            if task is None:
                return
            if isinstance(task, BaseException):
                raise task
            if task.future is not None and not task.future.done():
                yield None
            result = None if task.future is None else self._result(task.path, task.future)
            places.release()
            yield task.item, result

    def _feed(
        self,
        items: Iterable[T],
        job_of: Callable[[T], Job | None],
        tasks: queue.Queue[_Task[T] | BaseException | None],
        places: threading.Semaphore,
    ) -> None:
        try:
            for item in items:
                places.acquire()
                if self._stopped.is_set():
                    return
                job = job_of(item)
                future = (
                    None if job is None else self._pool.schedule(read, args=job, timeout=self.clip_seconds)
                )
                tasks.put(_Task(item, Path() if job is None else job[0], future))
            tasks.put(None)
        except BaseException as error:  # whatever the source of items raises, its consumer shall see
            tasks.put(error)

    def _result(self, path: Path, future: Future[Reading]) -> Reading | InputError:
        try:
            return future.result()
        except InputError as error:
            return error
        except FutureTimeoutError:
            return InputError(
                path, FailureCode.TIMEOUT, f"reading took longer than {self.clip_seconds:g} s (--timeout)"
            )
        except ProcessExpired as error:
            return InputError(
                path, FailureCode.DECODER_CRASHED, f"the decoder crashed on it (exit code {error.exitcode})"
            )
        except MemoryError:
            return InputError(path, FailureCode.TOO_LARGE, "not enough memory to read it")
        except Exception as error:  # a decoder's own exception on a hostile file
            return InputError(path, FailureCode.READ_ERROR, f"{type(error).__name__}: {error}")
