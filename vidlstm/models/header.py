"""The header of a checkpoint, read without its tensors and without torch.

So a command finds out within milliseconds what the model needs, and whether the file is a checkpoint at all.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vidlstm.config import ModelConfig
from vidlstm.config_dict import from_dict
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.models.pose_weights import PoseWeights

FILE = "model.safetensors"
"""Name of the checkpoint in a run folder."""
EXPORTED = "model.json"
"""Name of the file that describes an exported model in its folder."""
FORMAT = "vidlstm"
VERSION = 6  # 1: separate members; 2: "control"; 3: unbounded scores; 4: no novelty; 5: other motion
BASELINE = "baseline"
"""Prefix of the names of the baseline's tensors, which are not part of the model."""
POSE = ("pose.detector", "pose.landmarks")
"""Names of the tensors that hold the files of the `pose` networks, as bytes."""
CLIPS = ("learned_from", "left_out")
"""Names of the facts about the training that are fingerprints of clips."""

_MAX_WIDTH = 1_000_000
_DAMAGE = (
    SafetensorError, OSError, KeyError, ValueError, TypeError, UsageError, AttributeError, OverflowError,
    RecursionError, MemoryError,
)  # fmt: skip


def checkpoint_file(path: Path) -> Path:
    """Return the model file for a path: the path itself, or a folder's checkpoint or `model.json`."""
    if not path.is_dir():
        return path
    exported = path / EXPORTED
    return exported if exported.is_file() and not (path / FILE).is_file() else path / FILE


@dataclass(frozen=True)
class Header:
    """Header of a checkpoint: config, widths of the streams, facts about the training, size."""

    config: ModelConfig
    widths: dict[str, int]
    training: dict[str, Any]
    num_parameters: int


def read_header(path: Path) -> Header:
    """Read the header of a checkpoint, or of an exported model's `model.json`.

    Raises:
        CheckpointError: The file is missing, damaged, not from vidlstm, or from another version.
    """
    if is_exported(path):
        from vidlstm.models.exported import read_exported_header

        return read_exported_header(path)
    if not path.is_file():
        run = path.parent
        is_export = path.name.startswith(("onnx", "openvino")) and (run / FILE).is_file()
        way = (
            f"export it with `vidlstm export {shlex.quote(run.as_posix())}`"
            if is_export
            else "train one with `vidlstm train DATA`"
        )
        raise CheckpointError(f"{path}: no such checkpoint; {way}")
    if path.name == "last.pt":
        raise CheckpointError(f"{path}: is only for resuming; the model is {path.with_name(FILE)}")
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
        config = from_dict(ModelConfig, parse_json(metadata["config"]))
        widths = check_widths(parse_json(metadata["widths"]), config)
        training = check_training(parse_json(metadata["training"]))
        shapes = [
            file.get_slice(name).get_shape()
            for name in file.keys()  # noqa: SIM118 - not a dict
            if not name.startswith(f"{BASELINE}.") and name not in POSE
        ]
    return Header(config, widths, training, sum(map(math.prod, shapes)))


def parse_json(text: str) -> Any:
    """Parse the JSON of a model file, strictly: no NaN, no Infinity, no lone surrogates.

    Raises:
        ValueError: The text is not strict JSON.
        RecursionError: The text is nested too deeply.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def check_widths(widths: dict[str, Any], config: ModelConfig) -> dict[str, int]:
    """Check that the widths of the streams are numbers, and fit the config."""
    fits = set(config.streams) <= set(widths) and all(type(width) is int for width in widths.values())
    if not fits or not all(1 <= width <= _MAX_WIDTH for width in widths.values()):
        raise ValueError(f"widths {widths} do not fit the streams")
    return widths


def check_training(training: Any) -> dict[str, Any]:
    """Check the facts that commands use. Facts that are only printed may have any value."""
    parts: dict[str, type] = {"num_clips": dict, "settings": dict, "int8": dict, **dict.fromkeys(CLIPS, list)}
    if not isinstance(training, dict) or any(
        not isinstance(training[name], kind) for name, kind in parts.items() if name in training
    ):
        raise TypeError("facts about the training have the wrong type")
    if not all(isinstance(content, str) for name in CLIPS for content in training.get(name, ())):
        raise TypeError("fingerprints of training clips have the wrong type")
    return training


def read_pose_weights(path: Path) -> PoseWeights:
    """Read the networks of the `pose` stream from a checkpoint.

    Raises:
        CheckpointError: The checkpoint has none, or is damaged.
    """
    with as_checkpoint_errors(path), safe_open(path, "np") as file:
        return PoseWeights(*(file.get_tensor(name).tobytes() for name in POSE))


def is_exported(path: Path) -> bool:
    """Tell by its name whether a model file is an exported model."""
    return path.name == EXPORTED


@contextmanager
def as_checkpoint_errors(path: Path) -> Iterator[None]:
    """Turn the exceptions from reading a damaged or foreign file into a `CheckpointError`."""
    try:
        yield
    except PermissionError:
        raise CheckpointError(f"{path}: no permission to read it") from None
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: not a complete vidlstm checkpoint (damaged, or another kind of file)"
        ) from error
