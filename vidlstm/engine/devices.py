"""Which device computes, by which library, and with how many threads."""

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


def choose_device(name: str, place: int = 0) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:1` or `mps` names; `auto` takes the fastest.

    Args:
        name: As the user gave it.
        place: Of this process among those that share the machine's GPUs; each takes one.

    Raises:
        UsageError: It is not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available.get(name.split(":")[0], False):
        there = ", ".join(kind for kind, there in available.items() if there)
        raise UsageError(f"`device={name}`: this machine and this torch have only {there}")
    return torch.device(f"cuda:{place}") if name == "cuda" and place else torch.device(name)


def choose_backend(name: Backend, device: torch.device) -> Literal["torch", "openvino"]:
    """Return what computes encoders; `auto` takes OpenVINO for a CPU where it is installed.

    Raises:
        UsageError: It is not installed, or not for this device.
    """
    if name == "auto":
        return "openvino" if device.type == "cpu" and is_installed() else "torch"
    if name == "openvino" and not is_installed():
        raise UsageError("`backend=openvino`: it is not installed: pip install vidlstm[cpu]")
    if name == "openvino" and device.type != "cpu":
        raise UsageError(f"`backend=openvino`: it computes on the CPU, not on {device}: add `device=cpu`")
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
    """Bring an encoder to its device and return what computes it there.

    Args:
        encoder: That is frozen from now on.
        device: Where it computes.
        size: Side of the pictures, in pixels.
        channels: Of the pictures.
        num_threads: That compute, on a CPU.
        backend: What computes it.
        precision: Of the computation.
        kept_in: Folder where what is costly to prepare is kept; None keeps nothing.

    Raises:
        UsageError: The backend is not installed, or not for this device.
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
    """Compute with so many threads: all cores for an encoder that learns, one for a small LSTM's products.

    More threads than the work can feed wait for one another at every product; beside other busy
    processes that was measured to make training twenty times slower.
    """
    torch.set_num_threads(number)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread for a while; whoever calls keeps the number of theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
