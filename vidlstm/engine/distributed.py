"""Distributed training with torchrun; a single process is a world of size 1.

Every process has the same clips and draws the same random numbers for the whole step. It computes its own
rows of each step, and the gradients are summed. So the result is the same as with one process, up to
rounding, and all processes always hold the same weights.

Imports torch only if there are several processes: the rank must be known before torch is imported.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from vidlstm.errors import DistributedError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

_TIMEOUT = timedelta(days=2)  # reading many clips takes long; a dead process is noticed at once


@dataclass(frozen=True)
class World:
    """The processes of a distributed training.

    Args:
        rank: Rank of this process; only rank 0 writes files and prints.
        size: World size.
        local_size: Number of processes on this machine.
        local_rank: Rank of this process on this machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    local_rank: int = 0

    @staticmethod
    def from_environment() -> World:
        """Return the world that torchrun's environment variables describe; without them, size 1."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK")
        values = [os.environ.get(name, "") for name in names]
        return World(*map(int, values)) if all(value.isdecimal() for value in values) else World()

    @property
    def is_main(self) -> bool:
        """Whether this process has rank 0, which writes files and prints."""
        return self.rank == 0

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of `items`; the parts may differ in length by one."""
        return items[self.rank :: self.size]

    def gather(self, local: Sequence[T]) -> list[T]:
        """Reassemble the parts that `shard` returned.

        Raises:
            DistributedError: Another process has ended.
        """
        if self.size == 1:
            return list(local)
        import torch.distributed as dist

        parts: list[Sequence[T]] = [[] for _ in range(self.size)]
        with _distributed_errors():
            dist.all_gather_object(parts, list(local))
        total = sum(len(part) for part in parts)
        return [parts[i % self.size][i // self.size] for i in range(total)]

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Sum every tensor over all processes, in place.

        Raises:
            DistributedError: Another process has ended.
        """
        if self.size == 1 or not tensors:
            return
        import torch
        import torch.distributed as dist

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _distributed_errors():
            dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def broadcast(self, value: T) -> T:
        """Return rank 0's `value`.

        Raises:
            DistributedError: Another process has ended.
        """
        if self.size == 1:
            return value
        import torch.distributed as dist

        values = [value]
        with _distributed_errors():
            dist.broadcast_object_list(values, src=0)
        return values[0]


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[World]:
    """Join torch's process group, and leave it at the end.

    Raises:
        DistributedError: The other processes cannot be reached, or one of them ends early.
    """
    world = World.from_environment()
    if world.size == 1:
        yield world
        return
    import torch
    import torch.distributed as dist

    handler = signal.signal(signal.SIGTERM, _end)  # torchrun sends it to the others when one process has died
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    try:
        with _distributed_errors():
            dist.init_process_group(backend, timeout=_TIMEOUT)
        yield world
    finally:
        signal.signal(signal.SIGTERM, handler)
        if dist.is_initialized():
            dist.destroy_process_group()


@contextlib.contextmanager
def _distributed_errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        why = (str(error).splitlines() or [""])[0][:200]
        raise DistributedError(
            f"another process of this training ended, so this one ends; continue with `resume` ({why})"
        ) from error


def _end(*_: object) -> None:
    raise DistributedError(
        "torchrun ended this process because another one had ended; continue with `resume`"
    )
