"""What the bytes of an H.264 packet tell without decoding it.

A packet is a row of NAL units, each behind its length, as MP4 and Matroska keep them (ITU-T H.264
7.3.1, 7.4.1; ISO/IEC 14496-15 5.3). A picture whose slices all have `nal_ref_idc` 0 is referred to
by no other one: whether it is decoded changes nothing else. A picture of IDR slices refers to
nothing before it in any way.
"""

from __future__ import annotations

from enum import Enum

_SLICE = 1
_IDR_SLICE = 5
_BESIDE_SLICES = (6, 9, 12)
"""Remarks (SEI) on the picture, the mark that it begins, filling: of no use to other pictures."""


class Role(Enum):
    """What a picture is to the others."""

    START = "decoding can start with it"
    NEEDED = "others may refer to it"
    SPARE = "no other one refers to it"


class BrokenPacketError(ValueError):
    """The bytes are not a row of NAL units."""


def length_size(extradata: bytes) -> int:
    """Return of how many bytes the lengths in all packets are (1, 2 or 4).

    Args:
        extradata: The stream's `avcC` record.

    Raises:
        BrokenPacketError: It is none; the packets have no lengths then.
    """
    if len(extradata) < 7 or extradata[0] != 1:
        raise BrokenPacketError
    return (extradata[4] & 3) + 1


def role_of(packet: memoryview, size_bytes: int) -> Role:
    """Tell what the picture in a packet is to the others.

    Args:
        packet: All its bytes.
        size_bytes: Of how many the lengths are.

    Raises:
        BrokenPacketError: The packet is damaged.
    """
    place, end = 0, len(packet)
    pictures, is_start, is_spare = 0, False, True
    while place < end:
        first = place + size_bytes
        place = first + int.from_bytes(packet[first - size_bytes : first], "big")
        # The header's highest bit is always 0; a slice has a header of its own.
        if not first + 1 < place <= end or packet[first] & 0x80:
            raise BrokenPacketError
        kind = packet[first] & 31
        if kind in (_SLICE, _IDR_SLICE):
            pictures += packet[first + 1] >> 7  # the slice begins with its first macroblock's number, 0
            is_start |= kind == _IDR_SLICE
            is_spare &= not packet[first] & 0x60
        else:
            is_spare &= kind in _BESIDE_SLICES
    if is_start:
        return Role.START
    return Role.SPARE if is_spare and pictures == 1 else Role.NEEDED
