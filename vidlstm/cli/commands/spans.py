"""`vidlstm spans PATH...`: find what happens when in films.

As in `predict`, everything cheap is checked before the decoder processes start.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint, suggest_checkpoint
from vidlstm.cli.console import Console, Exit, command
from vidlstm.cli.reports import require_folder
from vidlstm.cli.rows.film_paths import FilmPaths, in_tree, with_ending
from vidlstm.cli.rows.film_scores import open_scores, require_scores_file
from vidlstm.cli.rows.film_videos import FilmVideos
from vidlstm.cli.rows.formats.documents import SUFFIXES, WRITERS, DocumentFormat
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
from vidlstm.files import suffix_kind, write_atomically
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
    folder = _choose_folder(document, output, output_dir, resume)
    if document is not None and folder is None and not _is_one_file(paths):
        raise UsageError(f"--format {document}: writes one document per film; add --output-dir FOLDER")
    if document is not None and output_dir is not None and resume is None and shard is None:
        _require_no_documents(output_dir, document)
    target = None if document is not None else choose_target(output, resume)
    row_format = None if document is not None else choose_format(cast("Format | None", output_format), target)
    if target is not None and row_format == "parquet":
        require_pyarrow(target)
    part, max_bytes = parse_shard(shard), parse_size(max_size)
    if scores is not None:
        require_scores_file(scores, resume=resume is not None)
    for name in paths:
        if is_in_store(name) and (clips is not None or overlay is not None):
            raise UsageError(f"{name}: --clips and --overlay need files of this machine; download it first")
    require_folder(report)
    path = find_checkpoint(console, checkpoint)

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
    search = Search(
        kind="video",
        glob=glob,
        separator=b"\0" if null else b"\n",
        outside=_made_by_us(paths, clips, overlay),
        note=partial(say_beside_bar, console),
    )
    film_paths = FilmPaths(paths, search.note)
    names = require_one(paths, search)
    if folder is not None or clips is not None or overlay is not None:
        names = film_paths.add(names)
    names = take_shard(names, part)
    is_done: Callable[[str], bool] = frozenset[str]().__contains__
    if resume is not None and document is not None:
        place = partial(_document_path, resume, document, film_paths)
        names = (name for name in names if not place(name).exists())
        is_done = partial(_has_document, resume, document)

    from vidlstm.engine.extraction.processes.pool import DecodePool
    from vidlstm.engine.prediction.sources import open_readers
    from vidlstm.media.file_types import Limits

    in_files = bool(target or folder)
    elsewhere, tells_end = in_files or not sys.stdout.isatty(), in_files or sys.stderr.isatty()
    run = Run(console, None, rows_elsewhere=elsewhere, tells_end=tells_end)
    with contextlib.ExitStack() as stack:
        write: Callable[[Film], None]
        if document is not None:
            write = partial(_write_document, document, folder, film_paths)
        elif target is not None:
            assert row_format is not None
            rows = stack.enter_context(
                open_target(target, row_format, config.classes, resume=resume is not None, kind=SPAN_ROWS)
            )
            _tell_found(console, rows)
            is_done = rows.inputs().__contains__
            names = (name for name in names if rows.take(name) is None)
            rows.begin()
            write = rows.write
        else:
            assert row_format is not None
            write = _to_stdout(row_format)
        readers = stack.enter_context(open_readers(machine))
        stack.enter_context(interruptible(run.interrupted, readers.end_early))
        from vidlstm.engine.prediction.films import FilmScores, label_films, make_film_extractor
        from vidlstm.engine.prediction.labeller import load_labeller
        from vidlstm.engine.spans.smoothing import SpanRules

        labeller = load_labeller(
            path, device=machine.device, backend=machine.backend, precision=machine.precision
        )
        extractor = make_film_extractor(labeller, readers, Limits(max_bytes=max_bytes))
        scored = FilmScores(labeller)
        takers: list[Callable[[LabelledFilm], None]] = []
        if scores is not None:
            takers.append(
                stack.enter_context(
                    open_scores(scores, scored.classes, resume=resume is not None, is_done=is_done)
                )
            )
        if target is None and folder is None:
            when_reader_leaves(lambda: run.leave(partial(readers.end_early, at_once=True)))
        page, videos = None, None
        if report is not None:
            from vidlstm.engine.prediction.film_report import FilmReport

            page = FilmReport(
                stack.enter_context(DecodePool(1, machine.timeout)), scored.classes, scored.idle
            )
            takers.append(page.add)
        if clips is not None or overlay is not None:
            from vidlstm.engine.prediction.film_files import DAY, FilmFiles

            files = FilmFiles(stack.enter_context(DecodePool(1, DAY)))
            videos = FilmVideos(console, files, clips, overlay, film_paths)
            takers.append(videos.take)
        rules = SpanRules(shortest, gap, min_score)
        draws = report is not None or overlay is not None
        found = label_films(
            labeller, extractor, names, rules=rules, novelty_rate=novelty_rate, keep_people=draws
        )
        status = run.write(_records(found, takers), Output(write, lambda: None), lambda: None)
        if page is not None and report is not None:
            page.write(report, title="Spans of films", command=shlex.join(["vidlstm", *sys.argv[1:]]))
            console.say(f"Report: {report}")
        if folder is not None:
            console.say(f"Documents: {folder}")
        return Exit.SOME_FAILED if status == Exit.DONE and videos is not None and videos.failed else status


def _made_by_us(paths: Sequence[str], *folders: Path | None) -> tuple[Path, ...]:
    """Return the folders for clips and copies, so that a second run does not take them for films."""
    given = {os.path.abspath(path) for path in paths}  # noqa: PTH100
    made = (os.path.abspath(folder) for folder in folders if folder is not None)  # noqa: PTH100
    return tuple(Path(folder) for folder in made if folder not in given)


def _choose_folder(
    document: DocumentFormat | None, output: Path | None, output_dir: Path | None, resume: Path | None
) -> Path | None:
    """Return the folder for documents; None if they go elsewhere."""
    if document is None:
        if output_dir is not None:
            raise UsageError(
                f"--output-dir {output_dir}: needs a format with one document per film: {', '.join(SUFFIXES)}"
            )
        return None
    if output is not None:
        raise UsageError(f"--format {document}: writes one document per film; use --output-dir, not --output")
    if resume is not None and output_dir not in (None, resume):
        raise UsageError("--resume DIR writes into DIR; leave out --output-dir")
    folder = output_dir or resume
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder for the documents")
    return folder


def _is_one_file(paths: Sequence[str]) -> bool:
    """Tell whether the inputs are a single file, without listing a folder or asking a store."""
    name = paths[0]
    if len(paths) > 1 or name == STDIN or (is_in_store(name) and suffix_kind(name) is None):
        return False
    return not os.path.isdir(to_path(name))  # noqa: PTH112 - Path raises on an invalid name


def _require_no_documents(folder: Path, document: DocumentFormat) -> None:
    """Check that nothing is overwritten: somebody may have corrected the documents."""
    if found := next(folder.rglob(f"*{SUFFIXES[document]}"), None):
        raise UsageError(f"{found}: already exists; --resume {folder} skips films that are done")


def _records(
    films: Iterator[LabelledFilm], takers: Sequence[Callable[[LabelledFilm], None]]
) -> Iterator[Film]:
    """Yield the records; a film's other outputs are written before its rows."""
    for film in films:
        for take in takers:
            take(film)
        yield film.record


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


def _document_path(folder: Path, document: DocumentFormat, paths: FilmPaths, name: str) -> Path:
    return with_ending(folder / paths.in_tree(name), SUFFIXES[document])


def _has_document(folder: Path, document: DocumentFormat, name: str) -> bool:
    """Tell whether a film has a document, before all inputs are known."""
    return with_ending(folder / in_tree(name), SUFFIXES[document]).exists()


def _write_document(document: DocumentFormat, folder: Path | None, paths: FilmPaths, film: Film) -> None:
    """Write one film's document, whole or not at all. A film that failed has none."""
    if isinstance(film, Failure):
        return
    text = WRITERS[document](film).encode("utf-8", "replace")
    if folder is None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return
    place = _document_path(folder, document, paths, film.path)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, text)
