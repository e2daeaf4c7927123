"""Distribute groups of samples over bins, so that each class has the requested share in every bin.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", 2011)
with groups instead of samples and their classes instead of labels: the next group goes into the bin that
lacks its classes most. The result depends only on labels, names of groups and the seed.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_PLACEMENTS = 10_000  # groups placed in all tries together: many tries for small data, one for large
_MAX_TRIES = 8
_SWEEPS = 3
# Cost of a class that is missing in a bin. The error of a share costs below 1.
_EMPTY_FIRST = 100.0
_EMPTY_OTHER = 10.0


@dataclass(frozen=True)
class _Group:
    """A group's samples, and how many it has of each class; class 0 is all classes together."""

    indices: list[int]
    classes: npt.NDArray[np.intp]
    counts: npt.NDArray[np.float64]


def divide(
    indices: Iterable[int],
    labels: Sequence[str],
    groups: Sequence[str],
    shares: Sequence[float],
    seed: int,
    required: bool,
) -> list[list[int]]:
    """Distribute groups over bins so that each class has, as nearly as possible, its share in each bin.

    The best of several shuffled tries is kept. The cost is the squared error of the shares, summed over
    classes and bins.

    Args:
        indices: Samples to divide.
        labels: Labels of all samples.
        groups: Groups of all samples.
        shares: Share of each bin; they sum to 1.
        seed: Seed of the tries.
        required: Every class must be in the first bin, and in the others if possible.

    Returns:
        The samples of each bin, ascending.
    """
    packed, totals = _pack(indices, labels, groups)
    lack = np.zeros(len(shares))
    if required:
        lack[:] = _EMPTY_OTHER
        lack[0] = _EMPTY_FIRST
    rng = random.Random(seed)
    best: tuple[float, list[int]] | None = None
    num_tries = max(1, min(_MAX_TRIES, _PLACEMENTS // max(1, len(packed))))
    for _ in range(num_tries):
        # Roughly in descending size, as small groups fill the gaps; the random factor makes tries differ.
        order = sorted(range(len(packed)), key=lambda g: -packed[g].counts[0] * rng.uniform(0.5, 1.5))
        tried = _place(packed, totals, np.asarray(shares), lack, order, _SWEEPS if num_tries > 1 else 0)
        if best is None or tried[0] < best[0] - 1e-12:
            best = tried
    assert best is not None
    bins: list[list[int]] = [[] for _ in shares]
    for group, chosen in zip(packed, best[1], strict=True):
        bins[chosen] += group.indices
    return [sorted(part) for part in bins]


def _pack(
    indices: Iterable[int], labels: Sequence[str], groups: Sequence[str]
) -> tuple[list[_Group], npt.NDArray[np.float64]]:
    """Return the groups, sorted by name, and the total of every class."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for index in indices:
        members[groups[index]].append(index)
    number = {name: i for i, name in enumerate(sorted({labels[i] for m in members.values() for i in m}), 1)}
    totals = np.zeros(len(number) + 1)
    packed = []
    for _, part in sorted(members.items()):
        counted = Counter(number[labels[i]] for i in part)
        classes = np.array([0, *sorted(counted)])
        counts = np.array([len(part), *(counted[c] for c in sorted(counted))], dtype=np.float64)
        totals[classes] += counts
        packed.append(_Group(part, classes, counts))
    return packed, totals


def _place(
    packed: Sequence[_Group],
    totals: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
    lack: npt.NDArray[np.float64],
    order: Sequence[int],
    num_sweeps: int,
) -> tuple[float, list[int]]:
    """Put each group into the cheapest bin, then move groups while that helps. Return cost and bins."""
    filled = np.zeros((len(totals), len(shares)))
    chosen = [0] * len(packed)

    def cost_of_adding(group: _Group) -> npt.NDArray[np.float64]:
        share = (group.counts / totals[group.classes])[:, None]
        now = filled[group.classes]
        error = now / totals[group.classes, None] - shares
        change: npt.NDArray[np.float64] = ((2 * error + share) * share - lack * (now == 0)).sum(axis=0)
        return change

    for g in order:
        chosen[g] = int(np.argmin(cost_of_adding(packed[g])))
        filled[packed[g].classes, chosen[g]] += packed[g].counts
    for _ in range(num_sweeps):
        moved = False
        for g in order:
            group = packed[g]
            filled[group.classes, chosen[g]] -= group.counts
            costs = cost_of_adding(group)
            target = int(np.argmin(costs))
            if costs[target] < costs[chosen[g]] - 1e-12:
                chosen[g], moved = target, True
            filled[group.classes, chosen[g]] += group.counts
        if not moved:
            break
    errors = filled / totals[:, None] - shares
    return float((errors**2).sum() + (lack * (filled == 0)).sum()), chosen
