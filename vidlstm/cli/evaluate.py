"""`vidlstm eval DATA`: scores a checkpoint on labelled clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from vidlstm.cli import options
from vidlstm.cli.console import Console, Exit, command
from vidlstm.cli.reports import leave_report, require_folder
from vidlstm.cli.setup import (
    extract_dataset,
    find_checkpoint,
    find_dataset,
    open_extractor,
    show_report,
    tell_lengths,
)

EXAMPLES = (
    "vidlstm eval more_clips/",
    "vidlstm eval test.csv --checkpoint runs/first --report report.html",
)


@command
def evaluate(
    data: options.DataOptions,
    machine: options.MachineOptions,
    console_options: options.ConsoleOptions,
    checkpoint: options.CheckpointOption = None,
    split: Annotated[
        Literal["train", "val", "test", "all"] | None,
        Option(help="Subset to score.", show_default="test, else what the run held out, else all"),
    ] = None,
    report_file: Annotated[
        Path | None,
        Option("--report", help="Write an HTML report to this file, and plots beside it."),
    ] = None,
    as_json: options.JsonOption = False,
    cache: options.CacheOption = True,
) -> int:
    """Score a model on labelled clips that it was not trained on."""
    console = Console.of(console_options)
    require_folder(report_file)
    path = find_checkpoint(console, checkpoint)
    dataset = find_dataset(console, data)

    from vidlstm.engine.evaluation.subsets import choose_subset, learned_clips, with_classes_of
    from vidlstm.engine.extraction.reading import ReadRequest
    from vidlstm.engine.training.baseline import score_with_baseline
    from vidlstm.models.checkpoint import load_model

    model = load_model(path, baseline=True)
    subset = choose_subset(dataset, path.parent, split)
    console.say(f"Scored: {subset.description}.")
    dataset = with_classes_of(subset.dataset, model)
    notes = []
    if known := learned_clips(dataset, model):
        notes.append(
            f"{len(known)} of {len(dataset.samples)} clips are ones that the model learned from, "
            f"so the score is too good: {known[0]}{' and others' if len(known) > 1 else ''}"
        )
        console.warn(notes[-1])
    request = ReadRequest.of(model.config, views=model.config.views)
    with open_extractor(request, model.encoder, machine, cache=cache, console=console) as extractor:
        clips = extract_dataset(console, extractor, dataset)
    tell_lengths(console, clips)
    report = score_with_baseline(model, clips, range(len(dataset.samples)))
    show_report(console, report)
    if report_file is not None:
        from vidlstm.engine.training.run_folder import read_epochs

        leave_report(
            console, report_file, report, model, dataset, subset=subset.description,
            epochs=read_epochs(path.parent), notes=notes, stem=f"{report_file.stem}.",
        )  # fmt: skip
    if as_json:
        from vidlstm.report.findings import cautions

        print(json.dumps({**report.to_json(), "cautions": [*notes, *cautions(report)]}))
    return Exit.SOME_FAILED if report.failed else Exit.DONE
