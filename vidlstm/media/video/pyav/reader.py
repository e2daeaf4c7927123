"""Read a video file with PyAV: in order, or with verified seeks.

Reading continues after damage, and lost frames are counted. With several threads it stops at damage, and the
file is read again by one thread, so that it gives the same frames every time.

A seek is used if decoding from the keyframe is clearly cheaper than decoding everything up to the wanted
frame. It is accepted only if a frame with exactly the time of the wanted packet comes; otherwise the file
is decoded in order from its beginning.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from av import VideoFrame
from av.packet import Packet
from av.video.stream import VideoStream

from vidlstm.media.opencv import decoding_threads
from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import DoubtError
from vidlstm.media.video.pyav.completeness import num_missing
from vidlstm.media.video.pyav.container import FFmpegError, Source, codec_name, packets_of
from vidlstm.media.video.pyav.file import PyAvFile
from vidlstm.media.video.pyav.packets import Clock, read_packets
from vidlstm.media.video.pyav.threads import set_threads

_SEEKABLE = ("avi", "matroska", "mov")  # containers with an index; others are searched byte by byte
_SEEK_OVERHEAD = 40
"""Frames that a seek must save, as damage in skipped frames is not noticed."""


class NoFrameError(Exception):
    """There is a video stream, but none of its frames can be decoded."""

    def __init__(self, codec: str, *, is_encrypted: bool) -> None:
        super().__init__(codec)
        self.codec = codec
        self.is_encrypted = is_encrypted


class PyAvVideo(PyAvFile):
    """An open video file.

    Args:
        source: The file; closed together with this.
        seek: Allow seeks.
        num_threads: Decoding threads; None: the number set with `decode_with`.

    Raises:
        DoubtError: The file is damaged and was decoded by several threads. Also raised on reading.
        NoFrameError: No frame can be decoded.
        InputError: `read_error`: the first frame cannot be converted.
    """

    _frames: Iterator[VideoFrame]
    _zero: float | None
    _first: float | None = None

    def __init__(self, source: Source, *, seek: bool = True, num_threads: int | None = None) -> None:
        super().__init__(source)
        self._num_threads = num_threads
        self._packets = read_packets(source.container, source.stream)
        self._clock = Clock.of(source.stream)
        self.num_missing = num_missing(source.path, source.container, source.stream, self._packets)
        self._expect_packets()
        self._is_avi = source.container.format.name == "avi"  # its frames have decoding times only
        has_index = source.container.format.name.startswith(_SEEKABLE)
        self._can_seek = seek and has_index and not self._packets.is_in_order
        self._rewind()
        if not self.step():
            codec = codec_name(source.stream)
            raise NoFrameError(codec, is_encrypted=self._packets.is_encrypted)
        self._set_info(max(source.stream.frames - self._packets.num_discarded, 0))

    def step(self) -> bool:
        """Move to the next frame; return False at the end."""
        frame = next(self._frames, None)
        if frame is None:
            if self._is_threaded() and self.index + 1 < self._packets.num_frames:
                raise DoubtError
            return self._reach_end()
        self._frame = frame
        self._num_damaged += frame.is_corrupt
        ticks = frame.dts if self._is_avi else frame.pts
        seconds = 0.0 if ticks is None else self._clock.seconds(ticks)
        if self._zero is None:
            self._zero = seconds
        self._advance(seconds - self._zero)
        return True

    def goto(self, index: int) -> bool:
        """Move forward to frame `index`; return False if the clip ends before it."""
        return self._seek_if_cheaper(index) or super().goto(index)

    def reach(self, seconds: float) -> bool:
        """Move forward to the first frame at or after a time; return False if the clip ends before it."""
        if self.times is not None and self._zero == self._first:  # else times count from a frame that is lost
            index = int(np.searchsorted(self.times, seconds))
            if self._seek_if_cheaper(index):
                return True
        return super().reach(seconds)

    def close(self) -> None:
        """Release the file."""
        self._frames = iter(())
        super().close()

    @property
    def end_seconds(self) -> float:
        """End of the last frame read so far; after a seek, end of the last frame of the file."""
        if self.jumped and self.times is not None:
            return float(self.times[-1]) + 1 / known_fps(self.info.fps)
        return super().end_seconds

    @property
    def num_lost(self) -> int:
        """Number of frames that are missing or damaged, as far as the clip has been read."""
        lost = self.num_missing + self._num_damaged
        # Without an error, packets without a frame are not lost frames.
        if self._num_errors and self.count is not None:
            lost += max(self._packets.num_frames - self.count, 0)
        return lost

    def _reopen(self) -> None:
        self._source.reopen()
        self._set_threads()

    def _is_threaded(self) -> bool:
        return bool(self._source.stream.codec_context.thread_count != 1)

    def _set_threads(self) -> None:
        num_threads = decoding_threads() if self._num_threads is None else self._num_threads
        set_threads(self._source.stream, num_threads)

    def _expect_packets(self) -> None:
        packets = self._packets
        self.expected = packets.num_frames
        if packets.pts is not None:
            seconds = self._clock.seconds(packets.pts)
            self.times, self._first = seconds - seconds[0], float(seconds[0])

    def _rewind(self) -> None:
        """Decode from the first packet, after all packets have been read."""
        self._reset()
        self._set_threads()
        if self._packets.kept is None:
            self._frames = self._decode(self._packets_again())
        else:
            self._frames = self._decode(self._packets.kept)

    def _packets_again(self) -> Iterator[Packet[VideoStream]]:
        """Return to the first packet of the file, and return all packets."""
        first: Packet[VideoStream] | None = None
        if self._packets.first is not None and not self._packets.is_in_order:
            place, time = self._packets.first
            try:
                self._source.container.seek(time, stream=self._source.stream)
                first = next(packets_of(self._source.container, self._source.stream, lambda: None), None)
            except FFmpegError:
                pass
            if first is not None and first.pos != place:
                first = None
        if first is None:
            self._reopen()  # slower, but always leads to the beginning
        return itertools.chain(() if first is None else (first,), self._rest())

    def _start_over(self) -> None:
        """Decode from the beginning, in order and by one thread."""
        self._can_seek = False
        self._num_threads = 1
        self._reopen()
        self._reset()
        self._frames = self._decode(self._rest())

    def _reset(self) -> None:
        self.index, self.seconds, self.count, self.jumped = -1, 0.0, None, False
        self.met.clear()
        self._zero = None
        self._num_errors = 0
        self._num_damaged = 0

    def _seek_if_cheaper(self, index: int) -> bool:
        """Move to frame `index` by a seek; return False if it is still to be moved to in order."""
        key = self._packets.key_before(index) if self._can_seek and index < self.expected else None
        if key is None or index - self.index <= 1.25 * (index - key[0]) + _SEEK_OVERHEAD:
            return False
        if self._seek(index, key[1]):
            return True
        self._start_over()
        return False

    def _seek(self, index: int, key_time: int) -> bool:
        """Move to frame `index`; return False if this cannot be verified."""
        assert self._packets.pts is not None
        assert self.times is not None
        wanted = int(self._packets.pts[index])
        try:
            self._source.container.seek(key_time, stream=self._source.stream)
            self._frames = self._decode(self._rest())
            for frame in self._frames:
                if frame.pts is None or frame.pts > wanted:
                    return False
                if frame.pts == wanted:
                    self._frame = frame
                    self.index, self.seconds, self.jumped = index, float(self.times[index]), True
                    return not frame.is_corrupt
        except (FFmpegError, DoubtError):
            pass
        return False

    def _rest(self) -> Iterator[Packet[VideoStream]]:
        """Yield the packets from the current position of the file."""
        return packets_of(self._source.container, self._source.stream, self._fail)

    def _fail(self) -> None:
        if self._is_threaded():
            raise DoubtError
        self._num_errors += 1

    def _decode(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[VideoFrame]:
        """Decode packets up to the last one of the file, and yield their frames."""
        decoder = self._source.stream.codec_context

        def decode(packet: Packet[VideoStream] | None) -> list[VideoFrame]:
            try:
                frames = decoder.decode(packet)
            except (FFmpegError, EOFError):
                self._fail()
                return []
            if self._is_threaded() and any(frame.is_corrupt for frame in frames):
                raise DoubtError
            return frames

        for packet in packets:
            yield from decode(packet)
        yield from decode(None)
