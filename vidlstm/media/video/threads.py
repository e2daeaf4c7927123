"""How many threads decode a stream, so that a damaged file gives the same frames whatever their number.

What stands for the damaged part of a picture can depend on which of several threads was first. So several
decode only where FFmpeg's decoder reports damage in place of concealing it (the file is then read again by
one), or where they share the slices of one picture; all other codecs are decoded by one thread. Of 500
damaged files (`python -m tests.benchmarks.fuzz`), several threads gave other frames than one, without an
error, in 5 of 42 HEVC, 7 of 42 VP8 and 1 of 42 MPEG-2.
"""

from __future__ import annotations

from av.video.stream import VideoStream

from vidlstm.media.video.container import codec_name

_BY_FRAMES = ("av1", "h264", "vp9")
_BY_SLICES = ("dnxhd", "ffv1", "prores")


def set_threads(stream: VideoStream, num_threads: int) -> None:
    """Prepare a stream of which nothing was decoded yet.

    Args:
        stream: If several threads are going to decode it, damage raises an error.
        num_threads: At most so many; 0 for as many as FFmpeg likes.
    """
    decoder = stream.codec_context
    codec = codec_name(stream)
    decoder.thread_type = "SLICE" if codec in _BY_SLICES else "FRAME"
    decoder.thread_count = num_threads if codec in _BY_FRAMES + _BY_SLICES else 1
    if decoder.thread_count != 1:
        decoder.options = {**decoder.options, "err_detect": "explode"}
