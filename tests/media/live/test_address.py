"""Names of live sources, and masked passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidlstm.errors import UsageError
from vidlstm.media.live.address import Address, masked, parse_address


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rtsp://user:secret@camera/1", "rtsp://user:***@camera/1"),
        ("rtsp://user:se@cr:et@camera:554/1", "rtsp://user:***@camera:554/1"),
        ("rtsp://user:se@c/r:e?t#@camera:554/1", "rtsp://user:***"),  # or an @ in a query
        ("rtsp://se?cret@camera/1", "rtsp://***"),
        ("http://secret@camera/video", "http://***@camera/video"),
        ("http://camera/cgi?user=me&pwd=secret", "http://camera/cgi?user=***&pwd=***"),
        ("http://camera/cgi?secret", "http://camera/cgi?***"),
        ("http://camera/cgi?pwd=sec#ret;secret&secret", "http://camera/cgi?pwd=***&***"),
        ("http://camera/v?user=me@x.org&pwd=secret", "http://camera/***"),
        ("http://camera:80/v?pwd=sec@secret", "http://camera:***"),
        ("rtsp://10.0.0.2:554/user=admin&password=secret&channel=1.sdp", "rtsp://10.0.0.2:554/user=***"),
        ("rtsp://10.0.0.2:554/user=admin&password=sec@secret", "rtsp://10.0.0.2:***"),
        ("rtsp://me:secret@camera/password=secret?channel=1", "rtsp://me:***@camera/password=***"),
        ("https://camera/live.m3u8", "https://camera/live.m3u8"),
        ("film.mp4", "film.mp4"),
    ],
)
def test_passwords_are_masked(given: str, shown: str) -> None:
    assert masked(given) == shown


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("0", Address("camera", "0", "camera 0")),
        ("/dev/video2", Address("camera", "/dev/video2", "/dev/video2")),
        ("rtsp://u:p@c/1", Address("rtsp", "rtsp://u:p@c/1", "rtsp://u:***@c/1")),
        ("HTTPS://c/live.m3u8", Address("http", "HTTPS://c/live.m3u8", "HTTPS://c/live.m3u8")),
        ("-", Address("pipe", "-", "standard input")),
    ],
)
def test_kinds(given: str, address: Address) -> None:
    assert parse_address(given) == address
    assert address.reopens == (address.kind != "pipe")


def test_a_file_is_replayed_only_when_asked_for(tmp_path: Path) -> None:
    film = tmp_path / "0"
    film.write_bytes(b"x")
    assert parse_address(str(film), realtime=True) == Address("file", str(film), str(film))
    with pytest.raises(
        UsageError, match="is a file; `vidlstm spans` finds the actions in it, and `realtime`"
    ):
        parse_address(str(film))


@pytest.mark.parametrize(
    ("given", "realtime", "message"),
    [
        ("ftp://u:secret@c/1", False, r"^ftp://u:\*\*\*@c/1: ftp:// is not supported; rtsp, rtsps, http"),
        ("nowhere", False, "nowhere: is not a live source; give a camera number"),
        ("rtsp://u:secret@c/1", True, r"rtsp://u:\*\*\*@c/1 is live; only files are replayed"),
        ("-", True, "- is live; only files are replayed"),
    ],
)
def test_invalid_sources(given: str, realtime: bool, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parse_address(given, realtime=realtime)
    assert "secret" not in str(raised.value)
