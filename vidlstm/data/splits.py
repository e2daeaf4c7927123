"""Splits and folds in which every group is in one subset.

If every sample is its own group, this is a stratified random split. The same samples and seed give the same
subsets, whatever the order of the files and their folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vidlstm.data.films import BACKGROUND
from vidlstm.data.layouts.folders import Subset, some
from vidlstm.data.leaks import describe_leaks, find_leaks
from vidlstm.data.samples import Dataset
from vidlstm.data.stratify import divide
from vidlstm.errors import DataError, LeakError, UsageError

VAL_SHARE = 0.2
SUBSETS: tuple[Subset, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Indices of the samples in each subset, ascending, and notes on the split."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def subset(self, name: Subset) -> tuple[int, ...]:
        """Return the indices of one subset."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation: its name, and the indices to train on and to test."""

    held_out_name: str
    train_indices: tuple[int, ...]
    test_indices: tuple[int, ...]


def make_split(
    dataset: Dataset,
    *,
    seed: int,
    val_share: float | None = None,
    allow_shared_groups: bool = False,
) -> Split:
    """Put every sample in a subset. Subsets that the data gives are kept.

    A missing `val` subset is taken from the training samples by group. The training subset keeps every class;
    the notes name the classes that another subset lacks.

    Args:
        dataset: The samples.
        seed: The same seed gives the same split.
        val_share: Share of the samples to hold out in `val` unless the data gives that subset, from 0
            to below 1. Default: 0.2, or 0 if the data has a test subset.
        allow_shared_groups: Accept a given split with a group in several subsets.

    Raises:
        LeakError: A given split has a group in several subsets.
        DataError: A class has no training samples, or no group can be held out.
        UsageError: The share is invalid.
    """
    if val_share is None:
        has_test = any(sample.split == "test" for sample in dataset.samples)
        val_share = 0.0 if has_test else VAL_SHARE
    if not 0 <= val_share < 1:
        raise UsageError(f"`val_share={val_share:g}`: must be at least 0 and below 1, such as 0.2")
    leaks = find_leaks(dataset)
    if leaks and not allow_shared_groups:
        raise LeakError(
            f"{dataset.root}: {describe_leaks(leaks)}; scores would be too high. Correct the split, or "
            "accept it with `allow_shared_groups=True`"
        )
    given: dict[Subset, list[int]] = {"train": [], "val": [], "test": []}
    for index, sample in enumerate(dataset.samples):
        given[sample.split or "train"].append(index)
    untaught = sorted(set(dataset.classes) - {dataset.samples[i].label for i in given["train"]})
    if untaught:
        raise DataError(f"{dataset.root}: its split has no clip of {_quoted(untaught)} in the train subset")
    labels = [sample.label for sample in dataset.samples]
    groups = [sample.group for sample in dataset.samples]
    if val_share > 0 and not given["val"]:
        shares = [1 - val_share, val_share]
        given["train"], given["val"] = divide(given["train"], labels, groups, shares, seed, required=True)
        if not given["val"]:
            raise DataError(_nothing_to_hold_out(dataset, _lonely_classes(given["train"], labels, groups)))
    notes = list(_missing_notes(given, labels, groups))
    if leaks:
        notes.insert(0, f"{describe_leaks(leaks)}; accepted on request, so scores may be too high")
    return Split(tuple(given["train"]), tuple(given["val"]), tuple(given["test"]), tuple(notes))


def make_folds(dataset: Dataset, folds: int | Literal["group"], seed: int) -> tuple[Fold, ...]:
    """Divide all samples into folds, whatever subsets the data gives.

    Args:
        dataset: The samples.
        folds: `group`: one fold per group; a number: this many folds, each group in one of them, stratified
            by class.
        seed: Seed of the numbered folds.

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
        raise UsageError(f"`folds={folds}`: must be at least 2")
    if num_groups < least:
        raise UsageError(
            f"`folds={folds}`: needs at least {least} groups, but the data has {num_groups}. "
            f"{dataset.group_rule}"
        )
    if lonely := _lonely_classes(everything, labels, groups):
        finer = "annotate another film that shows it, or leave it out"
        if not dataset.films:
            finer = "add recordings, leave it out, or give finer groups with `group_by`"
        raise DataError(
            f"{dataset.root}: class {_quoted(lonely)} has only one group, so no fold can both train on it "
            f"and test it; {finer}"
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
                "try more folds, another `seed` or `folds=group`"
            )
        result.append(Fold(name, train, tuple(part)))
    return tuple(result)


def given_fold(dataset: Dataset) -> Fold:
    """Return the fold given by the data's own subsets: train on train and val, score test.

    Raises:
        UsageError: The data has no test subset, or nothing else.
        LeakError: A group is in the test subset and in another one.
    """
    test = tuple(i for i, sample in enumerate(dataset.samples) if sample.split == "test")
    train = tuple(i for i, sample in enumerate(dataset.samples) if sample.split != "test")
    if leaks := [leak for leak in find_leaks(dataset) if "test" in leak.num_samples]:
        raise LeakError(
            f"{dataset.root}: {describe_leaks(leaks)}; the score would be too high. Correct the split, or "
            "use numbered folds"
        )
    if not test or not train:
        raise UsageError(
            f"`folds=split`: {dataset.root} does not give a train and a test subset; use a number"
        )
    return Fold("test", train, test)


def _groups_per_class(indices: Iterable[int], labels: Sequence[str], groups: Sequence[str]) -> dict[str, int]:
    found: defaultdict[str, set[Hashable]] = defaultdict(set)
    for i in indices:
        found[labels[i]].add(groups[i])
    return {name: len(found[name]) for name in sorted(found)}


def _lonely_classes(indices: Iterable[int], labels: Sequence[str], groups: Sequence[str]) -> list[str]:
    return [name for name, number in _groups_per_class(indices, labels, groups).items() if number == 1]


def _nothing_to_hold_out(dataset: Dataset, lonely: Sequence[str]) -> str:
    if dataset.films:
        shown = some([f'"{name}"' for name in lonely if name != BACKGROUND]) or "the same actions"
        return (
            f"{dataset.root}: no film can be held out, because each class needs one for training. "
            f"Annotate another film that shows {shown}"
        )
    return (
        f"{dataset.root}: no group can be held out, because each class needs one for training. "
        f"{dataset.group_rule} Give finer groups with `group_by` or `group_column`, or give the "
        "subsets yourself"
    )


def _missing_notes(
    subsets: Mapping[Subset, Sequence[int]], labels: Sequence[str], groups: Sequence[str]
) -> Iterable[str]:
    """Describe the classes that a subset lacks, and which of them cannot be in it."""
    everything = [i for part in subsets.values() for i in part]
    num_groups = _groups_per_class(everything, labels, groups)
    words: dict[Subset, tuple[str, str]] = {"val": ("validation", "validated"), "test": ("test", "tested")}
    for subset, (noun, verb) in words.items():
        present = {labels[i] for i in subsets[subset]}
        for lonely in (True, False):
            names = [n for n, count in num_groups.items() if n not in present and (count == 1) == lonely]
            if not names or not present:
                continue
            one = len(names) == 1
            subject = f"{'Class' if one else 'Classes'} {_quoted(names)}"
            if lonely:
                occur, they = ("occurs", "it") if one else ("occur", "they")
                yield f"{subject} {occur} in one group only, so {they} cannot be {verb}."
            else:
                yield f"{subject} {'is' if one else 'are'} not in the {noun} subset."


def _quoted(names: Sequence[str]) -> str:
    return some([f'"{name}"' for name in names])
