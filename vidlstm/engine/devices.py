"""Choice of the device, the backend and the number of threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from vidlstm.config import Backend, Precision
from vidlstm.errors import UsageError
from vidlstm.models.backends import openvino
from vidlstm.models.backends.convert import openvino_encoder
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.backends.protocol import EncoderWithFallback, FrameEncoder, supported_precision
from vidlstm.models.backends.torch import TorchEncoder, has_bfloat16
from vidlstm.models.encoders import Encoder


def choose_device(name: str, local_rank: int = 0, local_size: int = 1) -> torch.device:
    """Return the device named `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; `auto` is the fastest available.

    A GPU is returned with its number, which `torch.cuda.set_device` needs.

    Args:
        name: As the user gave it.
        local_rank: Rank of this process on this machine; each process uses its own GPU.
        local_size: Number of processes on this machine.

    Raises:
        UsageError: The device is not available. Every process raises it, so that none waits for another.
    """
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    available = [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]  # the fastest first
    device = available[0].partition(":")[0] if name == "auto" else name
    if device == "cuda" and gpus:
        if local_size > len(gpus):
            raise UsageError(
                f"`device={name}`: {local_size} processes need a GPU each, and this machine has {len(gpus)}; "
                "start fewer, or add `device=cpu`"
            )
        device = gpus[local_rank]
    if device not in available:
        names = ", ".join(available)
        raise UsageError(f"`device={name}`: not available; this machine and this torch have only {names}")
    return torch.device(device)


def choose_backend(name: Backend, device: torch.device) -> Literal["torch", "openvino"]:
    """Return the backend for encoders; `auto` is OpenVINO on a CPU if it is installed, otherwise torch.

    Raises:
        UsageError: The backend is not installed, or does not support the device.
    """
    if name == "auto":
        return "openvino" if device.type == "cpu" and is_installed() else "torch"
    if name == "openvino" and not is_installed():
        raise UsageError("`backend=openvino`: not installed; pip install 'vidlstm[cpu]'")
    if name == "openvino" and device.type != "cpu":
        raise UsageError(f"`backend=openvino`: runs on the CPU, not on {device}; add `device=cpu`")
    return name


def make_frame_encoder(
    encoder: Encoder,
    device: torch.device,
    size: int,
    channels: int,
    num_threads: int,
    *,
    backend: Backend = "auto",
    precision: Precision = "float32",
    kept_in: Path | None = None,
) -> FrameEncoder:
    """Move an encoder to its device, freeze it, and return it as a frame encoder of a backend.

    Args:
        encoder: Frozen by this call.
        device: Where it runs.
        size: Side of the pictures, in pixels.
        channels: Channels of the pictures.
        num_threads: Number of threads on a CPU.
        backend: Library that runs it.
        precision: Precision of the computation.
        kept_in: Folder to cache the converted model in; None: no cache.

    Raises:
        UsageError: The backend is not installed, or does not support the device.
    """
    chosen = choose_backend(backend, device)
    encoder.requires_grad_(False).eval().to(device)
    has_it = openvino.has_bfloat16 if chosen == "openvino" else partial(has_bfloat16, device)
    precision = supported_precision(precision, has_it)
    plain = partial(TorchEncoder, encoder, num_threads, precision)
    if chosen == "torch":
        return plain()
    fast = openvino_encoder(encoder, size, channels, num_threads, precision, kept_in)
    return fast if backend == "openvino" else EncoderWithFallback(fast, plain)


def use_threads(number: int) -> None:
    """Set the number of torch threads: all cores to train an encoder, one for the small products of an LSTM.

    Too many threads wait for one another at every product; next to other busy processes this made
    training twenty times slower.
    """
    torch.set_num_threads(number)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread inside the context, then restore the caller's number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
