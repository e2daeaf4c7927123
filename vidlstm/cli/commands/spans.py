"""`vidlstm spans PATH...`: find what happens when in films.

As in `predict`, everything cheap is checked before the decoder processes start.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint, suggest_checkpoint
from vidlstm.cli.console import Console, Exit, command
from vidlstm.cli.reports import require_page
from vidlstm.cli.rows.films.documents import (
    FilmDocuments,
    choose_folder,
    require_no_documents,
    require_rows_name,
)
from vidlstm.cli.rows.films.extras import Extras
from vidlstm.cli.rows.films.index import DocumentIndex
from vidlstm.cli.rows.films.paths import FilmPaths
from vidlstm.cli.rows.formats.documents import SUFFIXES
from vidlstm.cli.rows.formats.predictions import Format, encode
from vidlstm.cli.rows.formats.spans import HEADERS, SPAN_ROWS, TABLE_HEADER, table_rows
from vidlstm.cli.rows.formats.spans import WRITERS as ROW_WRITERS
from vidlstm.cli.rows.inputs import (
    STDIN,
    Search,
    parse_seconds,
    parse_size,
    require_files,
    require_one,
    take_shard,
)
from vidlstm.cli.rows.loop import Run, interruptible, say_beside_bar
from vidlstm.cli.rows.output import Output, choose_format, choose_target, when_reader_leaves
from vidlstm.cli.rows.parquet import open_target, require_pyarrow
from vidlstm.cli.rows.rows_file import RowsFile
from vidlstm.cli.rows.shards import parse_shard
from vidlstm.data.layouts.folders import count
from vidlstm.errors import UsageError
from vidlstm.files import suffix_kind
from vidlstm.records import CATCH_ALL, NOVELTY_RATE, Failure, FilmSpans
from vidlstm.report.text import printable
from vidlstm.stores import is_in_store, to_path

if TYPE_CHECKING:
    from vidlstm.engine.prediction.films import LabelledFilm

AnyFormat = Literal[
    "table", "tsv", "csv", "jsonl", "parquet", "srt", "vtt", "boris", "eaf", "label-studio", "activitynet"
]
Film = FilmSpans | Failure

EXAMPLES = (
    "vidlstm spans film.mp4",
    "vidlstm spans films/ --format srt --output-dir subtitles/",
    "vidlstm spans films/ --resume spans.csv --scores scores.csv",
    "vidlstm spans films/ --report spans.html",
)


@command
def spans(
    machine: options.LabellingOptions,
    console_options: options.ConsoleOptions,
    paths: options.PathsArgument,
    checkpoint: options.CheckpointOption = None,
    output_format: Annotated[
        AnyFormat | None,
        Option(
            "--format",
            "-f",
            help="Output format. srt and later in the list: one document per film.",
            show_default="table on a terminal, else tsv; for --output by the file's name",
        ),
    ] = None,
    min_score: options.MinScoreOption = 0.0,
    min_duration: options.MinDurationOption = "0.5s",
    max_gap: options.MaxGapOption = "0.3s",
    novelty_rate: options.NoveltyRateOption = NOVELTY_RATE,
    output: options.OutputOption = None,
    output_dir: Annotated[
        Path | None, Option(help="Folder for one document per film.", rich_help_panel=options.FILES)
    ] = None,
    resume: Annotated[
        Path | None,
        Option(
            help="Append to this file, or write into this folder, and skip films already in it.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        Option(
            help="Write the scores of every class over time to this CSV or Parquet file.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        Option(
            help="Save each span as an H.264 clip in DIR/<label>/, ready for training.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        Option(
            help="Write a copy of each film to DIR, with its spans and, for pose, key points drawn in.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        Option(
            help="Write a page with a timeline and thumbnails of each film to this HTML file.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    glob: options.GlobOption = None,
    null: options.NullOption = False,
    shard: options.ShardOption = None,
    max_size: options.MaxSizeOption = "64G",
) -> int:
    """Find what happens when in films: one row per span, film by film."""
    console = Console.of(console_options)
    require_files(paths)
    shortest, gap = parse_seconds("--min-duration", min_duration), parse_seconds("--max-gap", max_gap)
    document = output_format if output_format in SUFFIXES else None
    folder = choose_folder(document, output, output_dir, resume)
    if document is not None and folder is None and not _is_one_file(paths):
        raise UsageError(f"--format {document}: writes one document per film; add --output-dir FOLDER")
    if document is not None and output_dir is not None and resume is None and shard is None:
        require_no_documents(output_dir, document)
    target = None if document is not None else choose_target(output, resume)
    if target is not None and output_format is None:
        require_rows_name(target)
    row_format = None if document is not None else choose_format(cast("Format | None", output_format), target)
    if target is not None and row_format == "parquet":
        require_pyarrow(target)
    part, max_bytes = parse_shard(shard), parse_size(max_size)
    extras = Extras(scores, clips, overlay, report)
    extras.check(paths, resume=resume is not None)
    require_page(report, map(to_path, paths))
    path = find_checkpoint(console, checkpoint)
    classes = _classes(console, path, checkpoint)
    extras.require_not_searched(paths, classes)
    search = Search(
        kind="video",
        glob=glob,
        separator=b"\0" if null else b"\n",
        outside=extras.folders,
        note=partial(say_beside_bar, console),
    )
    index = None if folder is None else DocumentIndex.read(folder)
    film_paths = FilmPaths(
        paths,
        search.note,
        outside=extras.folders,
        uses_trees=folder is not None or overlay is not None,
        uses_stems=clips is not None,
        known=None if index is None else index.paths,
    )
    names = require_one(paths, search)
    if folder is not None or extras.makes_videos:
        names = film_paths.add(names)
    names = take_shard(names, part)

    from vidlstm.engine.prediction.sources import open_readers
    from vidlstm.media.file_types import Limits

    in_files = bool(target or folder)
    elsewhere, tells_end = in_files or not sys.stdout.isatty(), in_files or sys.stderr.isatty()
    run = Run(console, None, rows_elsewhere=elsewhere, tells_end=tells_end)
    with contextlib.ExitStack() as stack:
        is_done: Callable[[str], bool] = frozenset[str]().__contains__
        write: Callable[[Film], None]
        documents: FilmDocuments | None = None
        if document is not None:
            documents = FilmDocuments(console, document, index, film_paths)
            if resume is None and folder is not None and shard is not None:
                names = documents.unwritten(names)  # documents of other shards may be there
            if resume is not None:
                names, is_done = documents.missing(names), documents.has
            write = documents.write
        elif target is not None:
            assert row_format is not None
            rows = stack.enter_context(
                open_target(target, row_format, classes, resume=resume is not None, kind=SPAN_ROWS)
            )
            _tell_found(console, rows)
            names, is_done = _without_rows(names, rows), rows.inputs().__contains__
            rows.begin()
            write = rows.write
        else:
            assert row_format is not None
            write = _to_stdout(row_format)
        if machine.workers is None and _is_one_file(paths):
            # One process decodes with several threads: a minute of 720p takes 10.2 s, not 12.1, on 2 cores.
            machine = replace(machine, workers=1)
        readers = stack.enter_context(open_readers(machine))
        stack.enter_context(interruptible(run.interrupted, readers.end_early))
        from vidlstm.engine.prediction.films import FilmScores, label_films, make_film_extractor
        from vidlstm.engine.prediction.labeller import load_labeller
        from vidlstm.engine.spans.smoothing import SpanRules

        labeller = load_labeller(
            path, device=machine.device, backend=machine.backend, precision=machine.precision
        )
        opened = stack.enter_context(
            extras.open(
                console,
                FilmScores(labeller),
                film_paths,
                timeout=machine.timeout,
                resume=resume is not None,
                is_done=is_done,
            )
        )
        if not in_files:
            when_reader_leaves(lambda: run.leave(partial(readers.end_early, at_once=True)))
        found = label_films(
            labeller,
            make_film_extractor(labeller, readers, Limits(max_bytes=max_bytes)),
            names,
            rules=SpanRules(shortest, gap, min_score),
            novelty_rate=novelty_rate,
            keep_people=report is not None or overlay is not None,
        )
        status = run.write(_records(found, opened.takers), Output(write, lambda: None), lambda: None)
        opened.finish(console)
        if folder is not None:
            console.say(f"Documents: {folder}")
        num_failed = opened.num_failed + (0 if documents is None else documents.failed)
        return Exit.SOME_FAILED if status == Exit.DONE and num_failed else status


def _classes(console: Console, path: Path, checkpoint: Path | None) -> tuple[str, ...]:
    """Return the classes of the model; note if it has none for time without an action.

    Raises:
        UsageError: The model labels pictures.
    """
    from vidlstm.models.header import read_header

    config = read_header(path).config
    if config.kind != "video":
        suggest_checkpoint(console, checkpoint, "video")
        raise UsageError(f"{path}: labels pictures, but spans need a model for videos")
    if not any(name.lower() in CATCH_ALL for name in config.classes):
        console.say(
            "The model has no class for time without an action, so spans may be wrong there. "
            "A model trained on films has one (`vidlstm help films`)."
        )
    return config.classes


def _is_one_file(paths: Sequence[str]) -> bool:
    """Tell whether the inputs are a single file, without listing a folder or asking a store."""
    name = paths[0]
    if len(paths) > 1 or name == STDIN or (is_in_store(name) and suffix_kind(name) is None):
        return False
    return not os.path.isdir(to_path(name))  # noqa: PTH112 - Path raises on an invalid name


def _records(
    films: Iterator[LabelledFilm], takers: Sequence[Callable[[LabelledFilm], None]]
) -> Iterator[Film]:
    """Yield the records; a film's other outputs are written before its rows."""
    for film in films:
        for take in takers:
            take(film)
        yield film.record


def _without_rows(names: Iterator[str], rows: RowsFile) -> Iterator[str]:
    """Yield the films that have no rows yet."""
    return (name for name in names if rows.take(name) is None)


def _tell_found(console: Console, rows: RowsFile) -> None:
    if rows.num_rows:
        console.say(f"{rows.file}: {count(rows.num_rows, 'film')} found; they are skipped.")
    if rows.cut:
        console.warn(
            f"{rows.file}: removed the rows of the last film, which may be incomplete; it is read again"
        )


def _to_stdout(row_format: Format) -> Callable[[Film], None]:
    """Return a function that writes all rows of a film to standard output at once."""
    is_terminal = sys.stdout.isatty()

    def show(text: str) -> None:
        if is_terminal:
            text = "".join(c if c in "\t\n" else printable(c) for c in text)
        sys.stdout.buffer.write(encode(text))
        sys.stdout.buffer.flush()

    to_text = table_rows if row_format == "table" else ROW_WRITERS[row_format]
    show(TABLE_HEADER if row_format == "table" else HEADERS.get(row_format, ""))
    return lambda film: show(to_text(film))
