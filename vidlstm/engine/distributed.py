"""The processes that train one model together, as torchrun starts them; alone, a team of one.

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

from vidlstm.errors import TeamError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

_PATIENCE = timedelta(days=2)  # reading a large share of clips takes long; a dead process is noticed at once


@dataclass(frozen=True)
class Team:
    """The processes that train together.

    Args:
        rank: Of this one; 0 leads: it alone writes files and speaks.
        size: How many there are.
        neighbours: How many of them are on this machine.
        place: Of this one among its neighbours, from 0.
    """

    rank: int = 0
    size: int = 1
    neighbours: int = 1
    place: int = 0

    @staticmethod
    def named() -> Team:
        """Return the team that torchrun's environment variables describe, a team of one without them."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK")
        values = [os.environ.get(name, "") for name in names]
        return Team(*map(int, values)) if all(value.isdecimal() for value in values) else Team()

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of `items`; the parts may differ in length by one."""
        return items[self.rank :: self.size]

    def rows(self, total: int) -> slice:
        """Return this process's rows of `total`, the parts in order and as equal as can be."""
        return slice(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def gather(self, mine: Sequence[T]) -> list[T]:
        """Put the parts that `share` gave together again.

        Raises:
            TeamError: Another process has ended.
        """
        if self.size == 1:
            return list(mine)
        import torch.distributed as dist

        parts: list[Sequence[T]] = [[] for _ in range(self.size)]
        with _together():
            dist.all_gather_object(parts, list(mine))
        total = sum(len(part) for part in parts)
        return [parts[i % self.size][i // self.size] for i in range(total)]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Add every tensor up over the processes, in place, so that all hold the sums.

        Raises:
            TeamError: Another process has ended.
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

    def told(self, value: T) -> T:
        """Return the leader's `value`.

        Raises:
            TeamError: Another process has ended.
        """
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        with _together():
            dist.broadcast_object_list(box, src=0)
        return box[0]


@contextlib.contextmanager
def assembled(device: torch.device) -> Iterator[Team]:
    """Wait for the other processes, and part from them at the end.

    Raises:
        TeamError: They cannot be reached, or one of them ends early.
    """
    team = Team.named()
    if team.size == 1:
        yield team
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
        yield team
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
        raise TeamError(
            f"another process of this training ended, so this one ends, too; go on with --resume ({why})"
        ) from error


def _end(*_: object) -> None:
    raise TeamError("torchrun ended this process, as another one had ended; go on with --resume")
