"""Files in object stores and on web servers, through fsspec (extra `cloud`): addresses, listings, downloads.

Credentials come from the same places as for the store's own tools: the environment, configuration files, the
machine's role. Error messages of a store's library may contain credentials, so they are never shown.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from vidlstm.errors import DataError, FailureCode, InputError, UsageError

if TYPE_CHECKING:
    _Path = Path
else:
    _Path = type(Path())  # before Python 3.12, only this system's own class can be extended

T = TypeVar("T")

SCHEMES = ("s3", "gs", "hf", "https", "file")
"""Schemes of the addresses that are read. Nothing else reaches the network."""

_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/+(.*)", re.DOTALL)
_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*:[^/]*@", re.IGNORECASE)  # either part may contain @
_KEPT = "\ue000"  # marks parts of an address that a path would drop: empty names, `.` and `..`
_BLOCK = 1 << 20
_AT_ONCE = 16  # requests
_VERSION_KEYS = (  # the fields in which stores report that a file has changed
    "ETag", "etag", "Content-MD5", "Last-Modified", "LastModified", "md5Hash", "crc32c", "updated", "blob_id",
)  # fmt: skip


class StorePath(_Path):
    """The path of a file or folder in a store. As text, it is the address.

    It can be joined and split like any path, but for the operating system there is no such file.
    """

    __slots__ = ()

    def __str__(self) -> str:
        text = super().__str__().replace(os.sep, "/").replace(_KEPT, "")
        found = _ADDRESS.fullmatch(text)
        return text if found is None else f"{found[1]}://{found[2]}"


def is_address(name: str) -> bool:
    """Tell whether a name is the address of a file or folder in a store."""
    return name.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def is_in_store(name: str) -> bool:
    """Tell whether a name is an address of anything but a file of this machine."""
    return address_of(to_path(name)) is not None


def has_password(name: str) -> bool:
    """Tell whether a name is an address with a password, of a store or of a camera."""
    return _PASSWORD.match(name) is not None


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
    """Return the path for a name: that of a file, or one that `address_of` turns back into the address.

    The address of a folder comes back without its last slash.
    """
    if name.startswith("file://"):
        return Path(name.removeprefix("file://"))
    if not is_address(name):
        return Path(name)
    scheme, _, rest = name.rstrip("/").partition("://")
    parts = [_KEPT + part if part in ("", ".", "..") else part for part in rest.split("/")]
    return StorePath(f"{scheme}:/" + "/".join(parts))


def address_of(path: Path) -> str | None:
    """Return the address that a path stands for; None for a local file."""
    found = None if path.is_absolute() else _ADDRESS.fullmatch(path.as_posix())
    return None if found is None else f"{found[1]}://{found[2].replace(_KEPT, '')}"


def path_in(folder: Path, name: str) -> Path:
    """Return the path for a name in a list or table: an address, or relative to a folder.

    Raises:
        UsageError: The name is an address with a password.
    """
    if is_address(name):
        refuse_passwords(name)
        return to_path(name)
    if address_of(folder) is None:
        return folder / name
    while name.startswith(("./", "../")):
        step, _, name = name.partition("/")
        folder = folder.parent if step == ".." else folder
    return to_path(f"{folder}/{name}")


def require_store(address: str) -> None:
    """Check an address before anything is read.

    Raises:
        UsageError: It contains a password, or the package for the store is not installed.
    """
    _open(address)


def is_folder(address: str) -> bool:
    """Tell whether an address is that of a folder; on a web server it then ends with a slash.

    Raises:
        UsageError: The package for the store is not installed.
        DataError: The store does not answer.
    """
    if address.endswith("/") or address.startswith("https://"):
        return address.endswith("/")  # asking a web server would download the file
    return _is(address, "isdir")


def has_file(address: str) -> bool:
    """Tell whether there is a file at an address.

    Raises:
        UsageError: The package for the store is not installed.
        DataError: The store does not answer.
    """
    return _is(address, "isfile")


def _is(address: str, question: Literal["isdir", "isfile"]) -> bool:
    system, path = _open(address)
    try:
        return bool(getattr(system, question)(path))
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
    info = _info(address)
    if info.get("type") == "directory":
        raise InputError(address, FailureCode.NOT_A_FILE, "is a folder in a store, not a file")
    size = info.get("size")
    return None if size is None else int(size)


def version_of(address: str) -> str | None:
    """Return a text that changes when a file changes; None if the store reports none.

    Raises:
        InputError: The file cannot be read.
    """
    info = _info(address)
    known = [f"{key}={info[key]}" for key in _VERSION_KEYS if info.get(key)]
    return " ".join([f"{info.get('size')} bytes", *known]) if known else None


def _info(address: str) -> dict[str, Any]:
    try:
        system, path = _open(address)
        found: dict[str, Any] = system.info(path)
    except Exception as error:
        raise _as_input_error(address, error) from None
    return found


def ahead(call: Callable[[Path], T], paths: Iterable[Path]) -> Iterator[T]:
    """Yield `call(path)` for each path, in order; for files in stores, several requests are made at once."""
    waiting: deque[Callable[[], T]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for path in paths:
            if address_of(path) is not None:
                waiting.append(threads.submit(call, path).result)
            elif waiting:
                waiting.append(partial(call, path))
            else:
                yield call(path)
            if len(waiting) > 2 * _AT_ONCE:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()


def fetch(address: str, target: Path, max_bytes: int) -> None:
    """Download a file from a store.

    Args:
        address: Address of the file.
        target: Path of the copy.
        max_bytes: Maximum size.

    Raises:
        InputError: The file cannot be read, or is larger.
    """
    with opened(address) as source, target.open("wb") as copy:
        while block := source.read(_BLOCK):
            copy.write(block)
            if copy.tell() > max_bytes:
                raise InputError(address, FailureCode.TOO_LARGE, f"has more than {max_bytes:,} bytes")


@contextlib.contextmanager
def opened(address: str, *, whole: bool = True) -> Iterator[Any]:
    """Open a file in a store, to read all of it from the start, or only the requested parts.

    Raises:
        InputError: The file cannot be read, or an `OSError` was raised meanwhile.
    """
    options: dict[str, Any] = {"block_size": 8 * _BLOCK, "cache_type": "readahead" if whole else "none"}
    if whole and address.startswith("https://"):
        options = {"block_size": 0}  # as a stream: many web servers do not support partial downloads
    try:
        system, path = _open(address)
        with system.open(path, "rb", **options) as file:
            yield file
    except InputError:
        raise
    except Exception as error:
        raise _as_input_error(address, error) from None


def _open(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises:
        UsageError: The address contains a password, or the package for the store is not installed.
    """
    refuse_passwords(address)
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
    error = _cause(error)
    if isinstance(error, UsageError):
        return InputError(address, FailureCode.READ_ERROR, str(error).partition(": ")[2])
    code = FailureCode.READ_ERROR
    if isinstance(error, FileNotFoundError):
        code = FailureCode.NOT_FOUND
    elif isinstance(error, PermissionError):
        code = FailureCode.PERMISSION
    return InputError(address, code, _why(error))


def _cause(error: Exception) -> Exception:
    """Return what went wrong with a web server when fsspec reports only that the file does not exist."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or not type(cause).__module__.startswith("aiohttp"):
        return error
    status = getattr(cause, "status", None)
    if status in (401, 403):
        return PermissionError()
    return error if status == 404 or not isinstance(cause, Exception) else cause


def _why(error: Exception) -> str:
    """Return a message without the text of the store's library."""
    error = _cause(error)
    if isinstance(error, FileNotFoundError):
        return "no such file in the store"
    if isinstance(error, PermissionError):
        return "the store does not permit reading it"
    if isinstance(error, ssl.CertificateError):
        return "cannot be downloaded: the server's certificate is not trusted"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on this machine to download it"
    if isinstance(error, OSError) and error.errno:
        return f"cannot be downloaded: {os.strerror(error.errno)}"
    return f"cannot be downloaded ({type(error).__name__})"
