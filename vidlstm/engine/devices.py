"""Which device computes, and with how many threads."""

from __future__ import annotations

import os

import torch

from vidlstm.errors import UsageError


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda`, `cuda:1` or `mps` names; `auto` takes the fastest.

    Raises:
        UsageError: It is not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if not available.get(name.split(":")[0], False):
        there = ", ".join(kind for kind, there in available.items() if there)
        raise UsageError(f"--device {name}: this machine and this torch have {there}")
    return torch.device(name)


def use_threads(number: int) -> None:
    """Compute with so many threads: all cores for the encoder, one for a small LSTM's small products.

    More threads than the work can feed wait for one another at every product; beside other busy
    processes that was measured to make training twenty times slower.
    """
    torch.set_num_threads(number)
