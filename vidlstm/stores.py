"""Files in object stores and on web servers, through fsspec (extra `cloud`): addresses, listings, downloads.

Credentials come from where the store's own tools take them: the environment, configuration files, the
machine's role. Error messages of a store's library may contain them, so they are never shown.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidlstm.errors import DataError, FailureCode, InputError, UsageError

SCHEMES = ("s3", "gs", "hf", "https", "file")
"""Schemes of the addresses that are read. Nothing else reaches the network."""

_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/+(.*)", re.DOTALL)
_PASSWORD = re.compile(r"[a-z0-9]+://[^/@]*:[^/@]*@")
_KEPT = "\ue000"  # marks parts of an address that a path would drop: empty names, `.` and `..`
_BLOCK = 1 << 20


def is_address(name: str) -> bool:
    """Tell whether a name is the address of a file or folder in a store."""
    return name.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def refuse_passwords(name: str) -> None:
    """Refuse an address with a password, because rows repeat names.

    Raises:
        UsageError: The address has a password.
    """
    if found := _PASSWORD.match(name):
        scheme = found[0].partition("://")[0]
        raise UsageError(
            f"{scheme}://...@{name[found.end() :]}: contains a password, which rows would repeat; "
            "give it where the store's own tools look for it, such as in the environment or ~/.netrc"
        )


def to_path(name: str) -> Path:
    """Return the path for a name: that of a file, or one that `address_of` turns back into the address."""
    if name.startswith("file://"):
        return Path(name.removeprefix("file://"))
    if not is_address(name):
        return Path(name)
    scheme, _, rest = name.partition("://")
    parts = [_KEPT + part if part in ("", ".", "..") else part for part in rest.split("/")]
    return Path(f"{scheme}:/" + "/".join(parts))


def address_of(path: Path) -> str | None:
    """Return the address that a path stands for; None for a local file."""
    found = _ADDRESS.fullmatch(path.as_posix())
    if found is None or path.is_absolute():
        return None
    return f"{found[1]}://" + "/".join(part.removeprefix(_KEPT) for part in found[2].split("/"))


def is_folder(address: str) -> bool:
    """Tell whether an address is that of a folder.

    Raises:
        UsageError: The package for the store is not installed.
        DataError: The store does not answer.
    """
    if address.endswith("/"):
        return True
    system, path = _open(address)
    try:
        return bool(system.isdir(path))
    except Exception as error:
        raise DataError(f"{address}: {_why(error)}") from None


def walk_store(address: str) -> Iterator[str]:
    """Yield the address of every file below a folder, sorted by name within each folder.

    Raises:
        UsageError: The package for the store is not installed.
        DataError: A folder cannot be listed.
    """
    system, root = _open(address)
    prefix = (
        address[: len(address) - len(root)] if address.endswith(root) else f"{address.split('://')[0]}://"
    )
    pending = [(root.rstrip("/"), True)]
    while pending:
        path, is_dir = pending.pop()
        if not is_dir:
            yield prefix + path
            continue
        try:
            found = system.ls(path, detail=True)
        except Exception as error:
            raise DataError(f"{prefix}{path}: cannot be listed: {_why(error)}") from None
        entries = sorted(
            ((str(entry["name"]).rstrip("/"), entry["type"] == "directory") for entry in found), reverse=True
        )
        pending += [
            entry for entry in entries if entry[0] != path and not entry[0].rpartition("/")[2].startswith(".")
        ]


def size_of(address: str) -> int | None:
    """Return the size of a file in bytes; None if the server does not report it.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        system, path = _open(address)
        info = system.info(path)
    except Exception as error:
        raise _as_input_error(address, error) from None
    if info.get("type") == "directory":
        raise InputError(address, FailureCode.NOT_A_FILE, "is a folder in a store, not a file")
    size = info.get("size")
    return None if size is None else int(size)


def fetch(address: str, target: Path, max_bytes: int) -> None:
    """Download a file from a store.

    Args:
        address: Address of the file.
        target: Path of the copy.
        max_bytes: Maximum size.

    Raises:
        InputError: The file cannot be read, or is larger.
    """
    try:
        system, path = _open(address)
        options = {"block_size": 8 * _BLOCK, "cache_type": "readahead"}
        with system.open(path, "rb", **options) as source, target.open("wb") as copy:
            while block := source.read(_BLOCK):
                copy.write(block)
                if copy.tell() > max_bytes:
                    raise InputError(address, FailureCode.TOO_LARGE, f"has more than {max_bytes:,} bytes")
    except InputError:
        raise
    except Exception as error:
        raise _as_input_error(address, error) from None


def _open(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError:
        scheme = address.partition("://")[0]
        raise UsageError(
            f"{address}: reading {scheme}:// needs more packages; pip install 'vidlstm[cloud]'"
        ) from None
    return system, str(path)


def _as_input_error(address: str, error: Exception) -> InputError:
    if isinstance(error, UsageError):
        return InputError(address, FailureCode.READ_ERROR, str(error).partition(": ")[2])
    code = FailureCode.READ_ERROR
    if isinstance(error, FileNotFoundError):
        code = FailureCode.NOT_FOUND
    elif isinstance(error, PermissionError):
        code = FailureCode.PERMISSION
    return InputError(address, code, _why(error))


def _why(error: Exception) -> str:
    """Return a message without the text of the store's library."""
    if isinstance(error, FileNotFoundError):
        return "no such file in the store"
    if isinstance(error, PermissionError):
        return "the store does not permit reading it"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on this machine to download it"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be downloaded: {os.strerror(error.errno)}"
    return f"cannot be downloaded ({type(error).__name__})"
