"""What a checkpoint says of itself, read without its tensors and without torch.

So a command knows in a few milliseconds what the model wants, and whether the file is one at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vidlstm.config import ModelConfig, from_dict
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.models.pose_weights import PoseWeights

FILE = "model.safetensors"
"""Name of the checkpoint in a run folder."""
EXPORTED = "model.json"
"""Name of the file that describes an exported model in its folder."""
FORMAT = "vidlstm"
VERSION = 5  # 1: members one by one; 2: "control" for baseline; 3: scores without a bound; 4: no novelty
BASELINE = "baseline"
"""What the names of the baseline's tensors begin with: it is no part of the model."""
POSE = ("pose.detector", "pose.landmarks")
"""Names under which the files of the networks that find people stand, as bytes."""

_MAX_WIDTH = 1_000_000
_DAMAGE = (
    SafetensorError, OSError, KeyError, ValueError, TypeError, UsageError, AttributeError, OverflowError,
    RecursionError, MemoryError,
)  # fmt: skip


def checkpoint_file(path: Path) -> Path:
    """Return the file that a path names: itself; in a folder, its checkpoint or an export's `model.json`."""
    if not path.is_dir():
        return path
    exported = path / EXPORTED
    return exported if exported.is_file() and not (path / FILE).is_file() else path / FILE


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself."""

    config: ModelConfig
    widths: dict[str, int]
    training: dict[str, Any]
    num_parameters: int


def read_header(path: Path) -> Header:
    """Read what a checkpoint says of itself, or an exported model's `model.json`.

    Raises:
        CheckpointError: It is missing, damaged, foreign or from another version.
    """
    if is_exported(path):
        from vidlstm.models.exported import read_exported_header

        return read_exported_header(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint; `vidlstm train DATA` makes one")
    if path.name == "last.pt":
        raise CheckpointError(f"{path}: is there to resume the training; the model is {path.with_name(FILE)}")
    with as_checkpoint_errors(path), safe_open(path, "np") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise CheckpointError(f"{path}: a safetensors file, but not a vidlstm checkpoint")
        if int(metadata["version"]) > VERSION:
            raise CheckpointError(
                f"{path}: made by a newer vidlstm (format {metadata['version']}, this one reads "
                f"{VERSION}); pip install --upgrade vidlstm"
            )
        if int(metadata["version"]) < VERSION:
            raise CheckpointError(
                f"{path}: made by an older vidlstm (format {metadata['version']}, this one reads {VERSION}); "
                "`vidlstm train` it again"
            )
        config = from_dict(ModelConfig, _read_json(metadata["config"]))
        widths = _check_widths(_read_json(metadata["widths"]), config)
        training = _check_training(_read_json(metadata["training"]))
        shapes = [
            file.get_slice(name).get_shape()
            for name in file.keys()  # noqa: SIM118 - not a dict
            if not name.startswith(f"{BASELINE}.") and name not in POSE
        ]
    return Header(config, widths, training, sum(map(math.prod, shapes)))


def _read_json(text: str) -> Any:
    """Read what JSON allows: no NaN, no Infinity, and no half of a surrogate pair.

    Raises:
        ValueError: It is something else.
        RecursionError: It is nested too deep.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    found = json.loads(text, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def _check_widths(widths: dict[str, Any], config: ModelConfig) -> dict[str, int]:
    fits = set(config.streams) <= set(widths) and all(type(width) is int for width in widths.values())
    if not fits or not all(1 <= width <= _MAX_WIDTH for width in widths.values()):
        raise ValueError(f"widths {widths} do not fit the streams")
    return widths


def _check_training(training: Any) -> dict[str, Any]:
    """Check the facts that commands use. Whoever only prints facts takes any."""
    parts: dict[str, type] = {"num_clips": dict, "settings": dict, "learned_from": list}
    if not isinstance(training, dict) or any(
        not isinstance(training[name], kind) for name, kind in parts.items() if name in training
    ):
        raise TypeError("the facts about the training are not what they should be")
    return training


def read_pose_weights(path: Path) -> PoseWeights:
    """Read the networks that find people from the checkpoint of a model with the `pose` stream.

    Raises:
        CheckpointError: It has none, or is damaged.
    """
    with as_checkpoint_errors(path), safe_open(path, "np") as file:
        return PoseWeights(*(file.get_tensor(name).tobytes() for name in POSE))


def is_exported(path: Path) -> bool:
    """Tell by its name whether a model file is an exported one."""
    return path.name == EXPORTED


@contextmanager
def as_checkpoint_errors(path: Path) -> Iterator[None]:
    """Turn what reading a damaged or foreign file raises into a `CheckpointError`."""
    try:
        yield
    except PermissionError:
        raise CheckpointError(f"{path}: no permission to read it") from None
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: not a whole vidlstm checkpoint (damaged, or another kind of file)"
        ) from error
