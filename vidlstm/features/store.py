"""The feature store: the features of each clip on disk, so that each clip is decoded and encoded once.

An entry is one file for one stream of one clip. Its name is a hash of the file's identity (path, size,
inode, times) and of the recipe (sampling, stream, encoder and the digest of its weights,
preprocessing). A clip is therefore extracted again after a change of the file or of an option, and only
then. An entry holds its own name and a checksum, which are verified on reading: a damaged entry counts as
missing. So entries need not be flushed to disk one by one.

Entries are safetensors files. Reading one runs no code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from vidlstm.errors import FailureCode, InputError
from vidlstm.files import write_atomically
from vidlstm.records import ClipInfo, Problem
from vidlstm.stores import address_of, ahead, version_of

NETWORKS = "networks"
"""Folder beside the features for networks that were converted for a backend."""

Array = NDArray[np.float16] | NDArray[np.uint8]
_OWN_NAME = re.compile(r"[0-9a-f]{32}\.safetensors$|\.[0-9a-f]{32}\.safetensors\.")
_OWN_NETWORK = re.compile(r"[0-9a-f]{32}$|\.[0-9a-f]{32}\.")


@dataclass(frozen=True)
class StreamFeatures:
    """The features of one stream of one clip.

    Args:
        values: float16, or uint8 pixels. For a sequence stream `(M, V, T, D)`: M = 2 if the mirrored clip
            is stored, too; V views of T steps. For a summary stream `(M, D)`.
        info: Facts about the clip that were found while reading it.
    """

    values: Array
    info: ClipInfo


def clip_identity(path: Path) -> str:
    """Return a text that changes when the clip is replaced, moved or written to.

    Path, size and modification time are not enough: two clips of equal size and time may be swapped by
    `mv`, or one copied over the other by `cp -p`. The first changes the inode, and both change the time of
    the last status change (ctime). One call to `stat` returns all of them: 0.4 CPU seconds for 100,000 files;
    hashing the first, middle and last 64 KiB takes 49 (`python -m tests.benchmarks.identity`). A change of
    permissions also changes ctime, and so causes a new extraction. In an object store, the store reports
    the version.

    Raises:
        OSError: The clip cannot be accessed.
        InputError: The same, in a store.
    """
    if (address := address_of(path)) is not None:
        version = version_of(address)
        if version is None:
            raise InputError(address, FailureCode.READ_ERROR, "has no version")
        return f"{address!r} {version}"
    absolute = os.path.abspath(path)  # noqa: PTH100 - half the time of Path.absolute
    status = os.stat(absolute)  # noqa: PTH116
    if not stat.S_ISDIR(status.st_mode):
        return f"{absolute!r} {_version(status)}"
    with os.scandir(absolute) as entries:  # a folder of frames
        frames = sorted((entry.name, _version(entry.stat())) for entry in entries)
    return f"{absolute!r} {frames!r}"


def identities(paths: Iterable[Path]) -> Iterator[tuple[Path, str | None]]:
    """Yield each clip with its identity, in order; None if it cannot be accessed, or has no version."""
    return ahead(_with_identity, paths)


def _with_identity(path: Path) -> tuple[Path, str | None]:
    try:
        return path, clip_identity(path)
    except (OSError, InputError):  # reported when the file is read
        return path, None


def _version(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino} {status.st_ctime_ns}"


def entry_key(identity: str, recipe: Mapping[str, Any]) -> str:
    """Return the name of an entry from the identity of a clip and the recipe of one of its streams."""
    text = json.dumps([identity, recipe], sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def default_root() -> Path:
    """Return `$VIDLSTM_CACHE_DIR`, otherwise the user's cache folder.

    A user without a home folder, e.g. in a container or a scheduled job, gets a temporary folder.
    """
    if named := os.environ.get("VIDLSTM_CACHE_DIR"):
        return Path(named)
    with contextlib.suppress(RuntimeError):  # of a newer platformdirs; an older one returns `~/...`
        root = Path(platformdirs.user_cache_dir("vidlstm"))
        if root.is_absolute():
            return root
    return Path(_temporary_root().name)


@functools.cache
def _temporary_root() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vidlstm-", ignore_cleanup_errors=True)


class FeatureStore:
    """Entries under one folder.

    Args:
        root: The folder; created with the first entry.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else root
        self.write_error: OSError | None = None
        """The error if an entry could not be written (full disk, no permission)."""

    def _file(self, key: str) -> Path:
        return self.root / "features" / key[:2] / f"{key}.safetensors"

    def get(self, key: str) -> StreamFeatures | None:
        """Return an entry; None if there is none, or if it is damaged."""
        try:
            with safe_open(self._file(key), "np") as entry:
                metadata = entry.metadata() or {}
                values: Array = entry.get_tensor("values")
            if metadata["checksum"] != _checksum(key, metadata["info"], values):
                return None
            return StreamFeatures(values, _info_from_json(metadata["info"]))
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return None

    def put(self, key: str, features: StreamFeatures) -> None:
        """Write an entry. If that fails, the error is kept in `write_error`."""
        info = json.dumps(asdict(features.info))
        values = np.ascontiguousarray(features.values)
        metadata = {"info": info, "checksum": _checksum(key, info, values)}
        data = serialise({"values": values}, metadata=metadata)
        file = self._file(key)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, data, durable=False)
        except OSError as error:
            self.write_error = error

    def measure(self) -> tuple[int, int]:
        """Return the number of entries and their size in bytes."""
        sizes = []
        for file in (self.root / "features").glob("*/*.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # another run cleared it
                sizes.append(file.stat().st_size)
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        """Remove all entries, cached networks and temporary files of killed runs, and no other file.

        Raises:
            OSError: An entry cannot be removed.
        """
        for folder in (self.root / "features").glob("[0-9a-f][0-9a-f]"):
            for file in folder.iterdir():
                if _OWN_NAME.match(file.name):
                    file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds other files
                folder.rmdir()
        for network in (self.root / NETWORKS).glob("*"):
            if _OWN_NETWORK.match(network.name):
                shutil.rmtree(network)


def _checksum(key: str, info: str, values: NDArray[Any]) -> str:
    text = f"{key} {info} {values.dtype.str} {values.shape}"
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    digest.update(values.data)
    return digest.hexdigest()


def _info_from_json(text: str) -> ClipInfo:
    plain = json.loads(text)
    problem = plain.pop("problem")
    info = ClipInfo(**{**plain, "notes": tuple(plain.get("notes", ()))})
    return (
        info
        if problem is None
        else replace(info, problem=Problem(FailureCode(problem["code"]), problem["message"]))
    )
