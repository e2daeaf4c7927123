"""Sides and folds that no group crosses.

Where every sample is its own group, they are stratified random ones. The same samples and seed
give the same subsets, whatever the order of the files and wherever they lie.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vidlstm.data.layouts.folders import Subset, some
from vidlstm.data.leaks import Leak, describe_leaks, find_leaks
from vidlstm.data.samples import Dataset
from vidlstm.data.stratify import divide
from vidlstm.errors import DataError, LeakError, UsageError

__all__ = [
    "Fold",
    "Leak",
    "Split",
    "find_leaks",
    "given_fold",
    "hold_out",
    "make_folds",
    "make_split",
]

_VAL_SHARE = 0.2
SUBSETS: tuple[Subset, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Indices of a data set's samples on each subset, ascending, and what to know about them."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def subset(self, name: Subset) -> tuple[int, ...]:
        """Return the indices of one subset."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


@dataclass(frozen=True)
class Fold:
    """One round of a cross-validation: what is held out, and the indices on either subset."""

    held_out_name: str
    train_indices: tuple[int, ...]
    test_indices: tuple[int, ...]


def make_split(
    dataset: Dataset,
    *,
    seed: int,
    val_share: float | None = None,
    test_share: float = 0.0,
    allow_shared_groups: bool = False,
) -> Split:
    """Put every sample in a subset. Sides that the data gives stay as they are.

    A subset that is missing is cut from the training samples by group. Every class stays on the
    training subset; one that another subset lacks is named in the notes.

    Args:
        dataset: The samples.
        seed: The same seed gives the same split.
        val_share: Share of the samples that become validation, unless the data gives that subset; by
            default a fifth, or none where the data has a test subset to score by.
        test_share: Likewise for test.
        allow_shared_groups: Accept a given split with a group in several subsets.

    Raises:
        LeakError: A given split has a group in several subsets.
        DataError: A class has no training samples, or no group can be held out.
        UsageError: The shares make no sense.
    """
    if val_share is None:
        has_test = any(sample.split == "test" for sample in dataset.samples)
        val_share = 0.0 if has_test else _VAL_SHARE
    _check_shares(val_share, test_share)
    leaks = find_leaks(dataset)
    if leaks and not allow_shared_groups:
        raise LeakError(
            f"{dataset.root}: {describe_leaks(leaks)}; scores would be too good. Mend the split, or "
            "accept it with --allow-shared-groups"
        )
    given: dict[Subset, list[int]] = {"train": [], "val": [], "test": []}
    for index, sample in enumerate(dataset.samples):
        given[sample.split or "train"].append(index)
    untaught = sorted(set(dataset.classes) - {dataset.samples[i].label for i in given["train"]})
    if untaught:
        raise DataError(f"{dataset.root}: its split has no clip of {_quoted(untaught)} in the train subset")
    wanted: dict[Subset, float] = {"val": val_share, "test": test_share}
    cut = {subset: share for subset, share in wanted.items() if share > 0 and not given[subset]}
    shares: dict[Subset, float] = {"train": 1 - sum(cut.values()), **cut}
    labels = [sample.label for sample in dataset.samples]
    groups = [sample.group for sample in dataset.samples]
    train = given["train"]
    bins = divide(train, labels, groups, list(shares.values()), seed, required=True)
    for subset, part in zip(shares, bins, strict=True):
        given[subset] = part
        if not part:
            raise DataError(
                f"{dataset.root}: no group can be held out for {subset}, because each class needs one to "
                f"learn from. {dataset.group_rule} Name finer groups with --group-by or --group-column, "
                "or give the subsets yourself"
            )
    notes = list(_missing_notes(given, labels, groups))
    if leaks:
        notes.insert(0, f"{describe_leaks(leaks)}; accepted as asked, so scores may be too good")
    return Split(tuple(given["train"]), tuple(given["val"]), tuple(given["test"]), tuple(notes))


def make_folds(dataset: Dataset, folds: int | Literal["group"], seed: int) -> tuple[Fold, ...]:
    """Divide all samples into folds, whatever subsets the data gives.

    Args:
        dataset: The samples.
        folds: `group` holds out one group after the other; a number gives so many folds that no
            group crosses, stratified by class.
        seed: Of the numbered folds.

    Raises:
        UsageError: There are fewer groups than folds.
        DataError: A class would be missing from a fold's training subset.
    """
    labels = [sample.label for sample in dataset.samples]
    groups = [sample.group for sample in dataset.samples]
    everything = range(len(labels))
    num_groups = dataset.num_groups
    least = 2 if folds == "group" else folds
    if least < 2:
        raise UsageError(f"--folds {folds}: at least 2 are needed")
    if num_groups < least:
        raise UsageError(
            f"--folds {folds}: needs {least} groups or more, and the data has {num_groups}. "
            f"{dataset.group_rule}"
        )
    lonely = [name for name, count in _groups_per_class(everything, labels, groups).items() if count == 1]
    if lonely:
        raise DataError(
            f"{dataset.root}: class {_quoted(lonely)} has one group only, so no fold can "
            "both learn and test it; add recordings, leave it out, or name finer groups with --group-by"
        )
    if folds == "group":
        held_out: dict[str, list[int]] = defaultdict(list)
        for index, group in enumerate(groups):
            held_out[group].append(index)
        named = sorted(held_out.items())
    else:
        bins = divide(everything, labels, groups, [1 / folds] * folds, seed, required=False)
        named = [(f"fold {i + 1}", part) for i, part in enumerate(bins)]
    result = []
    for name, part in named:
        test = set(part)
        train = tuple(i for i in everything if i not in test)
        absent = sorted(set(dataset.classes) - {labels[i] for i in train})
        if absent:
            raise DataError(
                f"{dataset.root}: all clips of class {_quoted(absent)} fall into {name}; "
                "try more folds, another --seed or --folds group"
            )
        result.append(Fold(name, train, tuple(part)))
    return tuple(result)


def given_fold(dataset: Dataset) -> Fold:
    """Return the one fold that the data's own subsets make: learn from train and val, score test.

    Raises:
        UsageError: The data has no test subset, or nothing beside it.
    """
    test = tuple(i for i, sample in enumerate(dataset.samples) if sample.split == "test")
    train = tuple(i for i, sample in enumerate(dataset.samples) if sample.split != "test")
    if not test or not train:
        raise UsageError(
            f"--folds split: {dataset.root} has no train and test subset of its own; give a number"
        )
    return Fold("test", train, test)


def hold_out(
    indices: Sequence[int], labels: Sequence[str], groups: Sequence[str], share: float, seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cut a validation subset from some samples, for example for early stopping inside a fold.

    Where no group can be spared, because all samples are of one or each class is, the cut goes
    through the groups, and the score on the held-out subset flatters.

    Args:
        indices: Which samples to divide.
        labels: Of all samples, not only those of `indices`.
        groups: Of all samples.
        share: Share to hold out, above 0 and below 1.
        seed: The same seed gives the same cut.

    Returns:
        Indices to train on and indices to validate on, ascending.

    Raises:
        UsageError: The share makes no sense.
    """
    _check_shares(share, 0.0)
    train, val = divide(indices, labels, groups, [1 - share, share], seed, required=True)
    if not val:
        alone = [str(i) for i in range(len(labels))]
        train, val = divide(indices, labels, alone, [1 - share, share], seed, required=True)
    return tuple(train), tuple(val)


def _check_shares(*shares: float) -> None:
    if any(not 0 <= share < 1 for share in shares) or sum(shares) >= 1:
        given = " and ".join(f"{share:g}" for share in shares if share)
        raise UsageError(
            f"shares to hold out of {given}: each must be from 0 to below 1, and some must be left"
        )


def _groups_per_class(indices: Iterable[int], labels: Sequence[str], groups: Sequence[str]) -> dict[str, int]:
    found: defaultdict[str, set[Hashable]] = defaultdict(set)
    for i in indices:
        found[labels[i]].add(groups[i])
    return {name: len(found[name]) for name in sorted(found)}


def _missing_notes(
    subsets: Mapping[Subset, Sequence[int]], labels: Sequence[str], groups: Sequence[str]
) -> Iterable[str]:
    """Say which classes a subset lacks, and which of them could not be on it."""
    everything = [i for part in subsets.values() for i in part]
    num_groups = _groups_per_class(everything, labels, groups)
    words: dict[Subset, str] = {"val": "validation", "test": "test"}
    for subset, word in words.items():
        present = {labels[i] for i in subsets[subset]}
        for lonely in (True, False):
            names = [n for n, count in num_groups.items() if n not in present and (count == 1) == lonely]
            if not names or not present:
                continue
            subject, are, they = ("class", "is", "it") if len(names) == 1 else ("classes", "are", "they")
            has = "has" if len(names) == 1 else "have"
            why = f" {has} one group only: {they}" if lonely else ""
            yield f"{subject} {_quoted(names)}{why} {are} not in {word}"


def _quoted(names: Sequence[str]) -> str:
    return some([f'"{name}"' for name in names])
