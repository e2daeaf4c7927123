"""What `vidlstm export` writes beside the networks: `model.json`, read without torch.

It says all that a program needs to predict with the networks in its folder, in whatever language, and
what the files' digests are: a damaged or exchanged network is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from vidlstm.config import ExportFormat, ModelConfig, from_dict, to_dict
from vidlstm.errors import CheckpointError
from vidlstm.models.header import EXPORTED, Header, as_checkpoint_errors
from vidlstm.version import __version__

_FORMAT = "vidlstm export"
_VERSION = 1


def describe(
    header: Header, networks: ExportFormat, preprocessing: Mapping[str, Any], files: Mapping[str, bytes]
) -> str:
    """Return the text of `model.json`.

    Args:
        header: Of the checkpoint.
        networks: What they are for.
        preprocessing: What is done to a clip before the networks, for readers without vidlstm.
        files: All others in the folder, by name.
    """
    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "vidlstm": __version__,
        "networks": networks,
        "config": to_dict(header.config),
        "widths": header.widths,
        "num_parameters": header.num_parameters,
        "preprocessing": preprocessing,
        "training": header.training,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def read_exported_header(path: Path) -> Header:
    """Read what a `model.json` says of the model.

    Raises:
        CheckpointError: It is missing, damaged, foreign or from another version.
    """
    facts = _read(path)
    with as_checkpoint_errors(path):
        config = from_dict(ModelConfig, facts["config"])
        widths = {str(k): int(v) for k, v in facts["widths"].items()}
        return Header(config, widths, dict(facts["training"]), int(facts["num_parameters"]))


def read_exported_networks(path: Path) -> tuple[ExportFormat, dict[str, bytes]]:
    """Return what the networks beside a `model.json` are for, and the content of their files by name.

    Raises:
        CheckpointError: As above, or a file is missing or not the one that was exported.
    """
    facts = _read(path)
    with as_checkpoint_errors(path):
        names = ("encoder", "head") if "rgb" in facts["config"]["streams"] else ("head",)
        networks: ExportFormat = facts["networks"]
        suffixes = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}[networks]
        files = {}
        for name in (name + suffix for name in names for suffix in suffixes):
            files[name] = _read_file(path.with_name(name))
            if hashlib.sha256(files[name]).hexdigest() != facts["sha256"][name]:
                raise CheckpointError(
                    f"{path.with_name(name)}: is not the file that was exported; export again"
                )
    return networks, files


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{file}: is missing; export again") from None


def _read(path: Path) -> dict[str, Any]:
    with as_checkpoint_errors(path):
        facts: dict[str, Any] = json.loads(_read_file(path).decode())
        if facts.get("format") != _FORMAT or facts["networks"] not in get_args(ExportFormat):
            raise CheckpointError(f"{path}: is not the {EXPORTED} of an exported model")
        if int(facts["version"]) != _VERSION:
            raise CheckpointError(
                f"{path}: made by another vidlstm (format {facts['version']}, this one reads {_VERSION}); "
                "export the model again"
            )
    return facts
