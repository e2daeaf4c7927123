"""Report files: the HTML page, plots for papers, and `predictions.csv`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidlstm.config import ModelConfig
from vidlstm.data.layouts.folders import count
from vidlstm.data.samples import Dataset
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.thumbnails import thumbnail_strips
from vidlstm.errors import UsageError
from vidlstm.evaluations import EvalReport, SpanReport
from vidlstm.files import make_folder, real_path, write_atomically
from vidlstm.media.overlay import hex_colours
from vidlstm.records import CATCH_ALL, EpochReport
from vidlstm.report.timelines import FilmSection

PAGE = "report.html"
PREDICTIONS = "predictions.csv"
PLOTS = ("curves.png", "confusion.png", "reliability.png")


def require_own_files(page: Path, data: Path, setting: str, *, stem: str = "") -> None:
    """Check that the files beside a report replace no input, and none that no earlier report has written.

    Args:
        page: The page of the report.
        data: The data set.
        setting: The setting that decides where the files are.
        stem: Prefix of their names.

    Raises:
        UsageError: A file is an input, or is there although the page is not.
    """
    for file in (page.with_name(f"{stem}{name}") for name in (PREDICTIONS, *PLOTS)):
        if real_path(file) == real_path(data):
            raise UsageError(
                f"{file}: is an input, and the report would replace it; choose another `{setting}`"
            )
        if os.path.lexists(file) and not os.path.lexists(page):
            raise UsageError(
                f"{file}: already exists, and the report would replace it; move it, or choose another "
                f"`{setting}`"
            )


def write_report(
    file: Path,
    report: EvalReport | None,
    config: ModelConfig,
    dataset: Dataset,
    *,
    subset: str,
    training: Mapping[str, Any] | None = None,
    epochs: Sequence[EpochReport] = (),
    notes: Sequence[str] = (),
    command: str = "",
    stem: str = "",
    networks: Path | None = None,
    spans: SpanReport | None = None,
) -> None:
    """Write the report page, and the plots next to it.

    Args:
        file: The page. It is not written without a report, and an older one is removed.
        report: Report on the scored clips; None if there are none.
        config: The model.
        dataset: The data set of the scored clips.
        subset: Description of the scored subset.
        training: Facts about the model's training, see `describe_training`.
        epochs: Epochs of the training, as far as known.
        notes: Caveats about the figures.
        command: The command line that repeats the report, if there is one.
        stem: Prefix of the plots' file names.
        networks: Folder of the networks of the `pose` stream.
        spans: Report on the films that the clips are parts of.

    Raises:
        OSError: A file cannot be written.
    """
    make_folder(file.parent)
    write_plots(file.parent, report, epochs, stem=stem)
    if report is None:
        file.unlink(missing_ok=True)
        return
    write_page(
        file,
        report,
        ReadRequest.of(config, views=config.views, pose_networks=networks),
        title=describe_test(dataset.root.absolute().name, report.classes),
        facts=describe(config, training or {}, dataset, subset),
        command=command,
        epochs=epochs,
        notes=notes,
        spans=spans,
    )


def describe_test(data: str, classes: Sequence[str]) -> str:
    """Return the title of a report. Classes for everything else, such as background, are not actions."""
    actions = count(sum(name.lower() not in CATCH_ALL for name in classes), "action")
    return f"{data}: test of a model of {actions}"


def write_predictions(file: Path, report: EvalReport, *, column: str, parts: Sequence[str]) -> None:
    """Write the prediction for every scored clip as CSV.

    The columns are `path,label,group,<column>,predicted,score`, then `score_<class>` for every class, then
    `error`. A clip that could not be read has an error and no prediction; it counts as a mistake.

    Args:
        file: Path of the CSV file.
        report: Report on the scored clips.
        column: Name of the column for `parts`: `split` or `fold`.
        parts: Split or fold of every clip of the report.

    Raises:
        OSError: The file cannot be written.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    scores = [f"score_{name}" for name in report.classes]
    lines.writerow(["path", "label", "group", column, "predicted", "score", *scores, "error"])
    for clip, part in zip(report.scored, parts, strict=True):
        row = [clip.name, clip.label, clip.group, part]
        if clip.failed:
            row += ["", "", *("" for _ in scores)]
        else:
            best = int(np.argmax(clip.scores))
            row += [report.classes[best], *(f"{s:.6f}" for s in (clip.scores[best], *clip.scores))]
        lines.writerow([*row, "" if clip.problem is None else clip.problem.code.value])
    write_atomically(file, text.getvalue().encode("utf-8", "surrogateescape"))


def write_page(
    file: Path,
    report: EvalReport,
    request: ReadRequest,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    command: str,
    epochs: Sequence[EpochReport] = (),
    notes: Sequence[str] = (),
    spans: SpanReport | None = None,
) -> None:
    """Write the HTML page of an evaluation; the clips on it are read again for their thumbnails.

    Args:
        file: Path of the page.
        report: Report on the scored clips.
        request: What the model reads from a clip.
        title: Title of the page.
        facts: Facts about data, split and model.
        command: The command line that repeats the report.
        epochs: Epochs of the training, as far as known.
        notes: Caveats about the figures.
        spans: Report on the films that the clips are parts of.

    Raises:
        OSError: The file cannot be written.
    """
    from vidlstm.report.page import pictured_clips, render

    page = render(
        report,
        title=title,
        facts=facts,
        thumbnails=thumbnail_strips(pictured_clips(report), request.kind, request),
        command=command,
        curves=epochs,
        notes=notes,
        films=None if spans is None else film_section(report, spans),
    )
    write_atomically(file, page.encode("utf-8"))


def film_section(report: EvalReport, spans: SpanReport) -> FilmSection:
    """Return the films of a page, with a colour for every action of the model and every span."""
    shown = {span.label for film in spans.films for span in (*film.truth, *film.found)}
    actions = shown.union(name for name in report.classes if name.lower() not in CATCH_ALL)
    colours = hex_colours(report.classes, shown)
    return FilmSection(spans, {name: colours[name] for name in sorted(actions)})


def write_plots(
    folder: Path,
    report: EvalReport | None,
    epochs: Sequence[EpochReport],
    *,
    stem: str = "",
) -> None:
    """Write the plots that have data: `curves.png`, `confusion.png`, `reliability.png`.

    Older plots without current data are removed.

    Args:
        folder: Where to write them.
        report: Report on the scored clips; None if there are none.
        epochs: Epochs of the training, as far as known.
        stem: Prefix of the file names.

    Raises:
        OSError: A file cannot be written.
    """
    from vidlstm.report.plots import confusion_png, curves_png, reliability_png

    plots = (
        curves_png(epochs) if epochs else None,
        confusion_png(report) if report else None,
        reliability_png(report) if report else None,
    )
    for name, png in zip(PLOTS, plots, strict=True):
        file = folder / f"{stem}{name}"
        if png is None:
            file.unlink(missing_ok=True)
        else:
            write_atomically(file, png)


def describe(
    config: ModelConfig, training: Mapping[str, Any], dataset: Dataset, subset: str
) -> list[tuple[str, str]]:
    """Return names and values of facts about data, split and model.

    Args:
        config: The model.
        training: Facts about its training, as far as known.
        dataset: The data set of the scored clips.
        subset: Description of the scored subset.
    """
    facts = [
        ("Data", str(dataset.root)),
        ("Scored", subset),
        ("Groups", dataset.group_rule),
        ("Streams", "+".join(config.streams)),
        ("Head", f"{config.head.kind}, {config.members} ensemble members"),
    ]
    if "rgb" in config.streams:
        facts.append(("Encoder", f"{config.encoder.name}, weights {config.encoder.weights}"))
    if config.kind == "video":
        sampling = config.sampling
        facts.append(("Sampling", f"{sampling.method}, {sampling.num_frames} moments, {config.views} views"))
    if "pose" in config.streams:
        facts.append(("People", f"up to {config.people}; the thumbnails show their key points"))
    if "num_clips" in training:
        facts.append(("Trained on", f"{training['num_clips']['train']} clips of {training['data']}"))
    if "best_epoch" in training:
        facts.append(("Best epoch", f"{training['best_epoch']} of {training['epochs']}"))
    if "seed" in training.get("settings", {}):
        facts.append(("Seed", str(training["settings"]["seed"])))
    if "version" in training:
        facts.append(("Trained by", f"vidlstm {training['version']}"))
    return facts
