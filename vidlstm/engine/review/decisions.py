"""Decisions about labels, and the table that the review page downloads."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidlstm.data.layouts.folders import SUBSETS
from vidlstm.data.layouts.tables import read_text
from vidlstm.errors import DataError
from vidlstm.stores import to_path

NO_CLIP = "is neither a video nor a picture"
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

    @property
    def name(self) -> str:
        """Path and, for a span, its times, as in `predictions.csv`."""
        return f"{self.path}#t={self.start},{self.end}" if self.start or self.end else self.path


@dataclass(frozen=True)
class Applied:
    """The result of applying decisions.

    Args:
        changed: Number of clips whose label was changed.
        kept: Number of clips whose label was confirmed.
        added: Number of clips that were not in the data set.
        held_out: Number of changed clips in a validation or test set.
        written: The new table, or the list of decisions that undoes the moves; None if nothing changed.
        problems: Decisions that could not be applied, one sentence each, with the path.
    """

    changed: int
    kept: int
    added: int
    held_out: int
    written: Path | None
    problems: tuple[str, ...] = ()


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


def find_clip(decision: Decision, root: Path) -> Path | None:
    """Return the file of a decision; a path that does not exist is taken as relative to `root`."""
    path = to_path(decision.path)
    paths = (path, root / path)
    return next((p for p in paths if os.path.exists(p)), None)  # noqa: PTH110 - Path raises on a long name


def with_subset(decision: Decision, subset: str) -> Decision:
    """Return a decision with the subset that a table or folder names, unless it has one."""
    return decision if decision.subset else replace(decision, subset=SUBSETS.get(subset.lower(), ""))


def num_held_out(decisions: Sequence[Decision]) -> int:
    """Return the number of decisions about clips of a validation or test set."""
    return sum(d.subset in ("val", "test", "held-out") for d in decisions)
