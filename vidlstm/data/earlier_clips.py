"""Split the clips of a training that starts from the weights of an earlier one, or continues it.

Clips that the weights were trained on are never held out, as they would be scored too high: whatever seed is
chosen and however the data has grown, each earlier clip keeps its subset, and only new groups are divided.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vidlstm.data.layouts.folders import Subset, count, some
from vidlstm.data.samples import Dataset, Sample
from vidlstm.data.split_table import SplitRow
from vidlstm.data.splits import VAL_SHARE, Split, make_split
from vidlstm.data.stratify import divide
from vidlstm.errors import DataError, LeakError


@dataclass(frozen=True)
class EarlierClips:
    """The clips of an earlier training.

    Args:
        run: Its folder.
        rows: The rows of its `split.csv`.
        before: Fingerprints of clips that its weights were trained on even earlier.
    """

    run: Path
    rows: Mapping[str, SplitRow]
    before: Collection[str] = ()

    @cached_property
    def learned(self) -> frozenset[str]:
        """Fingerprints of all clips that the weights were trained on."""
        return frozenset({*self.before, *self._prints(held_out=False)} - {""})

    @cached_property
    def _held_out(self) -> frozenset[str]:
        return frozenset(self._prints(held_out=True) - {""})

    def _prints(self, *, held_out: bool) -> set[str]:
        return {row.fingerprint for row in self.rows.values() if (row.subset != "train") == held_out}

    def is_held_out(self, sample: Sample, name: str, fingerprint: str) -> bool | None:
        """Tell whether a clip was held out, rather than trained on; None if it is new.

        A clip is known by its content, or by its name, label and group if its content has changed.
        """
        row = self.rows.get(name)
        same = row is not None and (row.label, row.group) == (sample.label, sample.group)
        if row is not None and same and row.fingerprint == fingerprint:
            return row.subset != "train"  # even if a copy of it was in the other subset
        if fingerprint in self.learned:
            return False
        if fingerprint in self._held_out:
            return True
        return row.subset != "train" if row is not None and same else None


def new_groups(dataset: Dataset, fingerprints: Sequence[str], earlier: EarlierClips) -> set[str]:
    """Return the groups of which the earlier weights were trained on no clip.

    Args:
        dataset: The samples.
        fingerprints: Fingerprint of every sample's content; empty if it cannot be read.
        earlier: The clips of the earlier training.
    """
    groups = {sample.group for sample in dataset.samples}
    return groups - _learned_groups(dataset, _held_out(dataset, fingerprints, earlier), earlier)


def split_again(
    dataset: Dataset,
    fingerprints: Sequence[str],
    earlier: EarlierClips,
    *,
    seed: int,
    val_share: float | None = None,
    allow_shared_groups: bool = False,
) -> Split:
    """Split as `make_split` does, but hold out no clip that the earlier weights were trained on.

    Where the data gives no subsets, earlier clips keep theirs. A new clip joins its group: in the training
    subset, if any clip of the group was trained on. `val_share` is the share of the clips of new groups.

    Args:
        dataset: The samples.
        fingerprints: Fingerprint of every sample's content; empty if it cannot be read.
        earlier: The clips of the earlier training.
        seed: As for `make_split`.
        val_share: As for `make_split`.
        allow_shared_groups: Accept a given split with a group in several subsets, or that holds out clips
            that were trained on.

    Raises:
        LeakError: A given split has a group in several subsets, or holds out clips that were trained on.
        DataError: A class has no training samples, or no group can be held out.
        UsageError: The share is invalid.
    """
    names = [sample.name(dataset.root) for sample in dataset.samples]
    held_out = _held_out(dataset, fingerprints, earlier)

    def make(data: Dataset) -> Split:
        return make_split(data, seed=seed, val_share=val_share, allow_shared_groups=allow_shared_groups)

    split = make(dataset)
    if split.val and not any(sample.split == "val" for sample in dataset.samples):  # drawn, not given
        share = VAL_SHARE if val_share is None else val_share
        val = _draw(dataset, sorted({*split.train, *split.val}), held_out, earlier, share, seed)
        if not val:
            raise DataError(
                f"{dataset.root}: {earlier.run} was trained on these clips or on others of their groups, so "
                "none can be held out. Add recordings, or train without a score with `val_share=0`"
            )
        subsets: dict[int, Subset] = {
            **dict.fromkeys(split.train, "train"),
            **dict.fromkeys(split.test, "test"),
        }
        subsets |= {**dict.fromkeys(split.val, "train"), **dict.fromkeys(val, "val")}
        samples = [replace(sample, split=subsets[i]) for i, sample in enumerate(dataset.samples)]
        split = make(replace(dataset, samples=tuple(samples)))
    leaked = [names[i] for i in sorted({*split.val, *split.test}) if held_out[i] is False]
    if not leaked:
        return split
    leak = (
        f"{earlier.run} was trained on {count(len(leaked), 'clip')} that would be held out ({some(leaked)})"
    )
    if not allow_shared_groups:
        raise LeakError(
            f"{dataset.root}: {leak}; scores would be too high. Correct the split, or accept it with "
            "`allow_shared_groups=True`"
        )
    return replace(split, notes=(f"{leak}; accepted on request, so scores may be too high", *split.notes))


def _held_out(dataset: Dataset, fingerprints: Sequence[str], earlier: EarlierClips) -> list[bool | None]:
    """Return for each sample whether it was held out, as `EarlierClips.is_held_out` does."""
    return [
        earlier.is_held_out(sample, sample.name(dataset.root), fingerprint)
        for sample, fingerprint in zip(dataset.samples, fingerprints, strict=True)
    ]


def _learned_groups(dataset: Dataset, held_out: Sequence[bool | None], earlier: EarlierClips) -> set[str]:
    """Return the groups of the clips that were trained on, also of clips that are gone."""
    learned = {s.group for s, known in zip(dataset.samples, held_out, strict=True) if known is False}
    is_same_data = any(known is not None for known in held_out)
    if is_same_data:  # in other data equal names of groups mean nothing
        learned |= {row.group for row in earlier.rows.values() if row.subset == "train"}
    return learned


def _draw(
    dataset: Dataset,
    indices: Sequence[int],
    held_out: Sequence[bool | None],
    earlier: EarlierClips,
    share: float,
    seed: int,
) -> list[int]:
    """Return the clips to hold out."""
    groups = [sample.group for sample in dataset.samples]
    learned = _learned_groups(dataset, held_out, earlier)
    kept = {groups[i] for i in indices if held_out[i]} - learned
    new = [i for i in indices if groups[i] not in learned | kept]
    val = [i for i in indices if groups[i] in kept]
    if new:
        labels = [sample.label for sample in dataset.samples]
        val += divide(new, labels, groups, [1 - share, share], seed, required=not learned or not kept)[1]
    return sorted(val)
