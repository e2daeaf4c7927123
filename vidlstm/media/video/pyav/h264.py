"""Read the role of an H.264 picture from its packet, without decoding it.

In MP4 and Matroska a packet is a sequence of NAL units, each preceded by its length (ITU-T H.264 7.3.1,
7.4.1; ISO/IEC 14496-15 5.3). A picture whose slices all have `nal_ref_idc` 0 is not a reference for any
other picture, so skipping it changes nothing else. A picture of IDR slices depends on nothing before it.
"""

from __future__ import annotations

from enum import Enum

_SLICE = 1
_IDR_SLICE = 5
_BESIDE_SLICES = (6, 9, 12)
"""SEI, access unit delimiter, filler data: not needed by other pictures."""


class Role(Enum):
    """Whether other pictures need this one."""

    START = "decoding can start here"
    NEEDED = "other pictures may refer to it"
    SPARE = "no other picture refers to it"


class BrokenPacketError(ValueError):
    """The bytes are not a sequence of NAL units."""


def length_size(extradata: bytes) -> int:
    """Return the number of bytes of a NAL unit's length field: 1, 2 or 4.

    Args:
        extradata: The stream's `avcC` record.

    Raises:
        BrokenPacketError: There is no such record, so the packets have no length fields.
    """
    if len(extradata) < 7 or extradata[0] != 1:
        raise BrokenPacketError
    return (extradata[4] & 3) + 1


def role_of(packet: memoryview, size_bytes: int) -> Role:
    """Return the role of the picture in a packet.

    Args:
        packet: The bytes of the packet.
        size_bytes: Number of bytes of a length field.

    Raises:
        BrokenPacketError: The packet is damaged.
    """
    place, end = 0, len(packet)
    pictures, is_start, is_spare = 0, False, True
    while place < end:
        first = place + size_bytes
        place = first + int.from_bytes(packet[first - size_bytes : first], "big")
        # The highest bit of the NAL header is always 0; a slice has another header after it.
        if not first + 1 < place <= end or packet[first] & 0x80:
            raise BrokenPacketError
        kind = packet[first] & 31
        if kind in (_SLICE, _IDR_SLICE):
            pictures += packet[first + 1] >> 7  # first_mb_in_slice is 0, so a new picture begins
            is_start |= kind == _IDR_SLICE
            is_spare &= not packet[first] & 0x60
        else:
            is_spare &= kind in _BESIDE_SLICES
    if is_start:
        return Role.START
    return Role.SPARE if is_spare and pictures == 1 else Role.NEEDED
