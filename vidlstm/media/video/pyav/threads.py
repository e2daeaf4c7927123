"""Set the number of decoding threads so that a damaged file gives the same frames for any number.

With several threads, the concealment of damage can depend on which thread is faster. So several threads are
used only if FFmpeg's decoder reports damage instead of concealing it (the file is then read again by one
thread), or if the threads share the slices of one picture. All other codecs use one thread. In 500 damaged
files (`python -m tests.benchmarks.fuzz`), several threads gave other frames than one, without an error, in
5 of 42 HEVC, 7 of 42 VP8 and 1 of 42 MPEG-2 files.
"""

from __future__ import annotations

from av.video.stream import VideoStream

from vidlstm.media.video.pyav.container import codec_name

_BY_FRAMES = ("av1", "h264", "vp9")
_BY_SLICES = ("dnxhd", "ffv1", "prores")


def set_threads(stream: VideoStream, num_threads: int) -> None:
    """Set the threads of a stream before anything is decoded.

    Args:
        stream: The stream; with several threads, damage then raises an error.
        num_threads: Maximum number of threads; 0: FFmpeg chooses.
    """
    decoder = stream.codec_context
    codec = codec_name(stream)
    decoder.thread_type = "SLICE" if codec in _BY_SLICES else "FRAME"
    decoder.thread_count = num_threads if codec in _BY_FRAMES + _BY_SLICES else 1
    if decoder.thread_count != 1:
        decoder.options = {**decoder.options, "err_detect": "explode"}
