"""Read and describe exported models: two networks, and `model.json` with everything needed to run them.

`model.json` can be used from any language. It holds the digests of the other files, so that a damaged or
replaced network is rejected. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from vidlstm.config import ExportFormat, ExportPrecision, ModelConfig, Precision
from vidlstm.config_dict import from_dict, to_dict
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.models.backends import openvino
from vidlstm.models.backends.onnx import OnnxEncoder, OnnxHead
from vidlstm.models.backends.protocol import FrameEncoder, Head, supported_precision
from vidlstm.models.header import (
    EXPORTED,
    Header,
    as_checkpoint_errors,
    check_training,
    check_widths,
    parse_json,
)
from vidlstm.models.pose_weights import DETECTOR, LANDMARKS, PoseWeights
from vidlstm.version import __version__

_FORMAT = "vidlstm export"
_VERSION = 2  # 1: other motion descriptors
_SUFFIXES: dict[ExportFormat, tuple[str, ...]] = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}


def describe(
    header: Header,
    networks: ExportFormat,
    precision: ExportPrecision,
    preprocessing: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> bytes:
    """Return the content of `model.json`.

    Args:
        header: Header of the checkpoint.
        networks: Format of the networks.
        precision: Precision of the networks.
        preprocessing: Preprocessing of a clip, for programs without vidlstm.
        files: All other files in the folder, by name.
    """
    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "vidlstm": __version__,
        "networks": networks,
        "precision": precision,
        "config": to_dict(header.config),
        "preprocessing": preprocessing,
        "widths": header.widths,
        "num_parameters": header.num_parameters,
        "training": header.training,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    return (json.dumps(facts, indent=2) + "\n").encode()


def read_exported_header(path: Path) -> Header:
    """Read the model's header from a `model.json`.

    Raises:
        CheckpointError: The file is missing, damaged, not from vidlstm, or from another version.
    """
    facts = _read(path)
    with as_checkpoint_errors(path):
        config = from_dict(ModelConfig, facts["config"])
        widths = check_widths(facts["widths"], config)
        return Header(config, widths, check_training(facts["training"]), int(facts["num_parameters"]))


def exported_format(path: Path) -> ExportFormat:
    """Return the format of the networks of a `model.json`.

    Raises:
        CheckpointError: The file is missing, damaged, not from vidlstm, or from another version.
    """
    networks: ExportFormat = _read(path)["networks"]
    return networks


def open_networks(
    path: Path, num_threads: int, precision: Precision = "float32"
) -> tuple[FrameEncoder | None, Head]:
    """Open the encoder, if there is one, and the head of an exported model.

    Args:
        path: Path of the `model.json`.
        num_threads: Number of threads of the encoder.
        precision: Precision of the encoder.

    Raises:
        CheckpointError: As above, or a network is missing or not the exported file.
        BackendError: The library that runs the networks cannot be loaded, or fails on them.
        UsageError: The networks do not support this precision.
    """
    files = _read_networks(path)
    if exported_format(path) == "openvino":
        models = openvino.read_networks(files)
        encoder = None
        if "encoder" in models:
            precision = supported_precision(precision, openvino.has_bfloat16)
            encoder = openvino.OpenVinoEncoder("exported", lambda: models["encoder"], num_threads, precision)
            encoder.prepare()
        return encoder, openvino.OpenVinoHead(lambda: models["head"])
    if precision != "float32":
        raise UsageError(f"`precision={precision}`: {path.parent} supports only float32")
    network = files.get("encoder.onnx")
    fast = None if network is None else OnnxEncoder("exported", network, num_threads)
    return fast, OnnxHead(files["head.onnx"])


def read_exported_pose(path: Path) -> PoseWeights:
    """Read the networks of the `pose` stream.

    Raises:
        CheckpointError: As above.
    """
    facts = _read(path)
    return PoseWeights(*(_read_whole(path, name, facts) for name in (DETECTOR, LANDMARKS)))


def _read_networks(path: Path) -> dict[str, bytes]:
    """Return the contents of the network files, by name."""
    facts = _read(path)
    with as_checkpoint_errors(path):
        names = ("encoder", "head") if "rgb" in facts["config"]["streams"] else ("head",)
        files = [name + suffix for name in names for suffix in _SUFFIXES[facts["networks"]]]
    return {name: _read_whole(path, name, facts) for name in files}


def _read_whole(path: Path, name: str, facts: Mapping[str, Any]) -> bytes:
    """Return the content of a file next to a `model.json`, if it is the exported one."""
    file = path.with_name(name)
    content = _read_file(file)
    with as_checkpoint_errors(path):
        wanted = facts["sha256"][name]
    if hashlib.sha256(content).hexdigest() != wanted:
        raise CheckpointError(f"{file}: not the file that was exported; export the model again")
    return content


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{file}: is missing; export the model again") from None


def _read(path: Path) -> dict[str, Any]:
    with as_checkpoint_errors(path):
        facts: dict[str, Any] = parse_json(_read_file(path).decode())
        if facts.get("format") != _FORMAT or facts["networks"] not in get_args(ExportFormat):
            raise CheckpointError(f"{path}: not the {EXPORTED} of an exported model")
        if int(facts["version"]) != _VERSION:
            raise CheckpointError(
                f"{path}: made by another vidlstm (format {facts['version']}, this one reads {_VERSION}); "
                "export the model again"
            )
    return facts
