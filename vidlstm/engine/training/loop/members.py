"""Which clips each ensemble member is trained on, and which it holds out for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidlstm.data.stratify import divide

_SINGLE_MEMBER_SHARE = 0.1  # share of the training clips that a single member holds out for early stopping


@dataclass(frozen=True)
class Part:
    """Indices of the clips that one member is trained on, and of those it holds out for validation."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]


def member_parts(
    indices: Sequence[int], labels: Sequence[str], groups: Sequence[str], members: int, seed: int
) -> list[list[int]]:
    """Return the clips that each member holds out; a single member holds out only a few.

    Groups stay together, unless a class has too few groups for that.
    """
    shares = [1 / members] * members if members > 1 else [1 - _SINGLE_MEMBER_SHARE, _SINGLE_MEMBER_SHARE]
    for names in (groups, [str(i) for i in range(len(labels))]):
        parts = divide(indices, labels, names, shares, seed, required=False)
        if members == 1:
            parts = parts[1:]
        if all(_has_all_classes(indices, part, labels) for part in parts):
            return parts
    return [[] for _ in range(members)]  # too few clips to hold any out: the last epoch is used


def _has_all_classes(indices: Sequence[int], left_out: Sequence[int], labels: Sequence[str]) -> bool:
    """Tell whether every class remains when some clips are left out."""
    excluded = set(left_out)
    return {labels[i] for i in indices if i not in excluded} == {labels[i] for i in indices}
