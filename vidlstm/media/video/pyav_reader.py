"""Frames of a video file by PyAV: in order, or by seeks that prove themselves.

Reading goes on behind damage, and what was lost is counted. Where several threads meet damage, they stop:
the file has to be read again by one, so that it gives the same frames each time.

A jump is made by a seek when its run-up from the keyframe is clearly cheaper than decoding what lies
between. It counts only if a frame comes that carries the very time which the packets have for the one
wanted; otherwise the file is decoded in order from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator

from av import VideoFrame
from av.packet import Packet
from av.video.stream import VideoStream

from vidlstm.media.opencv import decoding_threads
from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import DoubtError
from vidlstm.media.video.completeness import num_missing
from vidlstm.media.video.container import FFmpegError, Source, codec_name, packets_of
from vidlstm.media.video.packets import read_packets, to_seconds
from vidlstm.media.video.pyav_file import PyAvFile
from vidlstm.media.video.threads import set_threads

_SEEKABLE = ("avi", "matroska", "mov")  # containers with an index; others are searched byte by byte
_SEEK_OVERHEAD = 40
"""What a seek has to spare beside its run-up, in frames: damage that is jumped over is not noticed."""


class NoFrameError(Exception):
    """There is a video stream, but not one of its frames can be decoded."""

    def __init__(self, codec: str, *, is_encrypted: bool) -> None:
        super().__init__(codec)
        self.codec = codec
        self.is_encrypted = is_encrypted


class PyAvVideo(PyAvFile):
    """An open video file.

    Args:
        source: The file; closed together with this.
        seek: Allow seeks.
        num_threads: To decode with; None for as many as `decode_with` was told.

    Raises:
        DoubtError: Several threads have met damage; on reading, too.
        NoFrameError: No frame comes.
        InputError: `read_error`, the first frame cannot be converted.
    """

    _frames: Iterator[VideoFrame]
    _zero: float | None

    def __init__(self, source: Source, *, seek: bool = True, num_threads: int | None = None) -> None:
        super().__init__(source)
        self._num_threads = num_threads
        self._packets = read_packets(source.container, source.stream)
        self.num_missing = num_missing(source.path, source.container, source.stream, self._packets)
        self._expect_packets()
        self._is_avi = source.container.format.name == "avi"  # frames have no times but of decoding
        has_index = source.container.format.name.startswith(_SEEKABLE)
        self._can_seek = seek and has_index and not self._packets.is_in_order
        self._rewind()
        if not self.step():
            codec = codec_name(source.stream)
            raise NoFrameError(codec, is_encrypted=self._packets.is_encrypted)
        self._set_info(max(source.stream.frames - self._packets.num_discarded, 0))

    def step(self) -> bool:
        """Go to the next frame; return False at the end."""
        frame = next(self._frames, None)
        if frame is None:
            if self._is_threaded() and self.index + 1 < self._packets.num_frames:
                raise DoubtError
            return self._meet_end()
        self._frame = frame
        self._num_damaged += frame.is_corrupt
        ticks = frame.dts if self._is_avi else frame.pts
        seconds = 0.0 if ticks is None else to_seconds(self._source.stream, ticks)
        if self._zero is None:
            self._zero = seconds
        self._stand_on_next(seconds - self._zero)
        return True

    def goto(self, index: int) -> bool:
        """Go forward to frame `index`; return False when the clip ends before it."""
        key = self._packets.key_before(index) if self._can_seek and index < self.expected else None
        if key is None or index - self.index <= 1.25 * (index - key[0]) + _SEEK_OVERHEAD:
            return super().goto(index)
        if self._seek(index, key[1]):
            return True
        self._start_over()
        return super().goto(index)

    def close(self) -> None:
        """Release the file."""
        self._frames = iter(())
        super().close()

    @property
    def end_seconds(self) -> float:
        """When the last frame met so far ends; after a jump, when the last of all does."""
        if self.jumped and self.times is not None:
            return float(self.times[-1]) + 1 / known_fps(self.info.fps)
        return super().end_seconds

    @property
    def num_lost(self) -> int:
        """Frames that are missing or cannot be decoded whole, as far as the clip was read."""
        lost = self.num_missing + self._num_damaged
        # Without an error, packets that become no frame are none of their own.
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
            seconds = to_seconds(self._source.stream, packets.pts)
            self.times = seconds - seconds[0]

    def _rewind(self) -> None:
        """Let decoding begin with the first packet, after the packets have been read."""
        self._reset()
        self._set_threads()
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
            self._reopen()  # which takes longer, but always leads to the beginning
        self._frames = self._decode(first)

    def _start_over(self) -> None:
        """Decode from the beginning, in order and by one thread."""
        self._can_seek = False
        self._num_threads = 1
        self._reopen()
        self._reset()
        self._frames = self._decode(None)

    def _reset(self) -> None:
        self.index, self.seconds, self.count, self.jumped = -1, 0.0, None, False
        self.met.clear()
        self._zero = None
        self._num_errors = 0
        self._num_damaged = 0

    def _seek(self, index: int, key_time: int) -> bool:
        """Land on frame `index`, or tell that this cannot be done for sure."""
        assert self._packets.pts is not None
        assert self.times is not None
        wanted = int(self._packets.pts[index])
        try:
            self._source.container.seek(key_time, stream=self._source.stream)
            self._frames = self._decode(None)
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

    def _decode(self, first: Packet[VideoStream] | None) -> Iterator[VideoFrame]:
        """Yield the frames of a packet that was read already, and of all that follow."""
        decoder = self._source.stream.codec_context

        def fail() -> None:
            if self._is_threaded():
                raise DoubtError
            self._num_errors += 1

        def decode(packet: Packet[VideoStream] | None) -> list[VideoFrame]:
            try:
                frames = decoder.decode(packet)
            except (FFmpegError, EOFError):
                fail()
                return []
            if self._is_threaded() and any(frame.is_corrupt for frame in frames):
                raise DoubtError
            return frames

        if first is not None:
            yield from decode(first)
        for packet in packets_of(self._source.container, self._source.stream, fail):
            yield from decode(packet)
        yield from decode(None)
