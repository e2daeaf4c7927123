"""Find groups that a given split puts in more than one subset, which makes its scores too high."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vidlstm.data.layouts.folders import Subset, count, some
from vidlstm.data.samples import Dataset


@dataclass(frozen=True)
class Leak:
    """A group that a given split puts in several subsets, and its number of samples in each."""

    group: str
    num_samples: Mapping[Subset, int]


def find_leaks(dataset: Dataset) -> tuple[Leak, ...]:
    """Return the groups that a given split puts in more than one subset, sorted by name.

    Samples without a subset are trained on.
    """
    subsets: defaultdict[str, Counter[Subset]] = defaultdict(Counter)
    if all(sample.split is None for sample in dataset.samples):
        return ()
    for sample in dataset.samples:
        subsets[sample.group][sample.split or "train"] += 1
    return tuple(Leak(group, dict(counts)) for group, counts in sorted(subsets.items()) if len(counts) > 1)


def describe_leaks(leaks: Sequence[Leak]) -> str:
    """Return a sentence with the number of leaking groups and up to five names."""
    names = [
        f"{leak.group} ({', '.join(f'{n} {subset}' for subset, n in sorted(leak.num_samples.items()))})"
        for leak in leaks
    ]
    verb = "is" if len(leaks) == 1 else "are"
    return f"{count(len(leaks), 'group')} {verb} in several subsets of the given split: {some(names, 5)}"
