"""Prints what the data doctor found, for `vidlstm check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Column, Table

from vidlstm.cli.console import print_table, rich_console
from vidlstm.cli.flags import with_flags
from vidlstm.data.layouts.folders import count, lengths
from vidlstm.report.text import printable

if TYPE_CHECKING:
    from vidlstm.engine.inspection.doctor import CheckedFile, CheckReport, Duplicates

_MAX_LINES = 10  # of each list, without --verbose
_IMBALANCED = 3.0  # ratio of class sizes that is reported


class CheckPage:
    """Prints the findings of the data doctor as text.

    Args:
        report: The findings.
        everything: Print lists whole, not only their first lines.
    """

    def __init__(self, report: CheckReport, *, everything: bool) -> None:
        self.report = report
        self.most = len(report.files) if everything else _MAX_LINES
        self.console = rich_console()

    def show(self) -> None:
        """Print the report, with the most serious findings last, where they stay visible."""
        report = self.report
        self.say(f"{report.root}: {count(len(report.files), 'file')}, {report.layout}")
        self._show_media()
        self._show_classes()
        self._show_span_classes()
        self._show_people()
        for note in report.notes:
            self.say(f"Note: {note}")
        for exact, noun in (
            (False, "near duplicates (re-encoded, resized or mirrored)"),
            (True, "identical files"),
        ):
            found = [describe_duplicates(d) for d in report.duplicates if d.exact == exact]
            self.list_clips(f"of {noun}", found, "set")
        self.list_clips("with fewer frames than are read per clip", [_short(f) for f in report.short])
        self.list_clips(
            "with a wrong number of frames in the header", [_header(f) for f in report.wrong_headers]
        )
        self.list_clips("only partly readable", [_problem(f) for f in report.damaged])
        self.list_clips("unreadable", [_problem(f) for f in report.unusable])
        for leak in report.leaks:
            self.say(f"Leak: {leak}")
        self.say(self._verdict())

    def _verdict(self) -> str:
        report = self.report
        changed = f", {report.num_changed_spans} used with a change" * (report.num_changed_spans > 0)
        if report.num_unused_spans:
            return (
                f"{count(report.num_unused_spans, 'annotation')} not used{changed} (see the notes), "
                f"{count(len(report.unusable), 'file')} unreadable."
            )
        contradictions = sum(len(d.labels) > 1 for d in report.duplicates if d.exact)
        if not report.unusable and not report.leaks and not contradictions and not report.groups_known:
            return (
                "All files can be read. It is unknown which clips belong to the same recording, so leaks "
                "between subsets cannot be found; give the recordings with --group-by."
            )
        if not report.unusable and not report.leaks and not contradictions:
            return "All files can be read, and no leak was found."
        found = [f"{count(len(report.unusable), 'file')} unreadable (listed by --fix-list)"]
        if contradictions:
            found.append(f"{count(contradictions, 'file')} in two classes")
        if report.leaks or report.groups_known:
            found.append(count(len(report.leaks), "leak"))
        else:
            found.append("leaks cannot be found without the recordings (--group-by)")
        return f"{', '.join(found)}."

    def _show_media(self) -> None:
        usable = [f.facts for f in self.report.files if f.facts.usable]
        if not usable:
            return
        codecs = Counter(f.codec or "unknown" for f in usable).most_common()
        self.say("Codecs: " + ", ".join(f"{name} {number}" for name, number in codecs))
        sizes = Counter(f"{f.width}x{f.height}" for f in usable).most_common()
        more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
        self.say("Sizes: " + ", ".join(f"{name} {number}" for name, number in sizes[:5]) + more)
        seconds = sorted(f.seconds for f in usable if f.seconds is not None)
        if seconds:
            self.say(f"Lengths: {lengths(seconds)}")
        slightly = sum(0 < f.claimed_frames != f.num_frames and not f.has_wrong_header for f in usable)
        if slightly:
            self.say(f"Headers: frame count off by one or two in {count(slightly, 'file')} (harmless)")

    def _show_classes(self) -> None:
        report = self.report
        if not report.class_counts:
            return
        label = Column("class", overflow="fold")  # long names must stay distinguishable
        table = Table(label, "files", "unreadable", "groups", "train", "val", "test", box=None)
        for name in report.class_counts:
            files = [f for f in report.files if f.label == name]
            table.add_row(printable(name), *map(str, _counts(files)))
        table.add_row("all", *map(str, _counts(report.files)))
        print_table(table)
        num_groups = len({f.group for f in report.files})
        self.say(f"Groups: {num_groups}. {report.group_rule}")
        if report.imbalance is not None and report.imbalance >= _IMBALANCED:
            self.say(
                f"Imbalance: the largest class has {report.imbalance:.1f} times the files of the smallest; "
                "see --balance of train"
            )

    def _show_span_classes(self) -> None:
        if not self.report.span_classes:
            return
        table = Table(Column("class", overflow="fold"), "films", "spans", "seconds", box=None)
        for c in self.report.span_classes:
            spans = "-" if c.num_spans is None else str(c.num_spans)
            table.add_row(printable(c.label), str(c.num_films), spans, f"{c.seconds:.0f}")
        print_table(table)

    def _show_people(self) -> None:
        found = self.report.people
        if found is None:
            return
        advice = "pose may help; --streams auto keeps it if it does"
        if not found.advises_pose:
            advice = "pose is not worth its time, as it reads nothing in most of them"
        sampled = sum(f.kind == "video" for f in self.report.files) > found.num_clips
        videos = count(found.num_clips, "sampled video" if sampled else "video")
        self.say(
            f"People: in {found.num_with_people} of {videos}, two or more in {found.num_with_two}; {advice}"
        )

    def list_clips(self, description: str, lines: Sequence[str], unit: str = "file") -> None:
        """Print a list and its length; only its first lines unless `everything` is set."""
        if not lines:
            return
        self.say(f"{count(len(lines), unit)} {description}:")
        for line in lines[: self.most]:
            self.say(f"  {line}")
        if len(lines) > self.most:
            self.say(f"  and {len(lines) - self.most} more (--verbose)")

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(printable(with_flags(text)), markup=False)


def _counts(files: Sequence[CheckedFile]) -> Iterator[int]:
    yield len(files)
    yield sum(not f.facts.usable for f in files)
    yield len({f.group for f in files})
    for subset in ("train", "val", "test"):
        yield sum(f.subset == subset for f in files)


def _problem(file: CheckedFile) -> str:
    problem = file.facts.problem
    return f"{file.path}: {problem.code.value}: {problem.message}" if problem else str(file.path)


def _short(file: CheckedFile) -> str:
    return f"{file.path}: {count(file.facts.num_frames, 'frame')}"


def _header(file: CheckedFile) -> str:
    return f"{file.path}: claims {file.facts.claimed_frames or 'nothing'}, has {file.facts.num_frames}"


def describe_duplicates(found: Duplicates) -> str:
    """Return the paths of a set of duplicates, and what differs between them."""
    marks = []
    if len(found.labels) > 1:
        marks.append(f"classes {' and '.join(found.labels)}")
    if len(found.subsets) > 1:
        marks.append(f"subsets {' and '.join(found.subsets)}")
    elif found.num_groups > 1:
        marks.append(f"{found.num_groups} groups")
    return ", ".join(str(m.path) for m in found.members) + (f" [{'; '.join(marks)}]" if marks else "")
