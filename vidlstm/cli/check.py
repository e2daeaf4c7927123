"""`vidlstm check DATA`: the data doctor, for a data set or any folder of media files."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Column, Table
from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import Console, Exit, command, print_json, rich_console
from vidlstm.cli.flags import with_flags
from vidlstm.cli.rows.formats import encode, tsv_field
from vidlstm.config import Kind
from vidlstm.data.layouts.folders import count
from vidlstm.errors import DataError
from vidlstm.report.text import printable

if TYPE_CHECKING:
    from vidlstm.data.samples import Dataset
    from vidlstm.engine.inspection.doctor import CheckedFile, CheckReport, Duplicates

_MAX_LINES = 10  # of each list, without --verbose
_IMBALANCED = 3.0  # ratio of class sizes that is reported


EXAMPLES = (
    "vidlstm check clips/",
    "vidlstm check clips/ --fix-list -0 | xargs -0 -I{} mv {} broken/",
)


@command
def check(
    data: options.DataOptions,
    machine: options.MachineOptions,
    console_options: options.ConsoleOptions,
    as_json: options.JsonOption = False,
    fix_list: Annotated[
        bool,
        Option("--fix-list", help="Print only the paths of files that are unreadable or damaged."),
    ] = False,
    null: Annotated[bool, Option("-0", "--null", help="End each path of --fix-list with NUL.")] = False,
    seed: Annotated[int, Option(help="Random seed of the split shown.", rich_help_panel=options.SPLIT)] = 0,
    val_share: options.ValShareOption = None,
) -> int:
    """Inspect a data set: unreadable files, duplicates, class balance, leaks between subsets."""
    console = Console.of(console_options)
    dataset, files, notes = _find(data)

    from vidlstm.engine.extraction.pool import DecodePool, default_workers
    from vidlstm.engine.inspection.doctor import diagnose
    from vidlstm.engine.inspection.inspect import inspect_files
    from vidlstm.media.file_types import Limits

    with DecodePool(machine.workers or default_workers(), machine.timeout) as pool:
        found = inspect_files(files, pool, Limits())
        facts = list(console.progress(found, total=len(files), label="Checking", unit="file"))
    report = diagnose(data.data, files, facts, dataset, seed=seed, val_share=val_share, notes=notes)
    if fix_list:
        for file in (*report.unusable, *report.damaged):
            line = f"{file.path}\0" if null else f"{tsv_field(str(file.path))}\n"
            sys.stdout.buffer.write(encode(line))
    elif as_json:
        print_json(report.to_json())
    else:
        _Page(report, everything=console.verbose).show()
    return Exit.SOME_FAILED if report.unusable else Exit.DONE


def _find(data: options.DataOptions) -> tuple[Dataset | None, list[tuple[Path, Kind]], list[str]]:
    """Return the labelled samples or, if the folder is no data set, the media files in it.

    Raises:
        DataError: There is nothing to check.
    """
    from vidlstm.data.samples import find_samples
    from vidlstm.data.walking import SkipReason, walk
    from vidlstm.files import kind_of, suffix_kind

    root = data.data
    try:
        dataset = find_samples(
            root,
            kind=data.kind,
            group_column=data.group_column,
            group_by=data.group_by,
            split_file=data.split_file,
            class_list=data.class_list,
        )
    except DataError as error:
        if not (root.is_dir() or (root.exists() and kind_of(root))):
            raise
        reason = str(error)
    else:
        return dataset, [(sample.path, dataset.kind) for sample in dataset.samples], []
    notes = [f"checked as files without labels, because this is no data set: {reason}"]
    lost: list[str] = []

    def on_skip(path: Path, reason: SkipReason) -> None:
        if reason not in ("no media", "hidden file"):
            lost.append(f"{path}: {reason}, passed over")

    paths = walk(root, kind=data.kind, on_skip=on_skip)
    files: list[tuple[Path, Kind]] = [(path, suffix_kind(path.name) or "video") for path in paths]
    if not files:
        raise DataError(f"{root}: contains no video and no picture")
    return None, files, notes + lost


class _Page:
    """Prints the report as text."""

    def __init__(self, report: CheckReport, *, everything: bool) -> None:
        self.report = report
        self.most = len(report.files) if everything else _MAX_LINES
        self.console = rich_console()

    def show(self) -> None:
        """Print it with the worst last, where it stays in sight."""
        report = self.report
        self._say(f"{report.root}: {len(report.files)} files, {report.layout}")
        self._show_media()
        self._show_classes()
        for note in report.notes:
            self._say(f"Note: {note}")
        for exact, what in (
            (False, "near duplicates (encoded again, resized or mirrored)"),
            (True, "equal files"),
        ):
            found = [_duplicates(d) for d in report.duplicates if d.exact == exact]
            self._list(f"of {what}", found, "set")
        self._list("shorter than the frames read of a clip", [_short(f) for f in report.short])
        self._list("with a wrong number of frames in the header", [_header(f) for f in report.wrong_headers])
        self._list("readable only in part", [_problem(f) for f in report.damaged])
        self._list("unreadable", [_problem(f) for f in report.unusable])
        for leak in report.leaks:
            self._say(f"Leak: {leak}")
        self._say(self._verdict())

    def _verdict(self) -> str:
        report = self.report
        if not report.unusable and not report.leaks:
            return "All files can be read, and no leak was found."
        return (
            f"{count(len(report.unusable), 'file')} unreadable (listed by --fix-list), "
            f"{count(len(report.leaks), 'leak')}."
        )

    def _show_media(self) -> None:
        usable = [f.facts for f in self.report.files if f.facts.usable]
        if not usable:
            return
        codecs = Counter(f.codec or "unknown" for f in usable).most_common()
        self._say("Codecs: " + ", ".join(f"{name} {number}" for name, number in codecs))
        sizes = Counter(f"{f.width}x{f.height}" for f in usable).most_common()
        more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
        self._say("Sizes: " + ", ".join(f"{name} {number}" for name, number in sizes[:5]) + more)
        seconds = sorted(f.seconds for f in usable if f.seconds is not None)
        if seconds:
            middle = seconds[len(seconds) // 2]
            self._say(f"Lengths: {seconds[0]:.1f} to {seconds[-1]:.1f} s, median {middle:.1f} s")
        slightly = sum(0 < f.claimed_frames != f.num_frames and not f.has_wrong_header for f in usable)
        if slightly:
            self._say(f"Headers: frame count off by one or two in {count(slightly, 'file')} (harmless)")

    def _show_classes(self) -> None:
        report = self.report
        if not report.class_counts:
            return
        label = Column("class", overflow="fold")  # two long names stay different
        table = Table(label, "files", "unreadable", "groups", "train", "val", "test", box=None)
        for name in report.class_counts:
            files = [f for f in report.files if f.label == name]
            table.add_row(printable(name), *map(str, _counts(files)))
        table.add_row("all", *map(str, _counts(report.files)))
        self.console.print(table)
        num_groups = len({f.group for f in report.files})
        self._say(f"Groups: {num_groups}. {report.group_rule}")
        if report.imbalance is not None and report.imbalance >= _IMBALANCED:
            self._say(
                f"Imbalance: the largest class has {report.imbalance:.1f} times the files of the smallest; "
                "see --balance of train"
            )

    def _list(self, what: str, lines: Sequence[str], unit: str = "file") -> None:
        if not lines:
            return
        self._say(f"{count(len(lines), unit)} {what}:")
        for line in lines[: self.most]:
            self._say(f"  {line}")
        if len(lines) > self.most:
            self._say(f"  and {len(lines) - self.most} more (--verbose)")

    def _say(self, text: str) -> None:
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
    return f"{file.path}: {file.facts.num_frames} frames"


def _header(file: CheckedFile) -> str:
    return f"{file.path}: claims {file.facts.claimed_frames or 'nothing'}, has {file.facts.num_frames}"


def _duplicates(found: Duplicates) -> str:
    marks = []
    if len(found.labels) > 1:
        marks.append(f"classes {' and '.join(found.labels)}")
    if len(found.subsets) > 1:
        marks.append(f"subsets {' and '.join(found.subsets)}")
    elif found.num_groups > 1:
        marks.append(f"{found.num_groups} groups")
    return ", ".join(str(m.path) for m in found.members) + (f" [{'; '.join(marks)}]" if marks else "")
