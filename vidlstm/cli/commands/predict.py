"""`vidlstm predict PATH...`: label files, folders, or paths from standard input.

Everything cheap is checked first: options, the model's header, the first input. Then the decoder processes
start; torch is imported meanwhile, if it is needed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint, suggest_checkpoint
from vidlstm.cli.console import Console, command
from vidlstm.cli.rows.formats.predictions import Format
from vidlstm.cli.rows.inputs import (
    Search,
    count_inputs,
    expand,
    parse_size,
    require_files,
    require_one,
    take_shard,
)
from vidlstm.cli.rows.loop import Run, interruptible, say_beside_bar
from vidlstm.cli.rows.output import choose_format, choose_target, to_file, to_stdout, when_reader_leaves
from vidlstm.cli.rows.parquet import open_target, require_pyarrow
from vidlstm.cli.rows.rows_file import RowsFile
from vidlstm.cli.rows.shards import parse_shard
from vidlstm.cli.rows.sorting import Sorter
from vidlstm.config import Kind
from vidlstm.data.layouts.folders import count
from vidlstm.errors import DataError, UsageError
from vidlstm.files import suffix_kind
from vidlstm.records import NOVELTY_RATE, Failure, Prediction
from vidlstm.stores import to_path

_MUCH_LONGER = 4.0  # times the longest window
_TOP = 5  # classes in a row's `top`


EXAMPLES = (
    "vidlstm predict clip.mp4",
    "vidlstm predict clips/ --output rows.jsonl",
    "find . -name '*.mp4' -print0 | vidlstm predict -0 - | awk -F'\\t' '$2 == \"wave\"'",
)


@command
def predict(
    machine: options.LabellingOptions,
    console_options: options.ConsoleOptions,
    paths: options.PathsArgument,
    checkpoint: options.CheckpointOption = None,
    output_format: Annotated[
        Format | None,
        Option(
            "--format",
            "-f",
            help="Output format.",
            show_default="table on a terminal, else tsv; for --output by the file's name",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        Option(
            min=1, help="Classes per clip; not in tsv and csv.", show_default="5 in jsonl and Parquet, else 1"
        ),
    ] = None,
    min_score: Annotated[float, Option(min=0, max=1, help="Leave the label empty below this score.")] = 0.0,
    novelty_rate: options.NoveltyRateOption = NOVELTY_RATE,
    output: options.OutputOption = None,
    resume: Annotated[
        Path | None,
        Option(
            help="Append to this file, and skip inputs that already have a row in it.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    glob: options.GlobOption = None,
    null: options.NullOption = False,
    shard: options.ShardOption = None,
    move_to: Annotated[
        Path | None,
        Option(
            help="Move labelled files to DIR/<class>/. Never overwrites a file.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    link_to: Annotated[
        Path | None,
        Option(help="Link labelled files into DIR/<class>/.", rich_help_panel=options.FILES),
    ] = None,
    max_size: options.MaxSizeOption = "64G",
) -> int:
    """Label clips: one row per file, in order, as soon as it is ready."""
    console = Console.of(console_options)
    require_files(paths)
    target = choose_target(output, resume)
    chosen = choose_format(output_format, target)
    if target is not None and chosen == "parquet":
        require_pyarrow(target)
    if (top_k or 1) > 1 and chosen in ("tsv", "csv"):
        raise UsageError(f"--top-k {top_k}: {chosen} has one class per row; use --format jsonl")
    part = parse_shard(shard)
    max_bytes = parse_size(max_size)
    sorter = Sorter.of(console, move_to, link_to)
    if sorter is not None:
        sorter.require_other_than(paths)
    path = find_checkpoint(console, checkpoint)

    from vidlstm.models.header import read_header

    config = read_header(path).config
    search = Search(
        kind=config.kind,
        glob=glob,
        separator=b"\0" if null else b"\n",
        outside=() if sorter is None else (sorter.outside,),
        note=partial(say_beside_bar, console),
    )
    # A run killed after its last file may have moved everything, so finding no input is not an error.
    may_be_done = sorter is not None and resume is not None and resume.exists()
    other: Kind = "picture" if config.kind == "video" else "video"
    try:
        found = expand(paths, search) if may_be_done else require_one(paths, search)
    except DataError:
        suggest_checkpoint(console, checkpoint, other)
        raise
    if any(suffix_kind(name) == other for name in paths):
        suggest_checkpoint(console, checkpoint, other)
    names = take_shard(found, part)

    from vidlstm.engine.extraction.source import LocalSource
    from vidlstm.engine.prediction.sources import open_readers
    from vidlstm.media.file_types import Limits

    rows_elsewhere = target is not None or not sys.stdout.isatty()
    tells_end = target is not None or chosen == "table" or sys.stderr.isatty()
    run = Run(console, sorter, rows_elsewhere=rows_elsewhere, tells_end=tells_end)
    limits = Limits(max_bytes=max_bytes)
    with contextlib.ExitStack() as stack:
        rows = None
        if target is None:
            out = to_stdout(chosen, config.classes, more=(top_k or 1) > 1)
        else:
            rows = stack.enter_context(open_target(target, chosen, config.classes, resume=resume is not None))
            _tell_found(console, rows)
            out = to_file(rows)
            names = _skip(names, rows, sorter)
        readers = stack.enter_context(open_readers(machine))
        stack.enter_context(interruptible(run.interrupted, readers.end_early))
        from vidlstm.engine.prediction.labeller import load_labeller
        from vidlstm.engine.prediction.predict import make_extractor
        from vidlstm.engine.prediction.predict import predict as label

        labeller = load_labeller(
            path, device=machine.device, backend=machine.backend, precision=machine.precision
        )
        extractor = make_extractor(labeller, readers, limits)
        if target is None:
            when_reader_leaves(lambda: run.leave(partial(readers.end_early, at_once=True)))
        records = label(
            labeller, extractor, names, top_k=top_k or _TOP, min_score=min_score, novelty_rate=novelty_rate
        )
        if config.spans is not None:
            records = _with_note(console, records, _MUCH_LONGER * config.spans.windows[-1])
        status = run.write(records, out, partial(_count, paths, search, part, rows))
        seconds = extractor.source.people_seconds if isinstance(extractor.source, LocalSource) else None
        if tells_end and seconds is not None:
            console.say(f"Finding people for the pose stream took {seconds:.2f} CPU s per clip.")
        return status


def _with_note(
    console: Console, records: Iterator[Prediction | Failure], longest: float
) -> Iterator[Prediction | Failure]:
    """Yield the records; at the first long film, suggest `vidlstm spans`."""
    for record in records:
        if isinstance(record, Prediction) and record.seconds is not None and record.seconds > longest > 0:
            say_beside_bar(
                console,
                f"{record.path} is {record.seconds:.0f} s long, much longer than the training clips; "
                "use `vidlstm spans` to find what happens when",
            )
            longest = 0.0
        yield record


def _tell_found(console: Console, rows: RowsFile) -> None:
    if rows.num_rows:
        console.say(f"{rows.file}: {count(rows.num_rows, 'row')} found; their inputs are skipped.")
    if rows.cut:
        console.warn(f"{rows.file}: removed an incomplete row at its end: {rows.cut[:60]!r}")


def _skip(names: Iterator[str], rows: RowsFile, sorter: Sorter | None) -> Iterator[str]:
    """Yield the names without a row; sort files that an earlier run has labelled but not sorted.

    If an earlier run has sorted a file of the same name, that may be the one with this row. So this one is
    taken for a new file, and its name is yielded, too: a second row is better than a wrong label.
    """
    for name in names:
        label = rows.take(name)
        is_done = label is not None
        if label and sorter is not None and os.path.lexists(to_path(name)):
            is_done = sorter.put(name, label, again=True)
            if not is_done and sorter.has_sorted_namesake(name, label):
                is_new = to_path(name).lstat().st_ctime > rows.written
                is_done = not is_new and sorter.put(name, label)
        if not is_done:
            yield name


def _count(paths: Sequence[str], search: Search, shard: tuple[int, int], rows: RowsFile | None) -> int | None:
    """Return the number of rows still to come; None if unknown."""
    total = count_inputs(paths, search, shard)
    return None if total is None else max(0, total - (0 if rows is None else rows.num_rows))
