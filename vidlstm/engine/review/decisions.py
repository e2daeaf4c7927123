"""Decisions about labels, and the table that the review page downloads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidlstm.data.layouts.tables import read_text
from vidlstm.errors import DataError

COLUMNS = ("path", "start", "end", "label", "decision", "subset")


@dataclass(frozen=True)
class Decision:
    """A user's decision about one clip or span.

    Args:
        path: Path as in the review.
        label: The old label; empty if none, or if it is not known.
        decision: The new label.
        start: Start of the span as text; empty for a whole clip.
        end: End of the span as text; empty for a whole clip.
        subset: Subset of the split; empty if unknown.
    """

    path: str
    label: str
    decision: str
    start: str = ""
    end: str = ""
    subset: str = ""


def read_table(file: Path) -> list[Decision]:
    """Read a `decisions.csv` from the review page, or a list that undoes moves.

    Raises:
        DataError: The file cannot be read, or has another format.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True))
    except csv.Error as error:
        raise DataError(f"{file}: is not a valid CSV file ({error})") from None
    found = []
    for line, row in enumerate(rows, 2):
        values = {name: row.get(name) or "" for name in COLUMNS}
        if None in row or not values["path"] or not values["decision"] or "\0" in "".join(values.values()):
            raise DataError(f"{file}, line {line}: not a decision; the columns are {', '.join(COLUMNS)}")
        found.append(Decision(**values))
    return found


def to_table(decisions: Iterable[Decision]) -> bytes:
    """Return the content of a `decisions.csv`."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    lines.writerows((d.path, d.start, d.end, d.label, d.decision, d.subset) for d in decisions)
    return text.getvalue().encode("utf-8", "surrogateescape")


def is_text(text: str) -> bool:
    """Tell whether a text from JSON can be a name on disk: it has no NUL, and no surrogate but for a byte."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def require_unique(file: Path, decisions: Sequence[Decision]) -> list[Decision]:
    """Return one decision for each clip or span.

    Raises:
        DataError: There are none, or two different ones about the same clip.
    """
    found: dict[tuple[str, str, str], Decision] = {}
    for decision in decisions:
        known = found.setdefault((decision.path, decision.start, decision.end), decision)
        if known.decision != decision.decision:
            raise DataError(f"{file}: has two different decisions about {decision.path}; keep one")
    if not found:
        raise DataError(f"{file}: holds no decisions")
    return list(found.values())
