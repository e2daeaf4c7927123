"""A CSV or TSV of spans: `path,start,end,label`, and optionally `group` and `split`; times in seconds.

A row with only a path is a film without spans, so the output of `vidlstm spans` can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vidlstm.data.annotations.spans import (
    ANYWHERE,
    Annotations,
    LabelledSpan,
    Membership,
    SpanCode,
    SpanProblem,
    time_between,
)
from vidlstm.data.annotations.values import seconds_of
from vidlstm.data.layouts.tables import columns_of, subset_of
from vidlstm.errors import DataError

_NEEDED = ("path", "start", "end", "label")


def is_span_table(header: Sequence[str]) -> bool:
    """Tell whether a header belongs to a table of spans."""
    return {"start", "end"} <= {name.strip().lower() for name in header}


def read_span_table(
    file: Path, header: Sequence[str], lines: Iterable[tuple[int, list[str]]], group_column: str | None = None
) -> Annotations:
    """Read the rows below a header; invalid rows are reported as problems.

    Args:
        file: The table.
        header: Its first line.
        lines: The other lines, with their numbers.
        group_column: Column that holds the groups, instead of `group`.

    Raises:
        DataError: A column is missing, or a split is not train, val or test.
    """
    group_name = (group_column or "group").lower()
    place = columns_of(file, header, (*_NEEDED, "split", group_name))
    for column in (*_NEEDED, *([group_name] if group_column else [])):
        if column not in place:
            raise DataError(f'{file}: has no column "{column}"; its header has: {", ".join(header)}')
    spans: list[LabelledSpan] = []
    problems: list[SpanProblem] = []
    memberships: dict[Membership, None] = {}
    films: dict[str, None] = {}
    for line, values in lines:
        where = f"{file}, line {line}"
        if any(value.strip() for value in values[len(header) :]):
            message = (
                f"has {len(values)} values where the header has {len(header)}; put a value with a separator "
                'in it, such as "3,5", into quotes'
            )
            film = values[place["path"]]
            problems.append(SpanProblem(SpanCode.UNREADABLE, where, film, message, may_cover=ANYWHERE))
            continue
        cells = [*values, *[""] * (len(header) - len(values))]
        film, start_text, end_text, label = (cells[place[name]] for name in _NEEDED)
        start_text, end_text, label = start_text.strip(), end_text.strip(), label.strip()
        if not film or "\0" in film:
            problems.append(SpanProblem(SpanCode.UNREADABLE, where, "", "has no usable path"))
            continue
        films[film] = None
        group = cells[place[group_name]].strip() if group_name in place else ""
        split = cells[place["split"]].strip() if "split" in place else ""
        if group or split:
            memberships[Membership(film, group or None, subset_of(split, where) if split else None)] = None
        if not (start_text or end_text or label):
            continue
        start, end = seconds_of(start_text), seconds_of(end_text)
        if start is None or end is None or not label:
            message = (
                f"start {start_text!r}, end {end_text!r}, label {label!r}: times such as 65.5 or 1:05.5 "
                "and a label are needed"
            )
            times = time_between(start, end)
            problems.append(SpanProblem(SpanCode.UNREADABLE, where, film, message, may_cover=times))
            continue
        spans.append(LabelledSpan(film, start, end, label, where))
    layout = f"table of spans {file.name}"
    return Annotations(tuple(films), tuple(spans), tuple(problems), layout, tuple(memberships))
