"""What is left for people to look at, beside the figures: the page, and plots for papers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidlstm.data.samples import Dataset
from vidlstm.engine.extraction.thumbnails import thumbnail_strips
from vidlstm.files import write_atomically
from vidlstm.models.checkpoint import Model
from vidlstm.records import EpochReport, EvalReport

PAGE = "report.html"


def leave_report(
    file: Path,
    report: EvalReport | None,
    model: Model,
    dataset: Dataset,
    *,
    subset: str,
    epochs: Sequence[EpochReport],
    notes: Sequence[str] = (),
    command: str = "",
    stem: str = "",
) -> None:
    """Write the page, with the plots beside it.

    Args:
        file: The page. Without a report there is none, nor may an older one stay.
        report: Of the clips that were scored, if any were.
        model: That scored them.
        dataset: They are part of it.
        subset: Which part, in words.
        epochs: Of the training, as far as they are known.
        notes: What the reader must know before believing the figures.
        command: That makes the same report again, if there is one.
        stem: What the plots' names begin with.

    Raises:
        OSError: A file cannot be written.
    """
    write_plots(file.parent, report, epochs, stem=stem)
    if report is None:
        file.unlink(missing_ok=True)
        return
    write_page(
        file,
        report,
        model,
        title=f"{dataset.root.absolute().name}: {len(report.classes)} actions recognised",
        facts=describe(model, dataset, subset),
        command=command,
        epochs=epochs,
        notes=notes,
    )


def write_page(
    file: Path,
    report: EvalReport,
    model: Model,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    command: str,
    epochs: Sequence[EpochReport] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write the HTML page of an evaluation; the clips that it shows are read once more.

    Args:
        file: To be written.
        report: Of the clips that were scored.
        model: That scored them.
        title: Of the page.
        facts: On data, split and model.
        command: That makes the same report again.
        epochs: Of the training, as far as they are known.
        notes: What the reader must know before believing the figures.

    Raises:
        OSError: The file cannot be written.
    """
    from vidlstm.report.page import pictured_clips, render

    page = render(
        report,
        title=title,
        facts=facts,
        thumbnails=thumbnail_strips(pictured_clips(report), model.config.kind),
        command=command,
        curves=epochs,
        notes=notes,
    )
    write_atomically(file, page.encode("utf-8"))


def write_plots(
    folder: Path,
    report: EvalReport | None,
    epochs: Sequence[EpochReport],
    *,
    stem: str = "",
) -> None:
    """Write the plots that there is something for: `curves.png`, `confusion.png`, `reliability.png`.

    Older ones that there is nothing for any more are removed.

    Args:
        folder: Where to.
        report: Of the clips that were scored, if any were.
        epochs: Of training, as far as they are known.
        stem: What these names begin with.

    Raises:
        OSError: A file cannot be written.
    """
    from vidlstm.report.plots import confusion_png, curves_png, reliability_png

    plots = {
        "curves.png": curves_png(epochs) if epochs else None,
        "confusion.png": confusion_png(report) if report else None,
        "reliability.png": reliability_png(report) if report else None,
    }
    for name, png in plots.items():
        file = folder / f"{stem}{name}"
        if png is None:
            file.unlink(missing_ok=True)
        else:
            write_atomically(file, png)


def describe(model: Model, dataset: Dataset, subset: str) -> list[tuple[str, str]]:
    """Return names and values of what a reader wants to know of data, split and model.

    Args:
        model: With the facts of its training.
        dataset: That was scored, or a part of it was.
        subset: Which part, in words.
    """
    config, training = model.config, model.training
    facts = [
        ("Data", str(dataset.root)),
        ("Scored", subset),
        ("Groups", dataset.group_rule),
        ("Streams", "+".join(config.streams)),
        ("Head", f"{config.head.kind}, {config.members} networks averaged"),
    ]
    if "rgb" in config.streams:
        facts.append(("Encoder", f"{config.encoder.name}, weights {config.encoder.weights}"))
    if config.kind == "video":
        sampling = config.sampling
        facts.append(("Sampling", f"{sampling.method}, {sampling.num_frames} moments, {config.views} views"))
    if "num_clips" in training:
        facts.append(("Learned from", f"{training['num_clips']['train']} clips of {training['data']}"))
    if "best_epoch" in training:
        facts.append(("Best epoch", f"{training['best_epoch']} of {training['epochs']}"))
    if "seed" in training.get("settings", {}):
        facts.append(("Seed", str(training["settings"]["seed"])))
    if "version" in training:
        facts.append(("Trained by", f"vidlstm {training['version']}"))
    return facts
