"""`vidlstm predict PATH...`: labels files, folders, or the paths on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from vidlstm.cli import options
from vidlstm.cli.console import Exit, Voice, command
from vidlstm.cli.inputs import expand
from vidlstm.cli.rows import HEADERS, WRITERS, Format, Record
from vidlstm.cli.setup import find_checkpoint, open_extractor
from vidlstm.errors import UsageError
from vidlstm.records import Failure


@command
def predict(
    machine: options.MachineOptions,
    voice_options: options.VoiceOptions,
    paths: Annotated[list[Path], Argument(help="Files, folders, or - for paths on standard input.")],
    checkpoint: options.CheckpointOption = None,
    output_format: Annotated[
        Format | None, Option("--format", "-f", help="Default: table on a terminal, tsv in a pipe.")
    ] = None,
    top_k: Annotated[int, Option(min=1, help="Classes in a row's `top`.")] = 5,
    min_score: Annotated[float, Option(min=0, max=1, help="Below it a label is left empty: unknown.")] = 0.0,
    glob: Annotated[str | None, Option(help="Which files of a folder. Default: video files.")] = None,
    null: Annotated[
        bool, Option("-0", "--null", help="Paths on standard input end in NUL (find -print0).")
    ] = False,
) -> int:
    """Label videos: one row for each, in order, as soon as it is ready."""
    voice = Voice.of(voice_options)
    if sys.stdout.isatty() is False and output_format is None:
        output_format = "tsv"
    path = find_checkpoint(voice, checkpoint)
    missing = [p for p in paths if str(p) != "-" and not p.exists() and not p.is_symlink()]
    if missing and len(paths) == 1:
        raise UsageError(f"{missing[0]}: there is no such file or folder")

    from vidlstm.engine.decoding import ReadRequest
    from vidlstm.engine.prediction import predict as label
    from vidlstm.models.checkpoint import load_model

    model = load_model(path)
    request = ReadRequest.of(model.config, views=model.config.views)
    with open_extractor(request, model.encoder, machine, cache=False, voice=voice) as extractor:
        files = expand(paths, kind=model.config.kind, glob=glob, separator=b"\0" if null else b"\n")
        records = label(model, extractor, files, top_k=top_k, min_score=min_score)
        return _write(voice, records, output_format or "table")


def _write(voice: Voice, records: Iterator[Record], output_format: Format) -> int:
    writer = WRITERS["tsv" if output_format == "table" else output_format]
    sys.stdout.reconfigure(errors="surrogateescape", newline="")  # type: ignore[union-attr]
    sys.stdout.write(HEADERS.get(output_format, ""))
    failed = 0
    for record in records:
        sys.stdout.write(writer(record))
        sys.stdout.flush()
        if isinstance(record, Failure) or record.problem is not None:
            failed += 1
            problem = record.problem
            assert problem is not None
            voice.warn(f"{record.path}: {problem.code.value}: {problem.message}")
    return Exit.SOME_FAILED if failed else Exit.DONE
