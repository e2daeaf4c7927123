"""The report that `eval` and `train` leave: a page, and plots beside it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidlstm.cli.console import Console
from vidlstm.errors import UsageError
from vidlstm.records import EpochReport, EvalReport

if TYPE_CHECKING:
    from vidlstm.data.samples import Dataset
    from vidlstm.models.checkpoint import Model

PAGE = "report.html"


def require_folder(report: Path | None) -> None:
    """Find out early that a report could not be written.

    Raises:
        UsageError: Its folder is not there, or a folder has its name.
    """
    if report is None:
        return
    if not report.absolute().parent.is_dir():
        raise UsageError(f"--report {report}: there is no folder {report.parent}")
    if report.is_dir():
        raise UsageError(f"--report {report}: is a folder; name a file, such as {report / PAGE}")


def leave_report(
    console: Console,
    file: Path,
    report: EvalReport | None,
    model: Model,
    dataset: Dataset,
    *,
    subset: str,
    epochs: Sequence[EpochReport],
    notes: Sequence[str] = (),
    stem: str = "",
) -> None:
    """Write the page, with the plots beside it, and say where.

    Args:
        console: Says it.
        file: The page. Without a report there is none, nor may an older one stay.
        report: Of the clips that were scored, if any were.
        model: That scored them.
        dataset: They are part of it.
        subset: Which part, in words.
        epochs: Of the training, as far as they are known.
        notes: What the reader must know before believing the figures.
        stem: What the plots' names begin with.
    """
    from vidlstm.engine.reporting import describe, write_page, write_plots

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
        command=shlex.join(["vidlstm", *sys.argv[1:]]),
        epochs=epochs,
        notes=notes,
    )
    console.say(f"Report: {file}")
