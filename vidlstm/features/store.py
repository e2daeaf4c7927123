"""The feature store: what a clip's streams gave, on disk, so that each is decoded and encoded once.

An entry is one file for one stream of one clip. Its name is a hash of the clip's identity (where it
lies, its size, when it was last written) and of the recipe (sampling, stream, encoder and the
digest of its weights, preprocessing), so a touched file or a changed option finds no entry and is
extracted again, and nothing else is. Entries are written beside and renamed: a killed run leaves no
half entry, and two runs at once at worst do the same work twice.

Entries are safetensors files: they can be memory-mapped, and reading one runs no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from vidlstm.errors import FailureCode
from vidlstm.files import write_atomically
from vidlstm.records import ClipInfo, Problem

NETWORKS = "networks"
"""Folder beside the features for networks that were converted for a backend."""

Array = NDArray[np.float16] | NDArray[np.uint8]
_OWN_NAME = re.compile(r"[0-9a-f]{32}\.safetensors$|\.[0-9a-f]{32}\.safetensors\.")
_OWN_NETWORK = re.compile(r"[0-9a-f]{32}$|\.[0-9a-f]{32}\.")


@dataclass(frozen=True)
class StreamFeatures:
    """What one stream gave for one clip.

    Args:
        values: float16, or uint8 pixels. A sequence stream: `(M, V, T, D)`, with M = 2 where the
            mirrored clip is kept too, V views of T steps. A summary stream: `(M, D)`.
        info: What reading the clip told.
    """

    values: Array
    info: ClipInfo


def clip_identity(path: Path) -> str:
    """Return what changes whenever the clip is replaced, moved or touched.

    Raises:
        OSError: The clip cannot be looked at.
    """
    path = path.absolute()
    if path.is_dir():  # a folder of frames
        with os.scandir(path) as entries:
            parts = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries)
        return f"{os.fspath(path)!r} {parts!r}"
    status = path.stat()
    return f"{os.fspath(path)!r} {status.st_size} {status.st_mtime_ns}"


def entry_key(identity: str, recipe: Mapping[str, Any]) -> str:
    """Return the name of the entry for a clip and the recipe of one of its streams."""
    text = json.dumps([identity, recipe], sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def default_root() -> Path:
    """Return `$VIDLSTM_CACHE_DIR`, else the user's cache folder."""
    return Path(os.environ.get("VIDLSTM_CACHE_DIR") or platformdirs.user_cache_path("vidlstm"))


class FeatureStore:
    """Entries under one folder.

    Args:
        root: The folder; made when the first entry is written.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else root
        self.write_error: OSError | None = None
        """Set once an entry could not be written (full disk, no permission): features then live in
        memory only."""

    def _file(self, key: str) -> Path:
        return self.root / "features" / key[:2] / f"{key}.safetensors"

    def get(self, key: str) -> StreamFeatures | None:
        """Return an entry, or None when there is none that can be read."""
        try:
            with safe_open(self._file(key), "np") as entry:
                info = _info_from_json((entry.metadata() or {})["info"])
                return StreamFeatures(entry.get_tensor("values"), info)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return None

    def put(self, key: str, features: StreamFeatures) -> None:
        """Write an entry; a disk that takes no more is remembered in `write_error`, not raised."""
        data = serialise(
            {"values": np.ascontiguousarray(features.values)},
            metadata={"info": json.dumps(asdict(features.info))},
        )
        file = self._file(key)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, data, durable=False)  # reading checks it
        except OSError as error:
            self.write_error = error

    def measure(self) -> tuple[int, int]:
        """Return the number of entries and their bytes."""
        sizes = []
        for file in (self.root / "features").glob("*/*.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # another run cleared it just now
                sizes.append(file.stat().st_size)
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        """Remove every entry and network and what killed runs left of one, and nothing that is not our own.

        Raises:
            OSError: An entry cannot be removed.
        """
        for folder in (self.root / "features").glob("[0-9a-f][0-9a-f]"):
            for file in folder.iterdir():
                if _OWN_NAME.match(file.name):
                    file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else lies in it
                folder.rmdir()
        for network in (self.root / NETWORKS).glob("*"):
            if _OWN_NETWORK.match(network.name):
                shutil.rmtree(network)


def _info_from_json(text: str) -> ClipInfo:
    plain = json.loads(text)
    problem = plain.pop("problem")
    info = ClipInfo(**plain)
    return (
        info
        if problem is None
        else replace(info, problem=Problem(FailureCode(problem["code"]), problem["message"]))
    )
