"""What an annotation file says: labelled spans of films, and what is wrong with them.

A reader of a format gives `Annotations` in the file's own terms: names of films as they are written, times
in seconds or in frames. `settle` brings them together with the films that are there. What cannot be used,
or is used other than it is written, is a `SpanProblem`: nothing is dropped in silence.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from vidlstm.data.layouts.folders import Subset

NEAR = 0.04
"""Seconds, a frame at 25 a second, by which borders may be off without a word."""


class SpanCode(str, Enum):
    """What is wrong with a span. The closed set of codes that `check` reports."""

    UNREADABLE = "unreadable"  # a value that makes no sense; not used
    NO_DURATION = "no_duration"  # begins when it ends: a point event; not used
    ENDS_BEFORE_START = "ends_before_start"  # not used
    UNKNOWN_FILE = "unknown_file"  # not used
    BEYOND_END = "beyond_end"  # used as far as the film goes
    OVERLAP = "overlap"  # used; where two overlap, the one that begins later counts
    FRAME_RATE = "frame_rate"  # frame numbers that assume another frame rate than the film's; used
    OTHER_ANNOTATOR = "other_annotator"  # a second annotation of one film; not used


@dataclass(frozen=True)
class LabelledSpan:
    """One span as an annotation file gives it: half-open `[start, end)`.

    Args:
        film: The film, as the file names it.
        start: In seconds; in frames, from 0, where `in_frames`.
        end: Likewise.
        label: What happens.
        source: Where this stands: the file, and the line or number in it.
        in_frames: `start` and `end` are frame numbers.
        frame_rate: Frames a second that the file assumes, where it says so.
        group: What the film shares a recording with, where the file says so.
        split: The subset (train, val or test), where the file says so.
    """

    film: str
    start: float
    end: float
    label: str
    source: str
    in_frames: bool = False
    frame_rate: float | None = None
    group: str | None = None
    split: Subset | None = None


@dataclass(frozen=True)
class SpanProblem:
    """Something wrong with a span.

    Args:
        code: Of the closed set.
        source: The file, and the line or number in it.
        film: As the file names it; empty where it names none.
        message: One sentence.
    """

    code: SpanCode
    source: str
    film: str
    message: str

    @property
    def unused(self) -> bool:
        """Whether the span is not used at all."""
        return self.code not in (SpanCode.BEYOND_END, SpanCode.OVERLAP, SpanCode.FRAME_RATE)

    def __str__(self) -> str:
        return f"{self.source}: {self.message}"


@dataclass(frozen=True)
class Annotations:
    """What one or more annotation files say.

    Args:
        films: Every film that is named, with or without spans, in order.
        spans: In the order of the files.
        problems: What could not be read.
        layout: What was recognised, in plain words.
    """

    films: tuple[str, ...]
    spans: tuple[LabelledSpan, ...]
    problems: tuple[SpanProblem, ...]
    layout: str


@dataclass(frozen=True)
class Film:
    """A film that is there.

    Args:
        path: The file.
        seconds: Its length; None when unknown.
        frame_rate: Frames a second.
    """

    path: Path
    seconds: float | None
    frame_rate: float


def settle(
    annotations: Annotations, films: Mapping[str, Film | None]
) -> tuple[tuple[LabelledSpan, ...], tuple[SpanProblem, ...]]:
    """Return the usable spans in seconds, film by film in order of time, and every problem.

    Args:
        annotations: As read.
        films: By the name in the annotations; None for a film that is not there.
    """
    usable: dict[str, list[LabelledSpan]] = defaultdict(list)
    problems = list(annotations.problems)
    absent = {name for name in annotations.films if films.get(name) is None}
    for name in annotations.films:
        if name in absent:
            number = sum(span.film == name for span in annotations.spans)
            where = next((s.source for s in annotations.spans if s.film == name), annotations.layout)
            message = f"{name}: no such film ({number} spans)"
            problems.append(SpanProblem(SpanCode.UNKNOWN_FILE, where, name, message))
    for span in annotations.spans:
        film = films.get(span.film)
        if film is None:
            continue
        settled, found = _settle(span, film)
        problems += found
        if settled is not None:
            usable[span.film].append(settled)
    for spans in usable.values():
        spans.sort(key=lambda s: (s.start, s.end))
        problems += _overlaps(spans)
    return tuple(s for name in annotations.films for s in usable[name]), tuple(problems)


def _settle(span: LabelledSpan, film: Film) -> tuple[LabelledSpan | None, list[SpanProblem]]:
    """Bring one span to seconds, within its film."""
    problems: list[SpanProblem] = []

    def say(code: SpanCode, message: str) -> None:
        problems.append(SpanProblem(code, span.source, span.film, message))

    rate = film.frame_rate
    if span.frame_rate is not None and abs(span.frame_rate - rate) > 0.01 * rate:
        rate = span.frame_rate
        say(
            SpanCode.FRAME_RATE,
            f"assumes {rate:g} frames a second, but {span.film} has {film.frame_rate:g}",
        )
    if span.in_frames:
        span = replace(span, start=span.start / rate, end=span.end / rate, in_frames=False)
    times = f"{span.start:.2f} to {span.end:.2f} s"
    if not (math.isfinite(span.start) and math.isfinite(span.end)) or span.start < -NEAR:
        say(SpanCode.UNREADABLE, f"{times} is no time in a film")
        return None, problems
    span = replace(span, start=max(0.0, span.start))
    if span.end <= span.start:
        point = span.end == span.start
        say(
            SpanCode.NO_DURATION if point else SpanCode.ENDS_BEFORE_START,
            f"{span.label} at {span.start:.2f} s has no duration"
            if point
            else f"{times}: ends before it begins",
        )
        return None, problems
    if film.seconds is not None and span.end > film.seconds + NEAR:
        say(SpanCode.BEYOND_END, f"{times} lies beyond the end of {span.film} ({film.seconds:.2f} s)")
        span = replace(span, end=film.seconds)
    return (span if span.end > span.start else None), problems


def _overlaps(spans: Sequence[LabelledSpan]) -> Iterable[SpanProblem]:
    """Name each span that begins before one before it has ended."""
    last: LabelledSpan | None = None
    for span in spans:
        if last is not None and last.end - span.start > NEAR:
            message = (
                f"{span.label} {span.start:.2f} to {span.end:.2f} s overlaps "
                f"{last.label} {last.start:.2f} to {last.end:.2f} s"
            )
            yield SpanProblem(SpanCode.OVERLAP, span.source, span.film, message)
        if last is None or span.end > last.end:
            last = span
