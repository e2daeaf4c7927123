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
        config = from_dict(ModelConfig, json.loads(metadata["config"]))
        widths = {str(k): int(v) for k, v in json.loads(metadata["widths"]).items()}
        training = json.loads(metadata["training"])
        shapes = [
            file.get_slice(name).get_shape()
            for name in file.keys()  # noqa: SIM118 - not a dict
            if not name.startswith(f"{BASELINE}.") and name not in POSE
        ]
    return Header(config, widths, training, sum(map(math.prod, shapes)))


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
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, UsageError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: not a whole vidlstm checkpoint (damaged, or another kind of file)"
        ) from error
