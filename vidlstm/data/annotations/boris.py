"""BORIS's aggregated events as CSV: one row per bout, with `Behavior`, `Start (s)` and `Stop (s)`.

The film is in `Media file name` (`Media file` in older versions), otherwise in `Source`, as `player
#1:films/day.mp4`. Times are seconds from the start of the observation, which is the start of its media file.
Point events have no duration; they are reported and not used. Behaviours of several subjects may overlap.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from vidlstm.data.annotations.spans import Annotations, LabelledSpan, SpanCode, SpanProblem, time_between
from vidlstm.data.annotations.values import number_of, text_of
from vidlstm.records import Span

_MEDIA = ("media file name", "media file", "media file path", "source")
_RATES = ("fps (frame/s)", "fps")
_NEEDED = {"behavior", "start (s)", "stop (s)"}

HEADER = (
    "Observation id", "Observation date", "Description", "Observation type", "Source", "Time offset (s)",
    "Coding duration", "Media duration (s)", "FPS (frame/s)", "Subject",
    "Observation duration by subject by observation", "Behavior", "Behavioral category", "Behavior type",
    "Start (s)", "Stop (s)", "Duration (s)", "Media file name", "Image index start", "Image index stop",
    "Image file path start", "Image file path stop", "Comment start", "Comment stop",
)  # fmt: skip
"""Columns of aggregated events as BORIS 8 and 9 write them."""


def is_boris(header: Sequence[str]) -> bool:
    """Tell whether a header belongs to a table of aggregated events."""
    return {name.strip().lower() for name in header} >= _NEEDED


def read_boris(file: Path, header: Sequence[str], lines: Iterable[tuple[int, list[str]]]) -> Annotations:
    """Read the rows below a header; invalid rows are reported as problems."""
    names = [name.strip().lower() for name in header]
    spans: list[LabelledSpan] = []
    problems: list[SpanProblem] = []
    films: dict[str, None] = {}
    for line, values in lines:
        row = dict(zip(names, values, strict=False))
        where = f"{file}, line {line}"
        film = next(filter(None, (_film_of(row.get(name, "")) for name in _MEDIA)), None)
        if film is None:
            problems.append(SpanProblem(SpanCode.UNREADABLE, where, "", "names no media file"))
            continue
        films[film] = None
        start, end = number_of(row["start (s)"]), number_of(row["stop (s)"])
        label = text_of(row["behavior"])
        if row.get("behavior type", "").strip().upper() == "POINT" and start is not None:
            end = start
        if label is None or start is None or end is None:
            given = ", ".join(f"{name} {row[name]!r}" for name in sorted(_NEEDED))
            message = f"{given}: a name and two numbers are needed"
            times = time_between(start, end)
            problems.append(SpanProblem(SpanCode.UNREADABLE, where, film, message, may_cover=times))
            continue
        rate = next(filter(None, (number_of(row.get(name)) for name in _RATES)), None)
        spans.append(LabelledSpan(film, start, end, label, where, frame_rate=rate))
    return Annotations(tuple(films), tuple(spans), tuple(problems), f"BORIS table {file.name}")


def _film_of(text: str) -> str | None:
    """Return the first media file that a cell names."""
    name = text.split(";")[0].strip()
    if name.lower().startswith("player #"):
        name = name.partition(":")[2].strip()
    return name or None


def boris_rows(film: Path, spans: Sequence[Span], seconds: float, frame_rate: float) -> str:
    """Return one film's rows, without the header. A film without spans has none."""
    buffer = io.StringIO()
    rows = csv.DictWriter(buffer, HEADER, restval="", lineterminator="\n")
    for span in spans:
        rows.writerow(
            {
                "Observation id": film.stem,
                "Observation type": "Media file(s)",
                "Source": f"player #1:{film}",
                "Time offset (s)": "0",
                "Media duration (s)": f"{seconds:.3f}",
                "FPS (frame/s)": f"{frame_rate:.6g}",
                "Subject": "No focal subject",
                "Behavior": span.label,
                "Behavior type": "STATE",
                "Start (s)": f"{span.start:.3f}",
                "Stop (s)": f"{span.end:.3f}",
                "Duration (s)": f"{span.end - span.start:.3f}",
                "Media file name": str(film),
                "Image index start": str(round(span.start * frame_rate)),
                "Image index stop": str(round(span.end * frame_rate)),
            }
        )
    return buffer.getvalue()


def boris_header() -> str:
    """Return the header line."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(HEADER)
    return buffer.getvalue()
