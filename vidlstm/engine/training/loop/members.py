"""Which clips each ensemble member is trained on, and which it leaves out as its validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidlstm.data.stratify import divide

_ONE_MEMBER_SHARE = 0.1  # of the training clips, which a lone member stops early by


@dataclass(frozen=True)
class Part:
    """What one member learns from, and the clips held out from it."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]


def member_parts(
    indices: Sequence[int], labels: Sequence[str], groups: Sequence[str], members: int, seed: int
) -> list[list[int]]:
    """Divide the training clips into what each member leaves out; a lone member leaves out few.

    Parts go through groups only where a class has too few of them to be held out.
    """
    shares = [1 / members] * members if members > 1 else [1 - _ONE_MEMBER_SHARE, _ONE_MEMBER_SHARE]
    for names in (groups, [str(i) for i in range(len(labels))]):
        parts = divide(indices, labels, names, shares, seed, required=False)
        if members == 1:
            parts = parts[1:]
        if all(_has_all_classes(indices, part, labels) for part in parts):
            return parts
    return [[] for _ in range(members)]  # too few clips to hold out any: the last epoch is taken


def _has_all_classes(indices: Sequence[int], left_out: Sequence[int], labels: Sequence[str]) -> bool:
    """Tell whether every class is still there when a part is left out."""
    away = set(left_out)
    return {labels[i] for i in indices if i not in away} == {labels[i] for i in indices}
