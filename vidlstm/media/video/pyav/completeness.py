"""Find out whether a file ends before its container says so, as after an interrupted copy or recording.

Nothing is decoded, and times in headers are not trusted: longer sound, edit lists and tracks that start late
make a film shorter than its header says although nothing is missing.
"""

from __future__ import annotations

import io
from collections.abc import Sized
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

from vidlstm.media.sampling import known_fps
from vidlstm.media.video.pyav.container import frame_rate, last_seconds
from vidlstm.media.video.pyav.packets import Packets

_MAX_BOXES = 100_000
_EBML = b"\x1aE\xdf\xa3"
_SEGMENT = b"\x18S\x80g"
_WITHOUT_LENGTH = ("asf", "flv", "rm")  # whose headers give a duration, but no length in bytes


def num_missing(path: Path, container: InputContainer, stream: VideoStream, packets: Packets) -> int:
    """Return how many frames of a stream are announced but not in the file.

    Args:
        path: The file.
        container: Its container; packets are read from it if nothing else decides.
        stream: The stream.
        packets: All packets of the stream.
    """
    found = packets.num_frames + packets.num_discarded
    name = container.format.name
    index: Sized = getattr(stream, "index_entries", ())
    if name.startswith("mov") and len(index):
        return max(len(index) - found, 0)
    claimed_seconds = (container.duration or 0) / 1e6
    claimed = stream.frames or round(claimed_seconds * known_fps(frame_rate(stream)))
    if claimed <= found:
        return 0
    is_cut = is_cut_short(path)
    if is_cut is None and name in _WITHOUT_LENGTH and claimed > found * 1.1:
        # Sound may be longer than the picture, so the last packet of all streams decides.
        is_cut = last_seconds(container) < 0.9 * claimed_seconds
    return claimed - found if is_cut else 0


def is_cut_short(path: Path) -> bool | None:
    """Tell whether bytes are missing at the end of an AVI, Matroska, WebM, MP4 or MOV file.

    Returns:
        None if the container does not say how long it is.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if head[:4] == b"RIFF":
            return _lacks_riff(file, size)
        if head[:4] == _EBML:
            return _lacks_segment(file, size)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
            return _lacks_box(file, size)
        return None


def _lacks_riff(file: BinaryIO, size: int) -> bool | None:
    """A large AVI file is a sequence of chunks (OpenDML). A length of 0 or 2^32 - 1 was never written."""
    place = 0
    for _ in range(_MAX_BOXES):
        file.seek(place)
        head = file.read(8)
        if head[:4] != b"RIFF" or len(head) < 8:
            return False if place else None
        length = int.from_bytes(head[4:], "little")
        if length in (0, 2**32 - 1):
            return None
        place += 8 + length + length % 2
        if place - length % 2 > size:
            return True
    return None


def _lacks_segment(file: BinaryIO, size: int) -> bool | None:
    """RFC 8794: an element is its identifier, its length and its content."""
    for _ in range(2):
        identifier = _read_vint(file, keep_mark=True)
        length = _read_vint(file, keep_mark=False)
        if identifier is None or length is None:
            return None
        if identifier == int.from_bytes(_SEGMENT, "big"):
            return file.tell() + length > size
        file.seek(length, io.SEEK_CUR)
    return None


def _read_vint(file: BinaryIO, *, keep_mark: bool) -> int | None:
    first = file.read(1)
    if not first or not first[0]:
        return None
    num_bytes = 9 - first[0].bit_length()
    content = first + file.read(num_bytes - 1)
    value = int.from_bytes(content, "big")
    mark = 1 << (7 * num_bytes)
    if keep_mark:
        return value
    return None if value == 2 * mark - 1 else value - mark  # all ones: unknown


def _lacks_box(file: BinaryIO, size: int) -> bool | None:
    """ISO/IEC 14496-12 4.2: a box is its length, its type and its content."""
    place = 0
    for _ in range(_MAX_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return False
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        elif length == 0:
            return False  # the box extends to the end of the file
        if length < 8:
            return None
        place += length
        if place > size:
            return True
    return None
