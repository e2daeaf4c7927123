"""Find the labelled samples of a data set, in every supported layout.

Layouts: class folders, the same under train/, val/ and test/, a CSV or TSV, a folder with a `labels.csv`, the
official split files of UCF101 and HMDB51, and lists of paths. The same files always give the same result.
Only tables and lists are opened, and files of equal size if groups come from content: this module does not
check whether a clip can be decoded.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidlstm.config import Kind
from vidlstm.data.annotations.formats import annotation_files
from vidlstm.data.annotations.spans import SpanProblem
from vidlstm.data.films import Background, Films, FilmTruth, Probe, read_films
from vidlstm.data.groups import BY_BACKGROUND, Grouping, by_column, by_content, by_names_or_content, by_regex
from vidlstm.data.layouts.folders import SPAN_TABLES, WANTED, Listing, Row, Subset, count, some
from vidlstm.data.layouts.recognise import read_listing
from vidlstm.data.recording_times import recorded_together
from vidlstm.errors import DataError, UsageError
from vidlstm.records import Times, part_name
from vidlstm.settings import DataSettings
from vidlstm.stores import address_of


@dataclass(frozen=True)
class Sample:
    """One labelled clip or picture.

    Args:
        path: The file, or the folder of numbered frames.
        label: Its class.
        group: Its group: samples of one group are never in two subsets of a split.
        split: The subset that the data gives; None if it gives none.
        start: Start in the film, in seconds; None for a whole file.
        end: End in the film, in seconds; None for a whole file.
    """

    path: Path
    label: str
    group: str
    split: Subset | None = None
    start: float | None = None
    end: float | None = None

    def name(self, root: Path) -> str:
        """Return the sample's name in tables: its path relative to a folder and, for films, its times."""
        return part_name(relative_name(self.path, root), self.times)

    @property
    def times(self) -> Times | None:
        """Start and end in the film; None for a whole file."""
        return None if self.start is None or self.end is None else (self.start, self.end)


@dataclass(frozen=True)
class Dataset:
    """All samples of one data set, and how they were found.

    Args:
        root: Folder that the samples' names are relative to.
        kind: Kind of all samples.
        samples: In the order of the folders or lists.
        classes: Sorted class names.
        group_rule: A sentence about the origin of the groups.
        layout: Description of the recognised layout.
        notes: Notes on files that were skipped, one sentence each.
        lost: Notes on places that may hold clips but cannot be read, one sentence each.
        films: The films that the samples are parts of; empty for clips.
        problems: Problems of the films' annotations.
        groups_known: Whether the groups are known; if not, each clip is its own group.
        cautions: Reasons why scores may be too high, one sentence each.
    """

    root: Path
    kind: Kind
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    group_rule: str
    layout: str
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    films: tuple[FilmTruth, ...] = ()
    problems: tuple[SpanProblem, ...] = ()
    groups_known: bool = True
    cautions: tuple[str, ...] = ()

    @property
    def num_groups(self) -> int:
        """Groups among all samples."""
        return len({sample.group for sample in self.samples})

    @property
    def class_counts(self) -> dict[str, int]:
        """Samples of each class, in the order of `classes`."""
        counts = Counter(sample.label for sample in self.samples)
        return {name: counts[name] for name in self.classes}


def find_samples(
    data: Path,
    *,
    kind: Kind | None = None,
    group_column: str | None = None,
    group_by: str | None = None,
    split_file: Path | None = None,
    class_list: Path | None = None,
    background: Background = "auto",
    probe: Probe | None = None,
) -> Dataset:
    """Find the labelled samples of a data set.

    Args:
        data: A folder of class folders, a folder with a `labels.csv`, a CSV or TSV, or a list.
        kind: Use only videos, or only pictures; required if there are both.
        group_column: Column of the table that holds the groups, instead of `group`.
        group_by: Regular expression that matches the group in each path relative to the root; it takes
            precedence over the table's `group` column. `background`: each clip is its own group until its
            background is read.
        split_file: An official split file, see `read_split_file`; `data` is then the folder of clips.
        class_list: Class names for the indices of a list.
        background: What to do with time outside the spans of films.
        probe: Returns the facts about a film; without it, spans in films are not read.

    Raises:
        DataError: The data cannot be used; the message says what was found and what is needed.
        UsageError: Two options contradict each other, or `group_by` is not a regular expression.
    """
    if group_column is not None and group_by is not None:
        raise UsageError("`group_column` and `group_by` cannot be combined; give one source of the groups")
    is_local = address_of(data) is None
    annotated = annotation_files(data) if probe is not None and is_local and data.exists() else ()
    if annotated and probe is not None:
        films = read_films(annotated, annotated[0].parent, probe, group_column)
        return _film_dataset(data, films, group_by, background)
    try:
        listing = read_listing(data, kind, group_column, split_file, class_list)
    except DataError:
        if is_local and data.is_dir():
            _require_no_spans(data)
        raise
    if group_column is not None and listing.group_column is None:
        raise UsageError(
            f"`group_column={group_column}`: needs a table, but {data} is read as {listing.layout}"
        )
    kind, rows, notes = _choose_kind(listing, kind)
    classes = tuple(sorted({row.label for row in rows}))
    _check_classes(data, classes)
    _check_labels(listing.root, rows)
    grouping = _group(listing, rows, group_by)
    samples = tuple(
        Sample(row.path, row.label, group, row.split) for row, group in zip(rows, grouping.names, strict=True)
    )
    together = None if grouping.known else recorded_together([row.path.name for row in rows])
    return Dataset(
        listing.root, kind, samples, classes, grouping.rule, listing.layout,
        (*listing.notes, *notes, *alike(classes)), listing.lost, groups_known=grouping.known,
        cautions=() if together is None else (together,),
    )  # fmt: skip


def _require_no_spans(folder: Path) -> None:
    """Check that a folder without a data set does not hold a table of spans under an unknown name."""
    for table in sorted(folder.glob("*.csv")):
        if not table.name.startswith(".") and annotation_files(table):
            raise DataError(
                f"{table}: holds spans of films; give this file, not its folder, or name it {SPAN_TABLES[0]}"
            )


def _film_dataset(data: Path, films: Films, group_by: str | None, background: Background) -> Dataset:
    """Cut films into samples; by default each film is a group."""
    paths = [film.path for film in films.films]
    root = data if data.is_dir() else data.parent
    names = [relative_name(path, root) for path in paths]
    if group_by == BY_BACKGROUND:
        raise UsageError(f"`group_by={BY_BACKGROUND}` is for clips; each film is already a group")
    if group_by is not None:
        grouping = by_regex(names, group_by)
    elif films.grouped:
        given = [film.group or name for film, name in zip(films.films, names, strict=True)]
        grouping = by_column(given, "group")
    else:
        grouping = by_names_or_content(paths, names, names)
        if not grouping.known:  # the parts of a film are in one group in any case
            rule = "Each film is its own group; films of equal content share one."
            grouping = replace(grouping, rule=rule)
    truths = tuple(replace(f, group=g) for f, g in zip(films.films, grouping.names, strict=True))
    samples = tuple(
        Sample(p.path, p.label, film.group or "", film.split, p.start, p.end)
        for film in truths
        for p in film.pieces(background)
    )
    classes = tuple(sorted({sample.label for sample in samples}))
    _check_classes(data, classes)
    return Dataset(
        root, "video", samples, classes, grouping.rule, films.layout,
        (*films.notes(background), *alike(classes)), films=truths, problems=films.problems,
    )  # fmt: skip


def _check_classes(data: Path, classes: Sequence[str]) -> None:
    for name in classes:
        if not _is_text(name):
            raise DataError(
                f"{data}: the class name {name!r} is not UTF-8; rename its folder or re-save its list"
            )
    if len(classes) < 2:
        found = f'only one class ("{classes[0]}")' if classes else "no class"
        raise DataError(f"{data}: holds {found}, at least two are needed; {WANTED}")


def _check_labels(root: Path, rows: Sequence[Row]) -> None:
    labels: dict[Path, str] = {}
    for row in rows:
        known = labels.setdefault(row.path, row.label)
        if known != row.label:
            name = relative_name(row.path, root)
            raise DataError(f'{name} is listed as "{known}" and as "{row.label}": a clip has one class')


def alike(classes: Sequence[str]) -> list[str]:
    """Return a sentence for each set of class names that differ only in case, spaces or Unicode form."""
    found: dict[str, list[str]] = {}
    for name in classes:
        key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        found.setdefault(key, []).append(name)
    return [
        f"classes with names that look alike: {', '.join(map(json.dumps, names))}; "
        "if they are one class, give it one name"
        for names in found.values()
        if len(names) > 1
    ]


def find_dataset(settings: DataSettings, probe: Probe | None = None) -> Dataset:
    """Find the labelled samples that the settings name; see `find_samples`."""
    return find_samples(
        settings.data,
        kind=settings.kind,
        group_column=settings.group_column,
        group_by=settings.group_by,
        split_file=settings.split_file,
        class_list=settings.class_list,
        background=settings.background or "auto",
        probe=probe,
    )


def relative_name(path: Path, root: Path) -> str:
    """Return a path relative to a folder that contains it, with slashes; otherwise the path itself."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _choose_kind(listing: Listing, kind: Kind | None) -> tuple[Kind, list[Row], list[str]]:
    """Choose videos or pictures; add notes on what that leaves out and what is missing."""
    counts = Counter(row.kind for row in listing.rows)
    if not listing.rows:
        seen = "; ".join((*listing.lost, *listing.notes)) or "it is empty"
        raise DataError(f"{listing.root}: no {kind or 'video or picture'} found ({seen}); {WANTED}")
    if kind is None:
        if counts["video"] and counts["picture"]:
            raise DataError(
                f"{listing.root}: holds {count(counts['video'], 'video')} and "
                f"{count(counts['picture'], 'picture')}; choose with `kind=video` or `kind=picture`"
            )
        kind = "picture" if counts["picture"] else "video"
    rows = [row for row in listing.rows if row.kind in (kind, None)]
    if not any(row.exists for row in rows):
        first = rows[0].path if rows else listing.rows[0].path
        if rows:
            hint = "; a line of a list is a path and an index, for names make it a CSV that begins path,label"
            way_out = hint if " " in first.name and listing.layout.startswith("list") else ""
            raise DataError(
                f"none of the {len(rows)} listed files exists (first: {first}); check the folder{way_out}"
            )
        raise DataError(
            f"{listing.root}: no {kind} among {count(len(listing.rows), 'file')} (first: {first})"
        )
    notes = []
    if len(rows) < len(listing.rows):
        other = "picture" if kind == "video" else "video"
        notes.append(f"{count(len(listing.rows) - len(rows), other)} skipped, because of `kind={kind}`")
    missing = [relative_name(row.path, listing.root) for row in rows if not row.exists]
    if missing:
        notes.append(
            f"{len(missing)} of {len(rows)} listed files missing, they fail when read: {some(missing)}"
        )
    unclear = [relative_name(row.path, listing.root) for row in rows if row.kind is None and row.exists]
    if unclear:
        notes.append(f"{count(len(unclear), 'file')} with a name of no known {kind} kept: {some(unclear)}")
    return kind, rows, notes


def _group(listing: Listing, rows: list[Row], group_by: str | None) -> Grouping:
    if group_by is None and listing.group_column is not None:
        return by_column([row.group or "" for row in rows], listing.group_column)
    names = [relative_name(row.path, listing.root) for row in rows]
    if group_by == BY_BACKGROUND:
        return by_content([row.path for row in rows], names)
    if group_by is not None:
        return by_regex(names, group_by)
    return by_names_or_content(
        [row.path for row in rows], [row.label for row in rows], names, per_class=listing.official
    )
