"""The role of an H.264 picture, read from the bytes of its packet."""

from __future__ import annotations

import pytest

from vidlstm.media.video.pyav.h264 import BrokenPacketError, Role, length_size, role_of

# NAL units. The header byte is `nal_ref_idc` << 5 | type; in a picture's first slice, the next bit is 1.
IDR, REFERRED, SPARE, LATER_SLICE = b"\x65\x88\x84", b"\x41\x9a\x21", b"\x01\x9e\x41", b"\x01\x40\x41"
SPS, PPS, REMARK, DELIMITER = b"\x67\x64\x00", b"\x68\xee\x3c", b"\x06\x05\x10", b"\x09\xf0"


def packet(*units: bytes, size_bytes: int = 4) -> memoryview:
    return memoryview(b"".join(len(unit).to_bytes(size_bytes, "big") + unit for unit in units))


@pytest.mark.parametrize(
    ("units", "role"),
    [
        ([IDR], Role.START),
        ([SPS, PPS, REMARK, IDR], Role.START),
        ([REFERRED], Role.NEEDED),
        ([SPARE], Role.SPARE),
        ([DELIMITER, REMARK, SPARE], Role.SPARE),
        ([SPARE, LATER_SLICE], Role.SPARE),
        ([PPS, SPARE], Role.NEEDED),  # later pictures may need the parameters
        ([SPARE, REFERRED], Role.NEEDED),  # two fields, one of which is a reference
        ([SPARE, SPARE], Role.NEEDED),  # two fields or two pictures: not distinguished
        ([LATER_SLICE], Role.NEEDED),  # the start of the picture is missing
        ([REMARK], Role.NEEDED),  # no picture at all
        ([b"\x1f\x9e\x41"], Role.NEEDED),  # an unknown type of unit
    ],
)
@pytest.mark.parametrize("size_bytes", [2, 4])
def test_the_role_of_a_picture(units: list[bytes], role: Role, size_bytes: int) -> None:
    assert role_of(packet(*units, size_bytes=size_bytes), size_bytes) is role


@pytest.mark.parametrize(
    "content",
    [
        packet(SPARE)[:-1],
        bytes(packet(SPARE)) + b"\0",
        bytes(packet(SPARE)) + bytes(8),
        b"\xff" * 20,
        packet(b"\x81\x9e\x41"),  # the bit that must be 0
        packet(b"\x01"),  # a header without content
        bytes(4),
    ],
)
def test_a_damaged_packet_has_no_role(content: bytes) -> None:
    with pytest.raises(BrokenPacketError):
        role_of(memoryview(content), 4)


def test_size_of_the_length_fields() -> None:
    assert length_size(b"\x01\x64\x00\x1e\xff\xe1\x00") == 4
    assert length_size(b"\x01\x64\x00\x1e\xfd\xe1\x00") == 2
    for other in (b"", b"\x01\x64", b"\0\0\0\x01\x67\x64\x00\x1e"):  # start codes instead of lengths
        with pytest.raises(BrokenPacketError):
            length_size(other)
