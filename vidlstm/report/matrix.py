"""The confusion matrix on the report page, a table whose headings stay visible."""

from __future__ import annotations

from dataclasses import dataclass

from vidlstm.evaluations import EvalReport
from vidlstm.report.text import printable, shortened

_SHADES = 5  # their colours are in the style sheet


@dataclass(frozen=True)
class Cell:
    """One cell: a number of clips, and how strongly it is coloured.

    Args:
        count: Number of clips.
        style: `hit0` to `hit4` for correct ones, `miss0` to `miss4`, by their share of the true class.
        title: Tooltip of the cell.
    """

    count: int
    style: str
    title: str


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix.

    Args:
        labels: Names of the classes, shortened.
        rows: One row per true class, with None for cells without clips.
        size: Size of the cells, `large`, `medium` or `small`, by the number of classes.
    """

    labels: tuple[str, ...]
    rows: tuple[tuple[Cell | None, ...], ...]
    size: str


def matrix(report: EvalReport) -> Matrix:
    """Return the confusion matrix of a report."""
    names = [printable(name) for name in report.classes]
    rows = []
    for true, counts in enumerate(report.confusion):
        total = sum(counts)
        cells = []
        for guess, count in enumerate(counts):
            shade = min(_SHADES - 1, count * _SHADES // max(total, 1))
            style = f"{'hit' if true == guess else 'miss'}{shade}"
            title = f"{names[true]} → {names[guess]}: {count} of {total}"
            cells.append(Cell(count, style, title) if count else None)
        rows.append(tuple(cells))
    number = len(names)
    size = "large" if number <= 12 else "medium" if number <= 40 else "small"
    return Matrix(tuple(shortened(name, 24) for name in report.classes), tuple(rows), size)
