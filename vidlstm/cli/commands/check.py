"""`vidlstm check DATA`: the data doctor, for a data set or any folder of media files."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.check_page import CheckPage, describe_duplicates
from vidlstm.cli.console import Console, Exit, command, print_json
from vidlstm.cli.rows.formats.predictions import csv_line, encode, tsv_field
from vidlstm.config import Kind
from vidlstm.data.layouts.folders import count
from vidlstm.errors import DataError, UsageError
from vidlstm.stores import address_of

if TYPE_CHECKING:
    from vidlstm.data.samples import Dataset
    from vidlstm.engine.inspection.doctor import CheckReport

EXAMPLES = (
    "vidlstm check clips/",
    "vidlstm check clips/ --labels",
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
    labels: Annotated[
        bool, Option("--labels", help="List clips whose label is probably wrong. Cross-validates first.")
    ] = False,
    output_format: Annotated[
        Literal["text", "csv"], Option("--format", "-f", help="Format of the list of --labels.")
    ] = "text",
) -> int:
    """Inspect a data set: unreadable files, duplicates, class balance, leaks between subsets."""
    console = Console.of(console_options)
    if output_format == "csv" and (not labels or as_json):
        raise UsageError("--format csv needs --labels, and cannot be combined with --json")
    if labels and fix_list:
        raise UsageError("--fix-list and --labels cannot be combined; each prints its own list")
    from vidlstm.data.annotations.formats import annotation_files

    _require_local([data.data])
    root, films = data.data, None
    if root.exists() and annotation_files(root):
        dataset = None
        films, files, notes = _find_films(data)
    else:
        dataset, files, notes = _find(data)
    _require_local([path for path, _ in files])
    if dataset is not None and not dataset.groups_known:
        dataset = _look_for_groups(console, data, machine)
    if labels and dataset is None:
        raise DataError(f"{data.data}: has no labels to check; {notes[0]}")

    from vidlstm.engine.extraction.pose_networks import installed_networks
    from vidlstm.engine.extraction.processes.pool import DecodePool, default_workers
    from vidlstm.engine.inspection.doctor import diagnose
    from vidlstm.engine.inspection.inspect import inspect_files
    from vidlstm.media.file_types import Limits

    has_videos = any(kind == "video" for _, kind in files)
    networks = installed_networks() if has_videos and not (labels or fix_list) else None
    with DecodePool(machine.workers or default_workers(), machine.timeout) as pool:
        found = inspect_files(files, pool, Limits(), networks)
        facts = list(console.progress(found, total=len(files), label="Checking", unit="file"))
    report = diagnose(root, files, facts, dataset, seed=seed, val_share=val_share, notes=notes, films=films)
    if labels:
        _check_labels(
            console, data, machine, report, seed=seed, as_json=as_json, as_csv=output_format == "csv"
        )
        return Exit.DONE
    if fix_list:
        for file in (*report.unusable, *report.damaged):
            line = f"{file.path}\0" if null else f"{tsv_field(str(file.path))}\n"
            sys.stdout.buffer.write(encode(line))
    elif as_json:
        print_json(report.to_json())
    else:
        CheckPage(report, everything=console.verbose).show()
    return Exit.SOME_FAILED if report.unusable or report.num_unused_spans else Exit.DONE


def _require_local(paths: Sequence[Path]) -> None:
    if stored := next((path for path in paths if address_of(path) is not None), None):
        raise UsageError(f"{stored}: check reads files of this machine; copy the clips, or some of them")


def _look_for_groups(console: Console, data: options.DataOptions, machine: options.MachineOptions) -> Dataset:
    from vidlstm.cli.events import follow
    from vidlstm.engine.extraction.backgrounds import find_grouped_dataset

    def session() -> Generator[object, None, None]:
        yield (yield from find_grouped_dataset(data, machine, cache=True))

    from vidlstm.data.samples import Dataset

    dataset = follow(console, session())
    assert isinstance(dataset, Dataset)
    return dataset


def _check_labels(
    console: Console,
    data: options.DataOptions,
    machine: options.MachineOptions,
    report: CheckReport,
    *,
    seed: int,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Print the clips whose label is probably wrong, and near duplicates with different labels."""
    from vidlstm.cli.events import follow
    from vidlstm.engine.evaluation.crossval import CrossvalRequest
    from vidlstm.engine.evaluation.suspicious_labels import LabelsInspected, inspect_labels
    from vidlstm.settings import TrainingSettings

    request = CrossvalRequest(data, training=TrainingSettings(seed=seed), machine=machine)
    runs = sorted(Path("runs").glob("*/"), key=lambda run: run.stat().st_mtime_ns, reverse=True)
    result = follow(console, inspect_labels(request, runs))
    assert isinstance(result, LabelsInspected)
    if result.scores is not None:
        console.say(f"Scores: {result.scores}")
    if as_json:
        found = [s.to_json() for s in result.suspicious]
        print_json({**report.to_json(), "suspicious_labels": found})
    elif as_csv:
        sys.stdout.buffer.write(encode(csv_line("path", "label", "suggested", "score")))
        for s in result.suspicious:
            line = csv_line(str(s.path), s.label, s.suggested, f"{s.score:.4f}")
            sys.stdout.buffer.write(encode(line))
    else:
        page = CheckPage(report, everything=console.verbose)
        lines = [f"{s.path}: {s.label}, probably {s.suggested} ({s.score:.2f})" for s in result.suspicious]
        page.list_clips("with a probably wrong label, the most suspicious first", lines, "clip")
        page.list_clips(
            "near duplicates with different labels",
            [describe_duplicates(d) for d in report.duplicates if len(d.labels) > 1],
            "set of",
        )
        are = "is" if len(result.suspicious) == 1 else "are"
        page.say(f"{len(result.suspicious)} of {count(result.num_clips, 'label')} {are} suspicious.")
        if result.suspicious:
            again = shlex.join(["vidlstm", *sys.argv[1:], "--json"])
            page.say(f"Next: {again} > labels.json; vidlstm review labels.json")


def _find(data: options.DataOptions) -> tuple[Dataset | None, list[tuple[Path, Kind]], list[str]]:
    """Return the labelled samples or, if the folder is not a data set, the media files in it.

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
        is_described = data.group_by or data.group_column or data.split_file or data.class_list
        if is_described or not (root.is_dir() or (root.exists() and kind_of(root))):
            raise
        reason = str(error)
    else:
        return dataset, [(sample.path, dataset.kind) for sample in dataset.samples], []
    notes = [f"checked as files without labels, because this is not a data set: {reason}"]
    lost: list[str] = []

    def on_skip(path: Path, reason: SkipReason) -> None:
        if reason not in ("no media", "hidden file"):
            lost.append(f"{path}: skipped ({reason})")

    paths = walk(root, kind=data.kind, on_skip=on_skip)
    files: list[tuple[Path, Kind]] = [(path, suffix_kind(path.name) or "video") for path in paths]
    if not files:
        raise DataError(f"{root}: contains no videos or pictures")
    return None, files, notes + lost


def _find_films(data: options.DataOptions) -> tuple[Dataset, list[tuple[Path, Kind]], list[str]]:
    """Return the data set and the films of annotation files, and a note for each problem in these files."""
    from vidlstm.data.samples import find_dataset
    from vidlstm.engine.extraction.films.extractor import probe_film

    dataset = find_dataset(data, probe_film)
    spans = [span for film in dataset.films for span in film.spans]
    labels = sorted({span.label for span in spans})
    notes = [
        f"{count(len(spans), 'span')} of {count(len(labels), 'class')} in {count(len(dataset.films), 'film')}"
        f" ({dataset.layout}): {', '.join(labels)}"
    ]
    notes += [f"{problem.code.value}: {problem}" for problem in dataset.problems]
    return dataset, [(film.path, "video") for film in dataset.films], notes
