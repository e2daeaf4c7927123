"""The data doctor: what is readable, how much of it there is, what is there twice, what would leak.

`diagnose` puts together what reading every file (`vidlstm.engine.inspection.inspect`) has told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlstm.config import Kind
from vidlstm.data.groups import equal_files
from vidlstm.data.layouts.folders import Subset
from vidlstm.data.leaks import describe_leaks, find_leaks
from vidlstm.data.samples import Dataset
from vidlstm.data.splits import make_split
from vidlstm.engine.inspection.inspect import Facts
from vidlstm.engine.inspection.near_duplicates import cluster, near_pairs
from vidlstm.errors import DataError
from vidlstm.records import SCHEMA

SHORT_FRAMES = 16
"""Fewer frames than training reads by default: some are read twice."""


@dataclass(frozen=True)
class Checked:
    """One file: what it is, and what the data set says of it.

    Args:
        path: The file.
        kind: What it was read as.
        facts: What reading it told.
        label: Its class, in a labelled data set.
        group: Its group, likewise.
        subset: The subset of the split that training would put it on.
    """

    path: Path
    kind: Kind
    facts: Facts
    label: str | None = None
    group: str | None = None
    subset: Subset | None = None

    @property
    def is_short(self) -> bool:
        """Whether it is a video of fewer frames than are read of it."""
        return self.kind == "video" and 0 < self.facts.num_frames < SHORT_FRAMES

    def to_json(self) -> dict[str, Any]:
        """Return what `check --json` says of a file."""
        names = {"path": str(self.path), "label": self.label, "group": self.group, "side": self.subset}
        return {**names, **self.facts.to_json(), "too_short": self.is_short}


@dataclass(frozen=True)
class Twins:
    """Files that are the same, or look the same.

    Args:
        exact: Equal to the byte.
        members: Two or more.
    """

    exact: bool
    members: tuple[Checked, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Their classes: more than one is a contradiction."""
        return tuple(sorted({m.label for m in self.members if m.label is not None}))

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets that training would put them on: more than one is a leak."""
        return tuple(sorted({m.subset for m in self.members if m.subset is not None}))

    @property
    def num_groups(self) -> int:
        """Their groups: with more than one, another seed may put them in different subsets."""
        return len({m.group for m in self.members if m.group is not None})

    def to_json(self) -> dict[str, Any]:
        """Return what `check --json` says of them."""
        paths = [str(m.path) for m in self.members]
        return {"paths": paths, "labels": self.labels, "sides": self.subsets, "num_groups": self.num_groups}


@dataclass(frozen=True)
class CheckReport:
    """What there is to know of a data set, or of a heap of files, before training.

    Args:
        root: What was checked.
        layout: What it was recognised as.
        files: Everything, in order.
        twins: Exact ones first.
        group_rule: Where groups come from; empty for files without labels.
        leaks: What puts one recording on two subsets, a sentence each.
        notes: What else to know, a sentence each.
    """

    root: Path
    layout: str
    files: tuple[Checked, ...]
    twins: tuple[Twins, ...]
    group_rule: str
    leaks: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def unusable(self) -> tuple[Checked, ...]:
        """Files of which nothing can be read."""
        return tuple(f for f in self.files if not f.facts.usable)

    @property
    def damaged(self) -> tuple[Checked, ...]:
        """Files of which a part can be read."""
        return tuple(f for f in self.files if f.facts.usable and f.facts.problem is not None)

    @property
    def short(self) -> tuple[Checked, ...]:
        """Videos of fewer frames than are read of them."""
        return tuple(f for f in self.files if f.is_short)

    @property
    def liars(self) -> tuple[Checked, ...]:
        """Files whose header claims another number of frames than there are."""
        return tuple(f for f in self.files if f.facts.header_lies)

    @property
    def class_counts(self) -> dict[str, int]:
        """Usable files of each class, by name."""
        counts = Counter(f.label for f in self.files if f.facts.usable)
        return {name: counts[name] for name in sorted({f.label for f in self.files if f.label is not None})}

    @property
    def imbalance(self) -> float | None:
        """How many times larger the largest class is than the smallest; None where that says nothing."""
        counts = self.class_counts.values()
        return max(counts) / min(counts) if counts and min(counts) else None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `check --json`."""
        subsets = Counter(f.subset for f in self.files if f.subset is not None)
        return {
            "schema": SCHEMA,
            "root": str(self.root),
            "layout": self.layout,
            "num_files": len(self.files),
            "num_unusable": len(self.unusable),
            "num_truncated": len(self.damaged),
            "num_too_short": len(self.short),
            "num_wrong_headers": len(self.liars),
            "classes": self.class_counts,
            "imbalance": self.imbalance,
            "num_groups": len({f.group for f in self.files if f.group is not None}),
            "group_rule": self.group_rule or None,
            "split": dict(sorted(subsets.items())),
            "leaks": list(self.leaks),
            "exact_duplicates": [t.to_json() for t in self.twins if t.exact],
            "near_duplicates": [t.to_json() for t in self.twins if not t.exact],
            "notes": list(self.notes),
            "files": [f.to_json() for f in self.files],
        }


def diagnose(
    root: Path,
    files: Sequence[tuple[Path, Kind]],
    facts: Sequence[Facts],
    dataset: Dataset | None,
    *,
    seed: int = 0,
    val_share: float | None = None,
    notes: Sequence[str] = (),
) -> CheckReport:
    """Put together what was found.

    Args:
        root: What was checked.
        files: Everything that was checked.
        facts: Of each file.
        dataset: Whose samples the files are, in the same order; None for files without labels.
        seed: Of the split that training would make.
        val_share: Likewise.
        notes: What is known already.
    """
    notes, leaks = list(notes), []
    subsets: dict[int, Subset] = {}
    if dataset is not None:
        notes += dataset.lost + dataset.notes
        if found := find_leaks(dataset):
            leaks.append(describe_leaks(found))
        try:
            split = make_split(dataset, seed=seed, val_share=val_share, allow_shared_groups=True)
        except DataError as error:
            notes.append(f"training would refuse this: {error}")
        else:
            notes += split.notes[1 if found else 0 :]  # the first one is the leak
            names: tuple[Subset, ...] = ("train", "val", "test")
            subsets = {index: subset for subset in names for index in split.subset(subset)}
    labels = [(None, None)] * len(files) if dataset is None else [(s.label, s.group) for s in dataset.samples]
    checked = tuple(
        Checked(path, kind, fact, label, group, subsets.get(i))
        for i, ((path, kind), fact, (label, group)) in enumerate(zip(files, facts, labels, strict=True))
    )
    exact = equal_files([path for path, _ in files])
    copies = {index for members in exact for index in members[1:]}
    near = cluster(near_pairs([None if i in copies else fact.look for i, fact in enumerate(facts)]))
    twins = tuple(
        Twins(is_exact, tuple(checked[i] for i in members))
        for is_exact, groups in ((True, exact), (False, near))
        for members in groups
    )
    for is_exact, word in ((True, "equal files"), (False, "files that look the same")):
        crossing = [t for t in twins if t.exact == is_exact and len(t.subsets) > 1]
        if crossing:
            first = " and ".join(str(m.path) for m in crossing[0].members[:2])
            leaks.append(f"{len(crossing)} sets of {word} would be in several subsets: {first}")
    rule = dataset.group_rule if dataset is not None else ""
    layout = dataset.layout if dataset is not None else "files without labels"
    return CheckReport(root, layout, checked, twins, rule, tuple(leaks), tuple(notes))
