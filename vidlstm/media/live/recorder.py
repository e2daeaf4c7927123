"""Record clips of live events, including some seconds before the event.

A thread keeps the last seconds as JPEG images, and starts a clip from them when an event starts. It never
blocks the caller: if writing falls behind, frames are skipped in the clip.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidlstm.media.encode import TICK, add_h264, even
from vidlstm.media.live.sources import LiveFrame
from vidlstm.media.opencv import cv2
from vidlstm.media.resize import resize
from vidlstm.media.video.pyav.container import FFmpegError

_MAX_WAITING = 16  # frames
_QUALITY = 90
_CLOSE_SECONDS = 10.0


@dataclass(frozen=True)
class _Begin:
    path: Path
    since: float


class Recorder:
    """Writes clips.

    Args:
        seconds: Seconds of video to keep for the beginning of a clip.
        report: Called with a message when a clip cannot be written, from another thread.
    """

    def __init__(self, seconds: float, report: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._report = report
        self._queue: queue.SimpleQueue[LiveFrame | _Begin | bool] = queue.SimpleQueue()
        self._history: deque[tuple[float, bytes]] = deque()
        self._clip: _Clip | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, frame: LiveFrame) -> None:
        """Add the next frame."""
        if self._queue.qsize() < _MAX_WAITING:
            self._queue.put(frame)

    def begin(self, path: Path, since: float) -> None:
        """Start a clip; ends the one being written.

        Args:
            path: Path of the clip, `.mp4`. Its folder is created.
            since: Time of the first frame in the clip, if it is still kept.
        """
        self._queue.put(_Begin(path, since))

    def end(self) -> None:
        """End the clip."""
        self._queue.put(True)

    def close(self) -> None:
        """End the clip and wait until it is written."""
        self._queue.put(False)
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            order = self._queue.get()
            if isinstance(order, LiveFrame):
                self._keep(order)
                continue
            self._end_clip()
            if order is False:
                return
            if isinstance(order, _Begin):
                self._clip = _Clip(order.path)
                for shown, data in self._history:
                    if shown >= order.since:
                        self._write(shown, data)

    def _keep(self, frame: LiveFrame) -> None:
        _, encoded = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        data = encoded.tobytes()
        self._history.append((frame.shown, data))
        while not 0 <= frame.shown - self._history[0][0] <= self._seconds:
            self._history.popleft()
        self._write(frame.shown, data)

    def _write(self, shown: float, data: bytes) -> None:
        if self._clip is not None:
            self._try(lambda clip: clip.write(shown, data))

    def _end_clip(self) -> None:
        if self._clip is not None:
            self._try(lambda clip: clip.close())
        self._clip = None

    def _try(self, call: Callable[[_Clip], None]) -> None:
        clip = self._clip
        assert clip is not None
        try:
            call(clip)
        except (OSError, FFmpegError, ValueError) as error:
            self._clip = None
            clip.drop()
            self._report(f"{clip.path}: {getattr(error, 'strerror', None) or error}")


class _Clip:
    """One clip being written, to a temporary file next to its final path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beside = path.with_name(f".{path.name}.{os.getpid()}.mp4")
        self._made: Any = None
        self._stream: Any = None
        self._first = 0.0
        self._last = -1  # in ticks
        self._shape = (0, 0)

    def write(self, shown: float, data: bytes) -> None:
        image = even(np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8))
        if self._made is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            name = f"file:{self._beside}"  # so that a colon in a label is not taken for a protocol
            self._made = av.open(name, "w", format="mp4", options={"movflags": "+faststart"})
            self._stream = add_h264(self._made, image.shape[0], image.shape[1], 25)
            self._first, self._shape = shown, image.shape[:2]
        if image.shape[:2] != self._shape:
            image = resize(image, self._shape[1], self._shape[0])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        self._last = max(self._last + 1, round((shown - self._first) / TICK))
        frame.pts, frame.time_base = self._last, TICK
        self._made.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._made is not None:
            self._made.mux(self._stream.encode(None))
            self._made.close()
            self._beside.replace(self.path)

    def drop(self) -> None:
        with contextlib.suppress(OSError, FFmpegError, ValueError):
            if self._made is not None:
                self._made.close()
        with contextlib.suppress(OSError):
            self._beside.unlink(missing_ok=True)
