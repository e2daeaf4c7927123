"""The processes that train one model together, as torchrun starts them; alone, a world of one.

Every process knows the same clips and draws the same random numbers for the whole of a step; of each
step it computes its own rows, and the gradients are added up. So the result is that of one process,
to rounding, whatever the number of processes, and all of them hold the same weights at any time.

Imports no torch until there is more than one: who speaks has to be known before.
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

_PATIENCE = timedelta(days=2)  # reading a large share of clips takes long; a dead process is noticed at once


@dataclass(frozen=True)
class World:
    """The processes that train together.

    Args:
        rank: Of this one; 0 leads: it alone writes files and speaks.
        size: How many there are.
        local_size: How many of them are on this machine.
        local_rank: Of this one among its local_size, from 0.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    local_rank: int = 0

    @staticmethod
    def from_environment() -> World:
        """Return the world that torchrun's environment variables describe, a world of one without them."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK")
        values = [os.environ.get(name, "") for name in names]
        return World(*map(int, values)) if all(value.isdecimal() for value in values) else World()

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of `items`; the parts may differ in length by one."""
        return items[self.rank :: self.size]

    def gather(self, mine: Sequence[T]) -> list[T]:
        """Put the parts that `shard` gave together again.

        Raises:
            DistributedError: Another process has ended.
        """
        if self.size == 1:
            return list(mine)
        import torch.distributed as dist

        parts: list[Sequence[T]] = [[] for _ in range(self.size)]
        with _together():
            dist.all_gather_object(parts, list(mine))
        total = sum(len(part) for part in parts)
        return [parts[i % self.size][i // self.size] for i in range(total)]

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Add every tensor up over the processes, in place, so that all hold the sums.

        Raises:
            DistributedError: Another process has ended.
        """
        if self.size == 1 or not tensors:
            return
        import torch
        import torch.distributed as dist

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _together():
            dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def broadcast(self, value: T) -> T:
        """Return the leader's `value`.

        Raises:
            DistributedError: Another process has ended.
        """
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        with _together():
            dist.broadcast_object_list(box, src=0)
        return box[0]


@contextlib.contextmanager
def process_group(device: torch.device) -> Iterator[World]:
    """Wait for the other processes, and part from them at the end.

    Raises:
        DistributedError: They cannot be reached, or one of them ends early.
    """
    world = World.from_environment()
    if world.size == 1:
        yield world
        return
    import torch
    import torch.distributed as dist

    handler = signal.signal(signal.SIGTERM, _end)  # torchrun's way to end the others when one has died
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    try:
        with _together():
            dist.init_process_group(backend, timeout=_PATIENCE)
        yield world
    finally:
        signal.signal(signal.SIGTERM, handler)
        if dist.is_initialized():
            dist.destroy_process_group()


@contextlib.contextmanager
def _together() -> Iterator[None]:
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
