"""Which clips each ensemble member is trained on, and which it holds out for validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidlstm.data.stratify import divide
from vidlstm.records import read_part_name

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

    Groups stay together, and a group that holds all clips of a class is held out by no member. Only if that
    is so for half of the classes or more are groups split. With fewer parts than members, some members hold
    out the same part.
    """
    classes = {labels[i] for i in indices}
    single = [str(i) for i in range(len(labels))]
    for names, required in ((groups, False), (groups, True), (single, False)):
        parts, kept = _divide(indices, labels, names, members, seed, required)
        if parts and (names is single or 2 * len(kept) < len(classes)):
            return [parts[member % len(parts)] for member in range(members)]
    return [[] for _ in range(members)]  # too few clips to hold any out: the last epoch is used


def held_out_again(
    indices: Sequence[int],
    labels: Sequence[str],
    groups: Sequence[str],
    names: Sequence[str],
    left_out: Collection[str],
    learned: Collection[str],
) -> list[int]:
    """Return the clips that a member holds out when its training goes on with other clips.

    These are the clips that it left out before, and new clips of the groups that it left out. Clips that it
    was trained on stay in training, with the whole group if a class would be missing there. Parts of a film
    are recognised by the film, as corrected times change their names.

    Args:
        indices: The usable training clips now.
        labels: Class of each clip.
        groups: Group of each clip.
        names: Name of each clip.
        left_out: Names of the clips that the member left out before.
        learned: Names of all training clips before, including these.
    """
    files = {i: read_part_name(names[i])[0] for i in indices}
    trained = set(learned) - set(left_out)
    trained_files, left_files = ({read_part_name(n)[0] for n in some} for some in (trained, left_out))
    unseen_files = left_files - trained_files
    again = {i for i in indices if names[i] in left_out or files[i] in unseen_files}
    # A group with clips of both kinds was split: the member knows it, so its new clips are trained on.
    split = {groups[i] for i in indices if i not in again and files[i] in trained_files}
    whole = {groups[i] for i in again} - split
    again |= {i for i in indices if groups[i] in whole}
    missing = {labels[i] for i in indices} - {labels[i] for i in indices if i not in again}
    needed = {groups[i] for i in again if labels[i] in missing}
    return [i for i in indices if i in again and groups[i] not in needed]


def with_new_groups(
    held_out: Sequence[list[int]], new: Sequence[int], labels: Sequence[str], groups: Sequence[str], seed: int
) -> list[list[int]]:
    """Return what each member holds out when its training goes on, with its part of new groups.

    If every member holds out clips already, its part may be empty, and no group is split.

    Args:
        held_out: The clips that each member holds out again.
        new: The usable training clips of groups that no member was trained on.
        labels: Class of each clip.
        groups: Group of each clip.
        seed: Of the division.
    """
    if not new:
        return list(held_out)
    members = len(held_out)
    if all(held_out):
        parts, _ = _divide(new, labels, groups, members, seed, required=False)
        parts += [[] for _ in range(members - len(parts))]
    else:
        parts = member_parts(new, labels, groups, members, seed)
    return [sorted({*again, *part}) for again, part in zip(held_out, parts, strict=True)]


def _divide(
    indices: Sequence[int],
    labels: Sequence[str],
    groups: Sequence[str],
    members: int,
    seed: int,
    required: bool,
) -> tuple[list[list[int]], set[str]]:
    """Return parts of the clips, none of them empty, and the classes that are in no part.

    These are the classes that the training clips of a member would lack.
    """
    shares = [1 / members] * members if members > 1 else [1 - _SINGLE_MEMBER_SHARE, _SINGLE_MEMBER_SHARE]
    total = Counter(labels[i] for i in indices)
    bins = divide(indices, labels, groups, shares, seed, required)
    parts, kept = [], set()
    for part in bins if members > 1 else bins[1:]:
        counts = Counter(labels[i] for i in part)
        whole = {label for label, number in counts.items() if number == total[label]}
        needed = {groups[i] for i in part if labels[i] in whole}
        parts.append([i for i in part if groups[i] not in needed])
        kept |= whole
    return [part for part in parts if part], kept
