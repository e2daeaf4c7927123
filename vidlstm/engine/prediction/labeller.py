"""A model loaded for prediction, with or without torch.

On a CPU with OpenVINO torch is not needed once the model has been converted, and importing it takes longer
than labelling ten clips. So torch is imported only where it is used.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import vidlstm.models
from vidlstm.config import Backend, LabelPrecision, ModelConfig, Precision
from vidlstm.engine.extraction.processes.pool import num_cores
from vidlstm.engine.memory import keep_memory
from vidlstm.engine.views import stack_views
from vidlstm.errors import BackendError, UsageError
from vidlstm.features.batches import ClipFeatures
from vidlstm.features.store import NETWORKS, default_root
from vidlstm.models.backends.int8 import ConvInputs, int8_inputs, is_default, quantised
from vidlstm.models.backends.openvino import (
    Networks,
    OpenVinoEncoder,
    OpenVinoHead,
    has_bfloat16,
    is_installed,
    read_networks,
)
from vidlstm.models.backends.protocol import ClipScores, FrameEncoder, Head, supported_precision
from vidlstm.models.exported import exported_format, open_networks, read_exported_pose
from vidlstm.models.header import as_checkpoint_errors, is_exported, read_header, read_pose_weights
from vidlstm.models.pose_weights import PoseWeights

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_WINDOWS_TOGETHER = 16
"""Batch size. CPU time per window: 4.6 ms alone, 2.6 in a batch of 4, 2.3 of 16, 3.0 of 64 (OpenVINO)."""

_GPUS = ("nvidia*", "nvmap", "dxg", "kfd")
"""Device files of GPUs that torch may use: NVIDIA, Jetson, Windows (WSL), AMD."""


@dataclass(frozen=True)
class ModelChoice:
    """Which model to load, and how to run it; see `load_labeller`."""

    path: Path
    device: str = "auto"
    backend: Backend = "auto"
    precision: LabelPrecision | None = None


@dataclass(frozen=True)
class Labeller:
    """A model loaded for prediction.

    Args:
        config: The model.
        encoder: Encoder of the `rgb` stream; None without that stream.
        score: Returns the calibrated probabilities `(N, K)` of clips, and their novelty `(N,)`.
        pose: Weights of the networks of the `pose` stream; None without that stream.
        choice: The choice that it was loaded with.
        score_windows: Like `score`, but scores the clips in batches: twice as fast for the windows of a film,
            and equal up to rounding. None if `score` does so itself.
    """

    config: ModelConfig
    encoder: FrameEncoder | None
    score: Callable[[Sequence[ClipFeatures]], ClipScores]
    pose: PoseWeights | None = None
    choice: ModelChoice | None = None
    score_windows: Callable[[Sequence[ClipFeatures]], ClipScores] | None = None


def load_labeller(
    path: Path, *, device: str = "auto", backend: Backend = "auto", precision: LabelPrecision | None = None
) -> Labeller:
    """Load a checkpoint or an exported model for prediction.

    Args:
        path: Path of the file, see `vidlstm.models.header.checkpoint_file`.
        device: Where it runs: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        backend: Library that runs it. With OpenVINO, `auto` means the CPU.
        precision: Precision of the encoder; None: float32, or int8 with OpenVINO if training has shown that
            it does not change labels.

    Raises:
        CheckpointError: The file is missing, damaged, not from vidlstm, or from another version.
        UsageError: The device or backend is not available, or not in this precision.
        BackendError: OpenVINO was requested and cannot run the model.
    """
    choice = ModelChoice(path, device, backend, precision)
    return replace(_load_choice(choice), choice=choice)


def _load_choice(choice: ModelChoice) -> Labeller:
    path, device, backend, precision = choice.path, choice.device, choice.backend, choice.precision
    if is_exported(path):
        return _by_exported(path, device, backend, precision)
    if backend == "auto":
        try:
            return _load(path, device, backend, precision)
        except BackendError as error:
            logger.warning("%s", error)
            backend = "torch"
    return _load(path, device, backend, precision)


def _load(path: Path, device: str, backend: Backend, precision: LabelPrecision | None) -> Labeller:
    on_cpu = device == "cpu" or (device == "auto" and (backend == "openvino" or not _may_have_gpu()))
    if backend != "torch" and on_cpu and is_installed():
        return _by_openvino(path, precision)
    from vidlstm.engine.devices import choose_backend, choose_device

    place = choose_device(device)
    if choose_backend(backend, place) == "openvino":
        return _by_openvino(path, precision)
    if precision == "int8":
        raise UsageError("`precision=int8`: needs OpenVINO, on the CPU: pip install 'vidlstm[cpu]'")
    return _by_torch(path, place, precision or "float32")


def _may_have_gpu() -> bool:
    """Tell whether there may be a GPU, so that torch must be asked; without device files, Linux has none."""
    return sys.platform != "linux" or any(next(Path("/dev").glob(name), None) for name in _GPUS)


def _by_torch(path: Path, device: torch.device, precision: Precision) -> Labeller:
    from vidlstm.engine.devices import one_thread
    from vidlstm.engine.scoring import scores_and_novelty
    from vidlstm.models.backends.torch import TorchEncoder, has_bfloat16
    from vidlstm.models.checkpoint import load_model

    keep_memory()
    with one_thread():
        model = load_model(path)
    encoder = None
    if model.encoder is not None:
        precision = supported_precision(precision, partial(has_bfloat16, device))
        model.encoder.requires_grad_(False).to(device)
        encoder = TorchEncoder(model.encoder, num_cores(), precision)

    def head(clips: Sequence[ClipFeatures]) -> ClipScores:
        with one_thread():
            return scores_and_novelty(model, clips)

    if device.type != "cpu":  # a GPU takes as long for many clips as for one
        return Labeller(model.config, encoder, head, model.pose)
    return _labeller(model.config, encoder, head, model.pose)


def _by_exported(path: Path, device: str, backend: Backend, precision: LabelPrecision | None) -> Labeller:
    networks = exported_format(path)
    if device not in ("auto", "cpu"):
        raise UsageError(f"`device={device}`: {path.parent} was exported for the CPU")
    if backend not in ("auto", networks):
        raise UsageError(f"`backend={backend}`: {path.parent} was exported for {networks}")
    if precision == "int8":
        raise UsageError(f"`precision=int8`: {path.parent} computes in the precision it was exported in")
    config = read_header(path).config
    encoder, head = open_networks(path, num_cores(), precision or "float32")
    pose = read_exported_pose(path) if "pose" in config.streams else None
    return _by_networks(config, encoder, head, pose)


def _by_openvino(path: Path, precision: LabelPrecision | None) -> Labeller:
    header = read_header(path)
    config, digest = header.config, _digest(path)
    if precision is None:
        precision = "int8" if is_default(header.training.get("int8", {})) else "float32"
    inputs = int8_inputs(header, path) if precision == "int8" else None
    if inputs is not None:
        digest = hashlib.blake2b(f"{digest} int8".encode(), digest_size=16).hexdigest()
    folder = default_root() / NETWORKS / digest
    networks = cache(partial(_convert, path, inputs))
    encoder = None
    if "rgb" in config.streams:
        hint = supported_precision("float32" if precision == "int8" else precision, has_bfloat16)
        encoder = OpenVinoEncoder(
            digest, lambda: networks()["encoder"], num_cores(), hint, folder / "encoder"
        )
        encoder.prepare()
    head = OpenVinoHead(lambda: networks()["head"], folder / "head")
    networks.cache_clear()
    pose = read_pose_weights(path) if "pose" in config.streams else None
    return _by_networks(config, encoder, head, pose)


def _convert(path: Path, inputs: ConvInputs | None) -> Networks:
    from vidlstm.engine.devices import one_thread
    from vidlstm.models.backends.convert import convert_model
    from vidlstm.models.checkpoint import load_model

    with one_thread():
        networks = convert_model(load_model(path))
    if inputs is not None:
        networks["encoder.onnx"] = quantised(networks["encoder.onnx"], inputs)
    return read_networks(networks)


def _digest(path: Path) -> str:
    """Return a digest of everything a converted model depends on: its file, our code, the libraries."""
    digest = hashlib.blake2b(digest_size=16)
    with as_checkpoint_errors(path):
        digest.update(path.read_bytes())
    for module in sorted(Path(vidlstm.models.__path__[0]).rglob("*.py")):
        digest.update(module.read_bytes())
    digest.update(f"{vidlstm.__version__} {version('torch')} {version('openvino')}".encode())
    return digest.hexdigest()


def _by_networks(
    config: ModelConfig, encoder: FrameEncoder | None, head: Head, pose: PoseWeights | None
) -> Labeller:
    return _labeller(config, encoder, lambda clips: head(stack_views(config, clips)), pose)


def _labeller(
    config: ModelConfig,
    encoder: FrameEncoder | None,
    head: Callable[[Sequence[ClipFeatures]], ClipScores],
    pose: PoseWeights | None,
) -> Labeller:
    """Return a labeller of a model on the CPU; `head` scores clips in one batch."""

    def score(together: int, clips: Sequence[ClipFeatures]) -> ClipScores:
        scores, novelty = np.zeros((len(clips), len(config.classes))), np.zeros(len(clips))
        for first in range(0, len(clips), together):
            part = slice(first, first + together)
            found, distances = head(clips[part])
            if found.shape != scores[part].shape or distances.shape != novelty[part].shape:
                raise BackendError("the head does not fit the classes of the model; export it again")
            scores[part], novelty[part] = found, distances
        return scores, novelty

    # `score` runs each clip alone: in a batch, the last digits of its scores would depend on the other clips.
    by_itself, together = partial(score, 1), partial(score, _WINDOWS_TOGETHER)
    return Labeller(config, encoder, by_itself, pose, score_windows=together)
