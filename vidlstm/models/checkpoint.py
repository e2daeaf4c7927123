"""One safe, self-describing file: everything that predicting needs.

A checkpoint is a safetensors file: tensors, and a header of strings that hold JSON. Reading it runs
no code from it. The header says which format and version it is, the model's config, and facts about
its training (`training`: seed, data, split, what it learned from) that `info` and `eval` tell.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vidlstm.config import ModelConfig, to_dict
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
"""Types of tensors in a model, and what safetensors calls them."""


@dataclass
class Model:
    """An encoder and a classifier that belong together.

    Args:
        config: What they are.
        encoder: What the `rgb` stream is made by; None where that is off.
        classifier: Branches, fusion, temperature.
        widths: D of every stream.
        training: Facts about how it was made, as plain JSON values.
        baseline: What the same streams give without their order, see `baseline_config`; None where nobody
            has trained it, or where it is not wanted.
        pose: What finds people and their key points; None without the `pose` stream.
    """

    config: ModelConfig
    encoder: Encoder | None
    classifier: Classifier
    widths: dict[str, int]
    training: dict[str, Any]
    baseline: Classifier | None = None
    pose: PoseWeights | None = None

    def modules(self) -> nn.ModuleDict:
        """Return all parts as one module, which is what a checkpoint's tensors are named after."""
        parts: dict[str, nn.Module] = {"classifier": self.classifier}
        if self.encoder is not None:
            parts["encoder"] = self.encoder
        if self.baseline is not None:
            parts[BASELINE] = self.baseline
        return nn.ModuleDict(parts)


def rgb_encoder(config: ModelConfig, *, load_weights: bool = True, seed: int = 0) -> Encoder | None:
    """Build the encoder that stands before the classifier, if the model has one.

    Args:
        config: Of the model.
        load_weights: False leaves them as initialised.
        seed: Of the weights that are initialised.

    Raises:
        UsageError: No encoder has that name, or it cannot be had with these settings.
        WeightsError: The weights cannot be had.
    """
    if "rgb" not in config.streams:
        return None
    torch.manual_seed(seed)
    return build_encoder(config.encoder, load_weights=load_weights)


def build_model(config: ModelConfig, widths: dict[str, int], encoder: Encoder | None) -> Model:
    """Build a model that has learned nothing yet, around an encoder that is there."""
    return Model(config, encoder, Classifier(config, widths), dict(widths), {})


def serialise(model: Model) -> bytes:
    """Return the bytes of the model's checkpoint, the same for the same model."""
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
    """Put the header's strings, which safetensors writes in a random order, into one of their own."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin on a multiple of 8, so that they can be memory-mapped
    return len(text).to_bytes(8, "little") + text + file[end:]


def baseline_config(config: ModelConfig) -> ModelConfig | None:
    """Return what a model's baseline is: all of it but the order of the steps.

    None where the model knows no order itself. An encoder that has learned is as good as frozen then:
    the baseline reads the same features.
    """
    return None if config.head.kind == "mean" else config.changed(head={"kind": "mean"})


def load_model(path: Path, *, baseline: bool = False) -> Model:
    """Load a checkpoint, ready to predict with, on the CPU and in evaluation mode.

    Args:
        path: Of the file.
        baseline: Load the model's baseline too, if it has one.

    Raises:
        CheckpointError: It is missing, damaged, foreign or from another version.
    """
    if is_exported(path):
        raise CheckpointError(f"{path}: an exported model only predicts; give its run folder")
    header = read_header(path)
    with as_checkpoint_errors(path), safe_open(path, "pt") as file:
        names = [name for name in file.keys() if baseline or not name.startswith(f"{BASELINE}.")]  # noqa: SIM118
        try:
            if missing := set(POSE) - set(names) if "pose" in header.config.streams else set():
                raise RuntimeError(f"{min(missing)} is missing")
            model = _without_weights(header, names)
            modules = model.modules()
            _require_fit(modules, file, [name for name in names if name not in POSE])
        except (RuntimeError, UsageError, KeyError) as error:
            why = str(error).partition("\n")[0].rstrip(":")
            raise CheckpointError(
                f"{path}: its tensors do not fit what its header describes ({why})"
            ) from None
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
    if "pose" in header.config.streams:
        model.pose = PoseWeights(*(tensors.pop(name).numpy().tobytes() for name in POSE))
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} holds numbers that are not finite; train the model again")
    modules.load_state_dict(tensors, assign=True)
    modules.eval()
    return model


def _without_weights(header: Header, names: Collection[str]) -> Model:
    """Build what a header describes on the meta device, where no tensor takes memory or time.

    Nothing is initialised only to be replaced: 0.03 s for EfficientNet-Lite0, 2.25 s of CPU time otherwise.
    """
    with torch.device("meta"):
        encoder = rgb_encoder(header.config, load_weights=False)
        model = build_model(header.config, header.widths, encoder)
        twin = baseline_config(header.config)
        if twin is not None and any(name.startswith(f"{BASELINE}.") for name in names):
            model.baseline = Classifier(twin, header.widths)
    model.training = header.training
    return model


def _require_fit(modules: nn.Module, file: Any, names: Collection[str]) -> None:
    """Compare names, shapes and types of a file's tensors with a model's, before any of them is read.

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
