"""`vidlstm spans PATH...`: when does what happen in films?

As for `predict`: what is cheap is settled first, then decoder processes start.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint
from vidlstm.cli.console import Console, command
from vidlstm.cli.rows import spans as rows
from vidlstm.cli.rows.documents import SUFFIXES, WRITERS, DocumentFormat, document_path, in_folder
from vidlstm.cli.rows.formats import Format, encode
from vidlstm.cli.rows.inputs import Search, parse_shard, parse_size, require_one, take_shard
from vidlstm.cli.rows.loop import Run, interruptible, say_beside_bar
from vidlstm.cli.rows.output import Output, choose_format, choose_target, when_reader_leaves
from vidlstm.cli.rows.sorting import folder_name
from vidlstm.errors import UsageError
from vidlstm.files import write_atomically
from vidlstm.records import NOVELTY_RATE, Failure, FilmSpans, Problem
from vidlstm.report.text import printable

if TYPE_CHECKING:
    from vidlstm.engine.prediction.films import LabelledFilm

AnyFormat = Literal[
    "table", "tsv", "csv", "jsonl", "srt", "vtt", "boris", "eaf", "label-studio", "activitynet"
]
Film = FilmSpans | Failure

EXAMPLES = (
    "vidlstm spans film.mp4",
    "vidlstm spans films/ --format srt --output-dir subtitles/",
    "vidlstm spans films/ --resume spans.csv --scores scores.csv",
)


@command
def spans(
    machine: options.MachineOptions,
    console_options: options.ConsoleOptions,
    paths: options.PathsArgument,
    checkpoint: options.CheckpointOption = None,
    output_format: Annotated[
        AnyFormat | None,
        Option(
            "--format",
            "-f",
            help="Output format. From srt on, one document per film.",
            show_default="table on a terminal, else tsv; for --output by the file's name",
        ),
    ] = None,
    min_score: Annotated[float, Option(min=0, max=1, help="Leave out spans with a lower score.")] = 0.0,
    min_duration: Annotated[str, Option(help="Leave out shorter spans.")] = "0.5s",
    max_gap: Annotated[str, Option(help="Join spans of one label that are no further apart.")] = "0.3s",
    novelty_rate: options.NoveltyRateOption = NOVELTY_RATE,
    output: options.OutputOption = None,
    output_dir: Annotated[
        Path | None, Option(help="Folder for one document per film.", rich_help_panel=options.FILES)
    ] = None,
    resume: Annotated[
        Path | None,
        Option(
            help="Append to this file, or write into this folder, and skip films that are in it.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        Option(
            help="Append the score of every class every half second to this CSV.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        Option(
            help="Cut each span into DIR/<label>/, as H.264, ready for training.",
            rich_help_panel=options.FILES,
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        Option(
            help="Write a copy of each film into DIR with its spans drawn in.", rich_help_panel=options.FILES
        ),
    ] = None,
    glob: options.GlobOption = None,
    null: options.NullOption = False,
    shard: options.ShardOption = None,
    max_size: options.MaxSizeOption = "64G",
) -> int:
    """Find when what happens in films: one row per span, film by film."""
    console = Console.of(console_options)
    shortest, gap = parse_seconds("--min-duration", min_duration), parse_seconds("--max-gap", max_gap)
    document = output_format if output_format in SUFFIXES else None
    folder = _choose_folder(document, output, output_dir, resume)
    target = None if document is not None else choose_target(output, resume)
    row_format = None if document is not None else choose_format(cast("Format | None", output_format), target)
    part, max_bytes = parse_shard(shard), parse_size(max_size)
    path = find_checkpoint(console, checkpoint)

    from vidlstm.models.header import read_header

    config = read_header(path).config
    if config.kind != "video":
        raise UsageError(f"{path}: labels pictures; spans are found in films")
    search = Search(
        kind="video", glob=glob, separator=b"\0" if null else b"\n", note=partial(say_beside_bar, console)
    )
    names = take_shard(require_one(paths, search), part)
    if resume is not None and row_format is not None:
        done = rows.DoneFilms.read(resume, row_format)
        if done.num_films:
            console.say(f"{resume}: {done.num_films} films are there already.")
        names = (name for name in names if not done.has(name))
    elif resume is not None and document is not None:
        names = (name for name in names if not document_path(resume, name, document).exists())

    from vidlstm.engine.extraction.pool import DecodePool, default_workers
    from vidlstm.media.file_types import Limits

    elsewhere = bool(target or folder) or not sys.stdout.isatty()
    run = Run(console, None, rows_elsewhere=elsewhere, tells_end=target is not None)
    with (
        contextlib.ExitStack() as stack,
        DecodePool(machine.workers or default_workers(), machine.timeout, at_once=True) as pool,
        interruptible(run, pool.end_early),
    ):
        from vidlstm.engine.prediction.films import label_films, make_film_extractor
        from vidlstm.engine.prediction.labeller import load_labeller
        from vidlstm.engine.spans.smoothing import SpanRules

        precision = machine.precision or "float32"
        labeller = load_labeller(path, device=machine.device, backend=machine.backend, precision=precision)
        extractor = make_film_extractor(labeller, pool, Limits(max_bytes=max_bytes))
        write: Callable[[Film], None]
        if document is not None:
            write = partial(_write_document, document, folder)
        else:
            assert row_format is not None
            write = _open_rows(stack, target, row_format)
        note_scores = None if scores is None else _open_scores(stack, scores)
        if target is None and folder is None:
            when_reader_leaves(lambda: run.leave(partial(pool.end_early, at_once=True)))
        makers = _open_makers(stack, console, clips, overlay)
        rules = SpanRules(shortest, gap, min_score)
        found = label_films(labeller, extractor, names, rules=rules, novelty_rate=novelty_rate)
        return run.write(_records(found, note_scores, makers), Output(write, lambda: None), lambda: None)


def parse_seconds(flag: str, text: str) -> float:
    """Read seconds such as `0.5s`, `0.5` or `300ms`.

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(s|ms)?", text.strip(), re.ASCII)
    if match is None:
        raise UsageError(f"{flag} {text}: give seconds, such as 0.5s or 300ms")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _choose_folder(
    document: DocumentFormat | None, output: Path | None, output_dir: Path | None, resume: Path | None
) -> Path | None:
    """Return the folder for documents; None where there is none to be made."""
    if document is None:
        if output_dir is not None:
            raise UsageError(
                f"--output-dir {output_dir}: is for one document per film: {', '.join(SUFFIXES)}"
            )
        return None
    if output is not None:
        raise UsageError(f"--format {document}: is one document per film; give --output-dir, not --output")
    if resume is not None and output_dir not in (None, resume):
        raise UsageError("--resume DIR writes into DIR itself: leave --output-dir out")
    folder = output_dir or resume
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file, a folder is needed for one document per film")
    return folder


def _records(
    films: Iterator[LabelledFilm],
    note_scores: Callable[[LabelledFilm], None] | None,
    makers: Sequence[Callable[[FilmSpans], None]],
) -> Iterator[Film]:
    """Yield the records; what is made of a film is there before its rows are."""
    for film in films:
        if note_scores is not None:
            note_scores(film)
        if isinstance(film.record, FilmSpans):
            for make in makers:
                make(film.record)
        yield film.record


def _open_rows(
    stack: contextlib.ExitStack, target: Path | None, row_format: Format
) -> Callable[[Film], None]:
    """Return what writes all rows of a film at once."""
    if target is not None:
        put = stack.enter_context(rows.append_to(target))
        if target.stat().st_size == 0:
            put(encode(rows.HEADERS.get(row_format, "")))
        return lambda film: put(rows.encoded(film, row_format))
    is_terminal = sys.stdout.isatty()

    def show(text: str) -> None:
        if is_terminal:
            text = "".join(c if c in "\t\n" else printable(c) for c in text)
        sys.stdout.buffer.write(encode(text))
        sys.stdout.buffer.flush()

    to_text = rows.table_rows if row_format == "table" else rows.WRITERS[row_format]
    show(rows.TABLE_HEADER if row_format == "table" else rows.HEADERS.get(row_format, ""))
    return lambda film: show(to_text(film))


def _write_document(document: DocumentFormat, folder: Path | None, film: Film) -> None:
    """Write one film's document, whole or not at all. A film that failed has none."""
    if isinstance(film, Failure):
        return
    text = WRITERS[document](film).encode("utf-8", "replace")
    if folder is None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        return
    place = document_path(folder, film.path, document)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, text)


def _open_makers(
    stack: contextlib.ExitStack, console: Console, clips: Path | None, overlay: Path | None
) -> list[Callable[[FilmSpans], None]]:
    """Return what makes videos of a film."""
    if clips is None and overlay is None:
        return []
    from vidlstm.engine.extraction.pool import DecodePool
    from vidlstm.engine.prediction.film_files import DAY, FilmFiles

    files = FilmFiles(stack.enter_context(DecodePool(1, DAY)))

    def warn(film: FilmSpans, problems: Sequence[Problem]) -> None:
        for problem in problems:
            console.warn(f"{film.path}: {problem.code.value}: {problem.message}")

    def cut(film: FilmSpans) -> None:
        assert clips is not None
        targets = [
            clips / folder_name(s.label) / f"{Path(film.path).stem}_{s.start:.2f}-{s.end:.2f}.mp4"
            for s in film.spans
        ]
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        warn(film, files.write_clips(film, targets))

    def draw(film: FilmSpans) -> None:
        assert overlay is not None
        target = in_folder(overlay, film.path, ".mp4")
        target.parent.mkdir(parents=True, exist_ok=True)
        warn(film, files.write_overlay(film, target))

    return [make for folder, make in ((clips, cut), (overlay, draw)) if folder is not None]


def _open_scores(stack: contextlib.ExitStack, file: Path) -> Callable[[LabelledFilm], None]:
    """Return what appends the scores of a film to a CSV: path, time, and a column for each class."""
    from vidlstm.cli.rows.formats import csv_line

    put = stack.enter_context(rows.append_to(file))

    def note(film: LabelledFilm) -> None:
        if film.timeline is None:
            return
        lines = [csv_line("path", "time", *film.classes)] if file.stat().st_size == 0 else []
        for cell, row in enumerate(film.timeline.scores):
            middle = (cell + 0.5) * film.timeline.cell
            lines.append(csv_line(film.record.path, f"{middle:.2f}", *(f"{p:.4f}" for p in row)))
        put(encode("".join(lines)))

    return note
