"""Parse the name of a live source, and mask its credentials for output."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidlstm.errors import UsageError

Kind = Literal["camera", "rtsp", "http", "pipe", "file"]

_SCHEMES: dict[str, Kind] = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DELIMITERS = re.compile(r"[/?#]")
_HOST = re.compile(r"[^/:?#@]+[/:]")


@dataclass(frozen=True)
class Address:
    """A live source.

    Args:
        kind: Kind of source.
        text: The name as given; may contain a password.
        shown: The name for output, without the password.
    """

    kind: Kind
    text: str
    shown: str

    @property
    def reopens(self) -> bool:
        """Whether the source is reopened when it is lost."""
        return self.kind in ("camera", "rtsp", "http")


def parse_address(text: str, *, realtime: bool = False) -> Address:
    """Return the source that a name refers to.

    Args:
        text: A camera number, a device, an address, `-`, or a file.
        realtime: The name is a file, to be replayed at its original speed.

    Raises:
        UsageError: The name is none of these, or `realtime` does not apply to it.
    """
    if realtime:
        if text == "-" or (_ADDRESS.match(text) and not Path(text).exists()):
            raise UsageError(f"`realtime=True`: {masked(text)} is live; only files are replayed")
        return Address("file", text, text)
    if text == "-":
        return Address("pipe", text, "standard input")
    if scheme := _ADDRESS.match(text):
        kind = _SCHEMES.get(scheme[1].lower())
        if kind is None:
            raise UsageError(f"{masked(text)}: {scheme[1]}:// is not supported; rtsp, rtsps, http, https are")
        return Address(kind, text, masked(text))
    if text.isdecimal() or _is_device(text):
        return Address("camera", text, f"camera {text}" if text.isdecimal() else text)
    if Path(text).exists():
        raise UsageError(
            f"{text}: is a file; `vidlstm spans` finds the actions in it, and `realtime` replays it live"
        )
    raise UsageError(
        f"{text}: is not a live source; give a camera number, a device, an rtsp:// or http:// address, or -"
    )


def masked(text: str) -> str:
    """Return an address with the password and all `=values` masked.

    Masks too much rather than too little: a password may contain any character, including delimiters.
    """
    scheme = _ADDRESS.match(text)
    if scheme is None:
        return text
    login, at, place = text[scheme.end() :].rpartition("@")
    user, colon, _ = login.partition(":")
    if _DELIMITERS.search(login):  # the @ is part of a path or query, or the delimiter of a password
        host = _HOST.match(login)
        return f"{scheme[0]}{host[0] if host else ''}***"
    shown = (f"{user}:***@" if colon else "***@") if at else ""
    path, question, query = place.partition("?")
    if "=" in path:  # as in the addresses of many video recorders
        return f"{scheme[0]}{shown}{path.partition('=')[0]}=***"
    values = "&".join(_masked_value(pair) for pair in query.split("&")) if query else ""
    return f"{scheme[0]}{shown}{path}{question}{values}"


def _masked_value(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}=***" if equals else "***"


def _is_device(text: str) -> bool:
    if text.startswith("/dev/"):
        return True
    try:
        return stat.S_ISCHR(os.stat(text).st_mode)  # noqa: PTH116 - Path raises on an invalid name
    except (OSError, ValueError):
        return False
