"""The data doctor: unreadable files, class balance, duplicates and leaks of a data set.

`diagnose` combines the results of `inspect.inspect_files` with the data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidlstm.config import Kind
from vidlstm.data.groups import equal_files
from vidlstm.data.layouts.folders import Subset, count
from vidlstm.data.leaks import describe_leaks, find_leaks
from vidlstm.data.samples import Dataset
from vidlstm.data.splits import make_split
from vidlstm.engine.inspection.inspect import Facts
from vidlstm.engine.inspection.near_duplicates import cluster, near_pairs
from vidlstm.errors import DataError
from vidlstm.records import SCHEMA

SHORT_FRAMES = 16
"""Frames that training reads per clip by default. In a shorter clip, some are read twice."""


@dataclass(frozen=True)
class CheckedFile:
    """One file: facts found by reading it, and its place in the data set.

    Args:
        path: The file.
        kind: The kind that it was read as.
        facts: Facts found by reading it.
        label: Its class; None without labels.
        group: Its group; None without labels.
        subset: The subset that training would put it in.
    """

    path: Path
    kind: Kind
    facts: Facts
    label: str | None = None
    group: str | None = None
    subset: Subset | None = None

    @property
    def is_short(self) -> bool:
        """Whether it is a video with fewer frames than training reads."""
        return self.kind == "video" and 0 < self.facts.num_frames < SHORT_FRAMES

    def to_json(self) -> dict[str, Any]:
        """Return the fields of `check --json`. `side` is the former name of `subset`."""
        names = {"path": str(self.path), "label": self.label, "group": self.group}
        subset = {"subset": self.subset, "side": self.subset}
        return {**names, **subset, **self.facts.to_json(), "too_short": self.is_short}


@dataclass(frozen=True)
class Duplicates:
    """Files with the same content, or near duplicates.

    Args:
        exact: Whether they are identical.
        members: Two or more files.
    """

    exact: bool
    members: tuple[CheckedFile, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Their classes; more than one is a contradiction."""
        return tuple(sorted({m.label for m in self.members if m.label is not None}))

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets that training would put them in; more than one is a leak."""
        return tuple(sorted({m.subset for m in self.members if m.subset is not None}))

    @property
    def num_groups(self) -> int:
        """Number of their groups. With more than one, another seed may put them in different subsets."""
        return len({m.group for m in self.members if m.group is not None})

    def to_json(self) -> dict[str, Any]:
        """Return the object of `check --json`. `sides` is the former name of `subsets`."""
        return {
            "paths": [str(m.path) for m in self.members],
            "labels": self.labels,
            "subsets": self.subsets,
            "sides": self.subsets,
            "num_groups": self.num_groups,
        }


@dataclass(frozen=True)
class PeopleFound:
    """Numbers of clips with and without people.

    Args:
        num_clips: Clips that were searched for people.
        num_with_people: Clips with somebody in at least half of the frames.
        num_with_two: Clips with two or more people in at least half of the frames.
    """

    num_clips: int
    num_with_people: int
    num_with_two: int

    @property
    def advises_pose(self) -> bool:
        """Whether most clips show people; otherwise the `pose` stream cannot help."""
        return 2 * self.num_with_people > self.num_clips


@dataclass(frozen=True)
class SpanClass:
    """What annotated films hold of one class.

    Args:
        label: The class.
        num_films: Number of films with it.
        num_spans: Number of its spans; None for background, which has none.
        seconds: Their length in all.
    """

    label: str
    num_films: int
    num_spans: int | None
    seconds: float


@dataclass(frozen=True)
class CheckReport:
    """The findings for a data set, or for a folder of files without labels.

    Args:
        root: The checked path.
        layout: Description of the recognised layout.
        files: All files, in order.
        duplicates: Exact ones first.
        group_rule: Where the groups come from; empty without labels.
        leaks: One sentence for each way in which a recording is in two subsets.
        notes: Other findings, one sentence each.
        groups_known: Whether the groups are known; if not, each clip is its own group.
        num_unused_spans: Number of annotated spans that cannot be used.
        num_changed_spans: Number of changes made to other spans before use.
        span_classes: What annotated films hold of each class, by name.
    """

    root: Path
    layout: str
    files: tuple[CheckedFile, ...]
    duplicates: tuple[Duplicates, ...]
    group_rule: str
    leaks: tuple[str, ...]
    notes: tuple[str, ...]
    groups_known: bool = True
    num_unused_spans: int = 0
    num_changed_spans: int = 0
    span_classes: tuple[SpanClass, ...] = ()

    @property
    def unusable(self) -> tuple[CheckedFile, ...]:
        """Files that cannot be read at all."""
        return tuple(f for f in self.files if not f.facts.usable)

    @property
    def damaged(self) -> tuple[CheckedFile, ...]:
        """Files that can be read only partly."""
        return tuple(f for f in self.files if f.facts.usable and f.facts.problem is not None)

    @property
    def short(self) -> tuple[CheckedFile, ...]:
        """Videos with fewer frames than training reads."""
        return tuple(f for f in self.files if f.is_short)

    @property
    def wrong_headers(self) -> tuple[CheckedFile, ...]:
        """Files whose header claims another number of frames than were read."""
        return tuple(f for f in self.files if f.facts.has_wrong_header)

    @property
    def class_counts(self) -> dict[str, int]:
        """Usable files of each class, by name."""
        counts = Counter(f.label for f in self.files if f.facts.usable)
        return {name: counts[name] for name in sorted({f.label for f in self.files if f.label is not None})}

    @property
    def imbalance(self) -> float | None:
        """Size of the largest class divided by that of the smallest; None if a class has no usable file."""
        counts = self.class_counts.values()
        return max(counts) / min(counts) if counts and min(counts) else None

    @property
    def people(self) -> PeopleFound | None:
        """Numbers of clips with people; None if no clip was searched for them."""
        numbers = [f.facts.people for f in self.files if f.facts.people is not None]
        found = PeopleFound(len(numbers), sum(n > 0 for n in numbers), sum(n > 1 for n in numbers))
        return found if numbers else None

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
            "num_wrong_headers": len(self.wrong_headers),
            "num_unused_spans": self.num_unused_spans,
            "num_changed_spans": self.num_changed_spans,
            "span_classes": [asdict(c) for c in self.span_classes],
            "classes": self.class_counts,
            "imbalance": self.imbalance,
            "num_groups": len({f.group for f in self.files if f.group is not None}),
            "group_rule": self.group_rule or None,
            "split": dict(sorted(subsets.items())),
            "leaks": list(self.leaks),
            "exact_duplicates": [d.to_json() for d in self.duplicates if d.exact],
            "near_duplicates": [d.to_json() for d in self.duplicates if not d.exact],
            "people": None if self.people is None else asdict(self.people),
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
    films: Dataset | None = None,
) -> CheckReport:
    """Combine what was found in every file with the data set.

    Args:
        root: The checked path.
        files: All files, and the kind each was read as.
        facts: Facts found by reading each file.
        dataset: The data set whose samples the files are, in the same order; None without labels.
        seed: Seed of the split that training would make.
        val_share: Share of the samples that training would hold out.
        notes: Initial notes.
        films: The data set of films with annotated spans that the files are.
    """
    notes, leaks = list(notes), []
    if films is not None and (shared := find_leaks(films)):
        leaks.append(describe_leaks(shared))
    subsets: dict[int, Subset] = {}
    if dataset is not None:
        notes += dataset.lost + dataset.notes
        if found := find_leaks(dataset):
            leaks.append(describe_leaks(found))
        try:
            split = make_split(dataset, seed=seed, val_share=val_share, allow_shared_groups=True)
        except DataError as error:
            notes.append(f"training would fail: {error}")
        else:
            notes += split.notes[1 if found else 0 :]  # the first one is the leak
            names: tuple[Subset, ...] = ("train", "val", "test")
            subsets = {index: subset for subset in names for index in split.subset(subset)}
    labels = [(None, None)] * len(files) if dataset is None else [(s.label, s.group) for s in dataset.samples]
    checked = tuple(
        CheckedFile(path, kind, fact, label, group, subsets.get(i))
        for i, ((path, kind), fact, (label, group)) in enumerate(zip(files, facts, labels, strict=True))
    )
    exact = equal_files([path for path, _ in files])
    copies = {index for members in exact for index in members[1:]}
    near = cluster(near_pairs([None if i in copies else fact.signature for i, fact in enumerate(facts)]))
    duplicates = tuple(
        Duplicates(is_exact, tuple(checked[i] for i in members))
        for is_exact, groups in ((True, exact), (False, near))
        for members in groups
    )
    for is_exact, word in ((True, "identical files"), (False, "near duplicates")):
        crossing = [d for d in duplicates if d.exact == is_exact and len(d.subsets) > 1]
        if crossing:
            first = " and ".join(str(m.path) for m in crossing[0].members[:2])
            verb = "is" if len(crossing) == 1 else "are"
            leaks.append(f"{count(len(crossing), 'set')} of {word} {verb} in several subsets: {first}")
    if dataset is not None:
        notes += dataset.cautions
    rule = dataset.group_rule if dataset is not None else ""
    known = dataset is None or dataset.groups_known
    layout = dataset.layout if dataset is not None else "files without labels"
    if films is not None:
        layout = films.layout
    problems = films.problems if films is not None else ()
    unused = sum(problem.unused for problem in problems)
    return CheckReport(
        root,
        layout,
        checked,
        duplicates,
        rule,
        tuple(leaks),
        tuple(notes),
        known,
        unused,
        len(problems) - unused,
        () if films is None else _span_classes(films),
    )


def _span_classes(films: Dataset) -> tuple[SpanClass, ...]:
    spans = Counter(span.label for film in films.films for span in film.spans)
    found = []
    for label in films.classes:
        samples = [sample for sample in films.samples if sample.label == label]
        seconds = sum(end - start for start, end in (s.times for s in samples if s.times is not None))
        found.append(SpanClass(label, len({s.path for s in samples}), spans.get(label), round(seconds, 2)))
    return tuple(found)
