"""Apply decisions to a table of clips or spans: a new table is written.

A long span is trained on, and reviewed, in several pieces. A decision that gives a piece another label cuts
it out of its row; one about a piece of the background adds a row. A new span never overlaps another. Where
rows overlap, the one that starts later counts; a row is not cut if that would change what counts elsewhere.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vidlstm.data.annotations.table import is_span_table
from vidlstm.data.annotations.values import seconds_of
from vidlstm.data.films import BACKGROUND
from vidlstm.data.layouts.tables import read_records
from vidlstm.engine.review.decisions import NO_CLIP, Applied, Decision, find_clip, num_held_out, with_subset
from vidlstm.errors import DataError
from vidlstm.files import kind_of, real_path, write_atomically
from vidlstm.stores import address_of, is_address, path_in

_ROUNDING = 0.005 + 1e-6
"""Seconds by which times of `predictions.csv`, which have two decimals, differ from those of the table."""
_MILLISECOND = 1e-3

_Times = tuple[float, ...]
"""Empty for a whole clip; NaN for a time that cannot be read."""


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of a table."""

    times: _Times
    values: list[str]


def apply_to_table(decisions: Sequence[Decision], table: Path, output: Path) -> Applied:
    """Apply decisions to the rows of a table, and write a new one if anything changes.

    Raises:
        DataError: The table cannot be used, or two decisions are about one row.
    """
    changes = _Changes(table, output)
    for decision in decisions:
        changes.add(decision)
    return changes.write()


class _Changes:
    """A table, and what decisions change in it.

    Args:
        table: The table.
        output: The new table.

    Raises:
        DataError: The table cannot be used.
    """

    def __init__(self, table: Path, output: Path) -> None:
        self._table, self._output = table, output
        lines = list(read_records(table))
        self._header = lines[0][1] if lines else []
        self._column = {name.strip().lower(): i for i, name in enumerate(self._header)}
        if not {"path", "label"} <= set(self._column):
            raise DataError(f"{table}: has no columns path and label")
        self._has_spans = is_span_table(self._header)
        self._rows: list[_Row] = []
        self._by_place: dict[str, list[_Row]] = {}
        for line, values in lines[1:]:
            self._read(line, values)
        self._decided: dict[_Row, Decision] = {}
        self._confirmed = 0
        """Number of pieces of spans, and of background, whose label stays."""
        self._added: dict[str, list[_Row]] = {}
        self._relabelled: list[Decision] = []
        """Decisions that make a span of background."""
        self._problems: list[str] = []

    def _read(self, line: int, values: list[str]) -> None:
        if self._has_spans:  # as in their reader, cells missing at the end are empty
            values += [""] * (len(self._header) - len(values))
        if len(values) < len(self._header):
            raise DataError(
                f"{self._table}, line {line}: has {len(values)} values "
                f"where the header has {len(self._header)}"
            )
        name = values[self._column["path"]]
        if not name or "\0" in name:
            raise DataError(f"{self._table}, line {line}: has no usable path")
        file = path_in(self._table.parent, name)
        values[self._column["path"]] = _relative(file, name, self._output)
        start, end = (values[self._column[name]] if self._has_spans else "" for name in ("start", "end"))
        row = _Row(_times(start, end), values)
        self._rows.append(row)
        self._by_place.setdefault(_place(file), []).append(row)

    def add(self, d: Decision) -> None:
        """Apply one decision.

        Raises:
            DataError: Another decision is about the same row.
        """
        times = _times(d.start, d.end)
        if self._has_spans and not times:
            self._problems.append(f"{d.path}: decision about the whole clip, but {self._table} holds spans")
            return
        source = find_clip(d, self._table.parent)
        place = _place(source or path_in(self._table.parent, d.path))
        known = self._by_place.get(place, [])
        found = _nearest(times, known)
        for row in found:
            if self._decided.setdefault(row, d).decision != d.decision:
                raise DataError(f"{d.path}: has two decisions about the same row of {self._table}; keep one")
        if found or self._add_piece(d, times, place):
            return
        is_new = not d.label and self._has_spans == bool(times) and not any(map(math.isnan, times))
        if is_new and source is not None and kind_of(source) is None:
            self._problems.append(f"{d.path}: {NO_CLIP}")
        elif is_new and source is not None and times and not self._is_free(times, place):
            self._problems.append(f"{d.name}: overlaps another span in {self._table}")
        elif is_new and source is not None:
            self._add_row(d, _relative(source, d.path, self._output), place)
        else:
            self._problems.append(f"{d.name}: not in {self._table}")

    def _add_piece(self, d: Decision, times: _Times, place: str) -> bool:
        """Apply a decision about a piece of a span, or of background; return whether it is about one."""
        if not self._has_spans:
            return False
        label, known = self._column["label"], self._by_place.get(place, [])
        old = d.label or self._label_at(times, place)
        rows = [r for r in known if r not in self._decided and r.values[label].strip() == old]
        around = [row for row in rows if _holds(row.times, times)]
        is_background = old == BACKGROUND and bool(known) and self._is_free(times, place)
        if not old or (len(around) != 1 and not is_background):
            return False
        if d.decision == old:
            self._confirmed += 1
        elif len(around) == 1 and any(
            _is_affected(row.times, times, around[0].times) for row in known if row is not around[0]
        ):
            self._problems.append(
                f"{d.name}: overlaps another span in {self._table}; correct the times there first"
            )
        elif len(around) == 1:
            self._cut_out(d, times, around[0], known)
        else:
            subset = self._add_row(d, known[0].values[self._column["path"]], place)
            self._relabelled.append(with_subset(d, subset))
        return True

    def _label_at(self, times: _Times, place: str) -> str:
        """Return the label of some time of a film, as CVAT keeps none; empty if several rows have a part."""
        known = self._by_place.get(place, [])
        labels = [r.values[self._column["label"]].strip() for r in known if _holds(r.times, times)]
        if len(labels) == 1:
            return labels[0]
        return BACKGROUND if self._is_free(times, place) else ""

    def _is_free(self, times: _Times, place: str) -> bool:
        return _is_free(times, [*self._by_place.get(place, []), *self._added.get(place, [])])

    def _cut_out(self, d: Decision, times: _Times, row: _Row, known: list[_Row]) -> None:
        """Replace a row by up to three: the decision's times, and what is left before and after."""
        start, end = self._column["start"], self._column["end"]
        outer = (row.times[0], row.values[start]), (row.times[1], row.values[end])
        borders = [outer[0], (times[0], d.start), (times[1], d.end), outer[1]]
        if times[0] - row.times[0] <= _ROUNDING:
            borders[1] = outer[0]
        if row.times[1] - times[1] <= _ROUNDING:
            borders[2] = outer[1]
        parts = []
        for (first, start_text), (last, end_text) in pairwise(borders):
            values = [*row.values]
            values[start], values[end] = start_text, end_text
            parts.append(_Row((first, last), values))
        self._decided[parts[1]] = d
        parts = [part for part in parts if part.times[0] < part.times[1]]
        for rows in (self._rows, known):
            place = rows.index(row)
            rows[place : place + 1] = parts

    def _add_row(self, d: Decision, path: str, place: str) -> str:
        """Add a row, and return its subset."""
        facts = _facts(d, path, self._by_place.get(place, []), self._column)
        values = [facts.get(name.strip().lower(), "") for name in self._header]
        self._added.setdefault(place, []).append(_Row(_times(d.start, d.end), values))
        return facts["split"]

    def write(self) -> Applied:
        """Write the new table, unless nothing changes."""
        label, split = self._column["label"], self._column.get("split")
        changed: list[Decision] = []
        for row, d in self._decided.items():
            if row.values[label] != d.decision:
                row.values[label] = d.decision
                changed.append(with_subset(d, "" if split is None else row.values[split]))
        kept = self._confirmed + len(set(self._decided.values()))
        kept -= len({(d.path, d.start, d.end) for d in changed})
        problems = tuple(self._problems)
        if not changed and not self._added:
            return Applied(0, kept, 0, 0, None, problems)
        text = io.StringIO()
        added = [row for rows in self._added.values() for row in rows]
        rows = [self._header, *(row.values for row in (*self._rows, *added))]
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(self._output, text.getvalue().encode("utf-8", "surrogateescape"))
        held_out = num_held_out([*changed, *self._relabelled])
        return Applied(len(changed), kept, len(added), held_out, self._output, problems)


def _facts(decision: Decision, path: str, known: Sequence[_Row], column: Mapping[str, int]) -> dict[str, str]:
    """Return the columns of a new row, given the other rows of the same film."""
    facts = {"path": path, "group": path, "split": "train"}
    if known:  # a film is in one group and one subset
        like = max(known, key=lambda row: len(row.times))  # preferably not a row without a span
        given = {name: like.values[column[name]] for name in facts if name in column}
        facts |= {name: value for name, value in given.items() if value or like.times}
    return {**facts, "label": decision.decision, "start": decision.start, "end": decision.end}


def _place(file: Path) -> str:
    return str(file if address_of(file) is not None else real_path(file))


def _times(start: str, end: str) -> _Times:
    if not start.strip() and not end.strip():
        return ()
    return tuple(math.nan if seconds is None else seconds for seconds in map(seconds_of, (start, end)))


def _nearest(times: _Times, rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows whose times are nearest, if they differ only by rounding; never a span for a clip."""
    near = [row for row in rows if _is_near(times, row.times)]
    gap = min((math.dist(times, row.times) for row in near), default=0.0)
    return [row for row in near if math.dist(times, row.times) <= gap + _MILLISECOND]


def _is_near(times: _Times, others: _Times) -> bool:
    if len(times) != len(others):
        return False
    return all(abs(a - b) <= _ROUNDING for a, b in zip(times, others, strict=True))


def _holds(times: _Times, piece: _Times) -> bool:
    """Tell whether a span holds a piece; False for times that cannot be read."""
    if not len(times) == len(piece) == 2:
        return False
    return times[0] - _ROUNDING <= piece[0] < piece[1] - _ROUNDING and piece[1] <= times[1] + _ROUNDING


def _is_free(piece: _Times, rows: Sequence[_Row]) -> bool:
    """Tell whether no row has a part of some time of a film; False for times that cannot be read."""
    spans = [row.times for row in rows if row.times]
    return _holds((0.0, math.inf), piece) and all(
        piece[1] <= start + _ROUNDING or end - _ROUNDING <= piece[0] for start, end in spans
    )


def _is_affected(other: _Times, piece: _Times, span: _Times) -> bool:
    """Tell whether it may change where another row counts if a piece is cut out of a span."""
    if not other:
        return False
    later = span[0] <= other[0] < span[1] - _ROUNDING
    return later and other[0] <= piece[1] + _ROUNDING and piece[0] < other[1] - _ROUNDING


def _relative(file: Path, name: str, table: Path) -> str:
    """Return the path of a file in a table in another folder; an address or absolute path stays as it is."""
    if is_address(name) or Path(name).is_absolute():
        return name
    try:
        return Path(os.path.relpath(file, table.parent)).as_posix()
    except ValueError:  # on another drive
        return str(file.absolute())
