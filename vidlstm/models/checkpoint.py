"""Checkpoints: one safe, self-describing file with everything that prediction needs.

A checkpoint is a safetensors file: tensors, and a header of strings that hold JSON. Reading it runs no code
from it. The header has format and version, the model's config, and facts about its training (`training`:
seed, data, split, fingerprints of the training clips) for `info` and `eval`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vidlstm.config import ModelConfig, StreamName
from vidlstm.config_dict import to_dict
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.models.classifier import Classifier
from vidlstm.models.encoders import Encoder, build_encoder
from vidlstm.models.header import (
    BASELINE,
    FORMAT,
    POSE,
    VERSION,
    Header,
    as_checkpoint_errors,
    is_exported,
    read_header,
)
from vidlstm.models.pose_weights import PoseWeights

__all__ = ["FORMAT", "VERSION", "Header", "Model", "build_model", "load_model", "read_header", "serialise"]


_DTYPES = {torch.float32: "F32", torch.int64: "I64"}
"""Tensor types in a model, and their names in safetensors."""


@dataclass
class Model:
    """A model: an encoder and a classifier.

    Args:
        config: The configuration.
        encoder: The CNN of the `rgb` stream; None without that stream.
        classifier: Branches, fusion, temperature.
        widths: D of every stream.
        training: Facts about the training, as plain JSON values.
        baseline: The same model without the order of the steps, see `baseline_config`; None if it was not
            trained or not loaded.
        pose: Weights of the networks that find people and key points; None without the `pose` stream.
    """

    config: ModelConfig
    encoder: Encoder | None
    classifier: Classifier
    widths: dict[str, int]
    training: dict[str, Any]
    baseline: Classifier | None = None
    pose: PoseWeights | None = None

    def modules(self) -> nn.ModuleDict:
        """Return all parts as one module; its names are the names of the tensors in a checkpoint."""
        parts: dict[str, nn.Module] = {"classifier": self.classifier}
        if self.encoder is not None:
            parts["encoder"] = self.encoder
        if self.baseline is not None:
            parts[BASELINE] = self.baseline
        return nn.ModuleDict(parts)

    def single(self, member: int) -> Model:
        """Return a model of one of the members, with a copy of its weights and the same encoder."""
        config = replace(self.config, members=1)
        with torch.device("meta"):
            classifier = Classifier(config, self.widths)
        state = self.classifier.state_dict()
        tensors = {}
        for name, wanted in classifier.state_dict().items():
            whole = state[name.replace(".rnns.0.", f".rnns.{member}.")]
            if whole.shape != wanted.shape:  # it holds all members, one after another
                whole = whole.view(self.config.members, *wanted.shape)[member]
            tensors[name] = whole.clone()
        classifier.load_state_dict(tensors, assign=True)
        return Model(config, self.encoder, classifier, dict(self.widths), {})

    def remove(self, stream: StreamName) -> None:
        """Remove a stream and its branches; fusion and novelty of the others have to be fitted again."""
        self.config = replace(self.config, streams=tuple(s for s in self.config.streams if s != stream))
        self.widths.pop(stream, None)
        self.classifier.remove(stream)
        if stream == "pose":
            self.pose = None


def rgb_encoder(config: ModelConfig, *, load_weights: bool = True, seed: int = 0) -> Encoder | None:
    """Build the model's encoder, if it has one.

    Args:
        config: The model.
        load_weights: False leaves the weights as initialised.
        seed: Seed of the initial weights.

    Raises:
        UsageError: No encoder has that name, or it does not support these settings.
        WeightsError: The weights are not available.
    """
    if "rgb" not in config.streams:
        return None
    torch.manual_seed(seed)
    return build_encoder(config.encoder, load_weights=load_weights)


def build_model(config: ModelConfig, widths: dict[str, int], encoder: Encoder | None) -> Model:
    """Build an untrained model with a given encoder."""
    return Model(config, encoder, Classifier(config, widths), dict(widths), {})


def serialise(model: Model) -> bytes:
    """Return the model's checkpoint as bytes; the same model always gives the same bytes."""
    tensors: dict[str, Tensor] = {
        k: v.detach().cpu().contiguous() for k, v in model.modules().state_dict().items()
    }
    if model.pose is not None:
        tensors |= {
            name: torch.frombuffer(bytearray(file), dtype=torch.uint8)
            for name, file in zip(POSE, (model.pose.detector, model.pose.landmarks), strict=True)
        }
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": json.dumps(to_dict(model.config)),
        "widths": json.dumps(model.widths),
        "training": json.dumps(model.training),
    }
    return _in_order(save(tensors, metadata=header))


def _in_order(file: bytes) -> bytes:
    """Sort the strings of the header, which safetensors writes in random order."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of 8, so that they can be memory-mapped
    return len(text).to_bytes(8, "little") + text + file[end:]


def baseline_config(config: ModelConfig) -> ModelConfig | None:
    """Return the config of a model's baseline: the same model without the order of the steps.

    None if the model itself ignores the order. A trained encoder counts as frozen: the baseline reads the
    same features.
    """
    return None if config.head.kind == "mean" else config.changed(head={"kind": "mean"})


def load_model(path: Path, *, baseline: bool = False) -> Model:
    """Load a checkpoint for prediction, on the CPU and in evaluation mode.

    Args:
        path: Path of the file.
        baseline: Also load the model's baseline, if it has one.

    Raises:
        CheckpointError: The file is missing, damaged, not from vidlstm, or from another version.
    """
    if is_exported(path):
        raise CheckpointError(f"{path}: an exported model only predicts; give its run folder")
    header = read_header(path)
    with as_checkpoint_errors(path), safe_open(path, "pt") as file:
        names = [name for name in file.keys() if baseline or not name.startswith(f"{BASELINE}.")]  # noqa: SIM118
        pose = POSE if "pose" in header.config.streams else ()
        try:
            _require_bytes(file, pose, names)
            model = _without_weights(header, names)
            modules = model.modules()
            _require_fit(modules, file, [name for name in names if name not in pose])
        except (RuntimeError, UsageError, KeyError) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            raise CheckpointError(f"{path}: its tensors do not fit its header ({reason})") from None
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
    if pose:
        model.pose = PoseWeights(*(tensors.pop(name).numpy().tobytes() for name in pose))
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite; train the model again")
    modules.load_state_dict(tensors, assign=True)
    modules.eval()
    return model


def _without_weights(header: Header, names: Collection[str]) -> Model:
    """Build the model of a header on the meta device, where tensors take no memory and no time.

    This avoids initialising weights only to replace them: 0.03 s for EfficientNet-Lite0 instead of 2.25 s of
    CPU time.
    """
    with torch.device("meta"):
        encoder = rgb_encoder(header.config, load_weights=False)
        model = build_model(header.config, header.widths, encoder)
        config = baseline_config(header.config)
        if config is not None and any(name.startswith(f"{BASELINE}.") for name in names):
            model.baseline = Classifier(config, header.widths)
    model.training = header.training
    return model


def _require_bytes(file: Any, wanted: Collection[str], names: Collection[str]) -> None:
    """Check that a file holds tensors of bytes with these names.

    Raises:
        RuntimeError: It does not.
    """
    for name in wanted:
        if name not in names:
            raise RuntimeError(f"{name} is missing")
        if (kind := file.get_slice(name).get_dtype()) != "U8":
            raise RuntimeError(f"{name} is {kind}, not U8")


def _require_fit(modules: nn.Module, file: Any, names: Collection[str]) -> None:
    """Compare names, shapes and types of a file's tensors with a model's before reading any of them.

    Raises:
        RuntimeError: They differ.
    """
    wanted = modules.state_dict()
    if different := sorted(set(wanted) ^ set(names)):
        raise RuntimeError(f"{different[0]} is {'missing' if different[0] in wanted else 'not known'}")
    for name, tensor in wanted.items():
        part = file.get_slice(name)
        if tuple(part.get_shape()) != tuple(tensor.shape) or part.get_dtype() != _DTYPES[tensor.dtype]:
            raise RuntimeError(
                f"{name} is {part.get_dtype()} {part.get_shape()}, not {_DTYPES[tensor.dtype]} "
                f"{list(tensor.shape)}"
            )
