"""What is left for people to look at, beside the figures: plots, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidlstm.data.features import write_atomically
from vidlstm.records import EpochReport, EvalReport


def write_plots(
    prefix: Path, report: EvalReport | None, epochs: Sequence[EpochReport], temperature: float | None = None
) -> None:
    """Write the plots that there is something for: `curves.png`, `confusion.png`, `reliability.png`.

    Args:
        prefix: What comes before these names: a folder, or a file name that they are added to.
        report: Of the clips that were scored, if any were.
        epochs: Of training, as far as they are known.
        temperature: Of the model.

    Raises:
        OSError: A file cannot be written.
    """
    from vidlstm.report.plots import draw_confusion, draw_curves, draw_reliability

    def write(name: str, png: bytes) -> None:
        file = prefix / name if prefix.is_dir() else prefix.with_name(f"{prefix.name}.{name}")
        write_atomically(file, png)

    if epochs:
        write("curves.png", draw_curves(epochs))
    if report is not None:
        write("confusion.png", draw_confusion(report))
        write("reliability.png", draw_reliability(report, temperature=temperature))
