"""Labelled spans from annotation files, and their problems.

The reader of a format returns `Annotations` in the terms of the file: film names as written, times in seconds
or in frames. `settle` matches them with the existing films. A span that cannot be used, or is changed before
use, is reported as a `SpanProblem`: nothing is dropped silently.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from vidlstm.data.layouts.folders import Subset, count
from vidlstm.records import Times

NEAR = 0.04
"""Tolerance for the borders of spans in seconds: one frame at 25 per second."""

ANYWHERE: Times = (0.0, math.inf)
"""The time of a span whose times cannot be read."""

MAX_SECONDS = 30 * 24 * 3600.0
"""Maximum length of a film. A broken header or annotation may state any, and every 10 s become a sample."""


class SpanCode(str, Enum):
    """Problems of spans. `check` reports these codes and no others."""

    UNREADABLE = "unreadable"  # an invalid value; not used
    NO_DURATION = "no_duration"  # start equals end: a point event; not used
    ENDS_BEFORE_START = "ends_before_start"  # not used
    UNKNOWN_FILE = "unknown_file"  # no such film; not used
    UNUSABLE_FILE = "unusable_file"  # the film cannot be opened, or its name fits several; not used
    BEYOND_END = "beyond_end"  # used up to the end of the film; not used if it starts there or later
    OVERLAP = "overlap"  # used; where two overlap, the one that starts later counts
    FRAME_RATE = "frame_rate"  # assumes another frame rate than the film's; used
    OTHER_ANNOTATOR = "other_annotator"  # a second annotation of one film; not used
    FILM_LENGTH = "film_length"  # the film states an impossible length; used up to the end of its last span
    UNANNOTATED = "unannotated"  # a film listed for annotation that nobody has annotated; not used


@dataclass(frozen=True)
class LabelledSpan:
    """One span as an annotation file gives it: half-open `[start, end)`.

    Args:
        film: Name of the film in the file.
        start: In seconds; with `in_frames`, in frames from 0.
        end: In the same unit.
        label: The label.
        source: Position of the span: the file, and the line or number in it.
        in_frames: `start` and `end` are frame numbers.
        frame_rate: Frames per second that the file assumes; None if it does not state it.
    """

    film: str
    start: float
    end: float
    label: str
    source: str
    in_frames: bool = False
    frame_rate: float | None = None


@dataclass(frozen=True)
class Membership:
    """The group and the subset that a file gives a film, whether or not the film has spans.

    Args:
        film: Name of the film in the file.
        group: Group of the film; None if the file gives none.
        split: Subset (train, val or test); None if the file gives none.
    """

    film: str
    group: str | None
    split: Subset | None


@dataclass(frozen=True)
class SpanProblem:
    """A problem of a span.

    Args:
        code: Kind of the problem.
        source: The file, and the line or number in it.
        film: Name of the film in the file; empty if it names none.
        message: One sentence: what is wrong and, if the span is used, how.
        unused: Whether the span is not used at all.
        may_cover: Time of the film, in seconds, in which an unused span may show an action; None: no time.
    """

    code: SpanCode
    source: str
    film: str
    message: str
    unused: bool = True
    may_cover: Times | None = None

    def __str__(self) -> str:
        return f"{self.source}: {self.message}"


@dataclass(frozen=True)
class Annotations:
    """The content of one or more annotation files.

    Args:
        films: All film names, with or without spans, in order.
        spans: In the order of the files.
        problems: Problems found while reading.
        layout: Description of the recognised format.
        memberships: Groups and subsets of the films, where the files give them; a film may have several,
            which may contradict each other.
    """

    films: tuple[str, ...]
    spans: tuple[LabelledSpan, ...]
    problems: tuple[SpanProblem, ...]
    layout: str
    memberships: tuple[Membership, ...] = ()

    def renamed(self, names: Mapping[str, str]) -> Annotations:
        """Return the annotations with other names of films; films that get the same name become one."""
        return replace(
            self,
            films=tuple(dict.fromkeys(names.get(film, film) for film in self.films)),
            spans=tuple(replace(s, film=names.get(s.film, s.film)) for s in self.spans),
            problems=tuple(replace(p, film=names.get(p.film, p.film)) for p in self.problems),
            memberships=tuple(replace(m, film=names.get(m.film, m.film)) for m in self.memberships),
        )


@dataclass(frozen=True)
class Film:
    """An existing film.

    Args:
        path: The file.
        seconds: Length as the file states it; None if unknown.
        frame_rate: Frames per second.
    """

    path: Path
    seconds: float | None
    frame_rate: float

    @property
    def known_seconds(self) -> float | None:
        """Length; None if unknown or impossible."""
        return self.seconds if self.seconds is not None and self.seconds <= MAX_SECONDS else None


def time_between(start: float | None, end: float | None) -> Times:
    """Return the time that a span covers, in seconds; anywhere if one of its times cannot be used."""
    return ANYWHERE if start is None or end is None or end < start else (start, end)


def settle(
    annotations: Annotations, films: Mapping[str, Film | None], reasons: Mapping[str, str] | None = None
) -> tuple[tuple[LabelledSpan, ...], tuple[SpanProblem, ...]]:
    """Return the usable spans in seconds, film by film in order of time, and every problem.

    Args:
        annotations: The annotations.
        films: Films by their name in the annotations; None for a missing film.
        reasons: Why a film that exists, or may exist, is None.
    """
    reasons = reasons or {}
    usable: dict[str, list[LabelledSpan]] = defaultdict(list)
    problems = list(annotations.problems)
    absent: dict[str, list[str]] = {name: [] for name in annotations.films if films.get(name) is None}
    for span in annotations.spans:
        if span.film in absent:
            absent[span.film].append(span.source)
    for name, sources in absent.items():
        where = next(iter(sources), annotations.layout)
        message = f"{name}: {reasons.get(name, 'no such film')} ({count(len(sources), 'span')})"
        code = SpanCode.UNUSABLE_FILE if name in reasons else SpanCode.UNKNOWN_FILE
        problems.append(SpanProblem(code, where, name, message))
    for name, film in films.items():
        if film is not None and film.seconds is not None and film.known_seconds is None:
            message = (
                f"{name} states a length of {film.seconds:,.0f} s, more than {MAX_SECONDS / 86400:.0f} days; "
                "it is used up to the end of its last span"
            )
            problems.append(SpanProblem(SpanCode.FILM_LENGTH, str(film.path), name, message, unused=False))
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
    """Convert one span to seconds and limit it to its film."""
    problems: list[SpanProblem] = []

    def say(code: SpanCode, message: str, *, unused: bool = True, may_cover: Times | None = None) -> None:
        problems.append(SpanProblem(code, span.source, span.film, message, unused, may_cover))

    rate = film.frame_rate
    if span.frame_rate is not None and abs(span.frame_rate - rate) > 0.01 * rate:
        rate = span.frame_rate
        used = f"converted with {rate:g}" if span.in_frames else "its seconds are used unchanged"
        say(
            SpanCode.FRAME_RATE,
            f"assumes {rate:g} frames per second, but {span.film} has {film.frame_rate:g}; {used}",
            unused=False,
        )
    if span.in_frames:
        span = replace(span, start=span.start / rate, end=span.end / rate, in_frames=False)
    times = f"{span.start:.2f} to {span.end:.2f} s"
    if not (math.isfinite(span.start) and math.isfinite(span.end)) or span.start < -NEAR:
        say(SpanCode.UNREADABLE, f"{times} is not a time in a film", may_cover=ANYWHERE)
        return None, problems
    span = replace(span, start=max(0.0, span.start))
    if span.end <= span.start:
        point = span.end == span.start
        say(
            SpanCode.NO_DURATION if point else SpanCode.ENDS_BEFORE_START,
            f"{span.label} at {span.start:.2f} s has no duration"
            if point
            else f"{times}: ends before it starts",
            may_cover=time_between(span.start, span.end),
        )
        return None, problems
    seconds = film.known_seconds
    if seconds is None and span.end > MAX_SECONDS:
        message = f"{times} is not a time in a film of at most {MAX_SECONDS / 86400:.0f} days"
        say(SpanCode.UNREADABLE, message, may_cover=(span.start, span.end))
        return None, problems
    if seconds is not None and span.end > seconds + NEAR:
        inside = span.start < seconds
        used = f"cut to {span.start:.2f} to {seconds:.2f} s" if inside else "not used"
        beyond = f"{times} is beyond the end of {span.film} ({seconds:.2f} s)"
        say(SpanCode.BEYOND_END, f"{beyond}; {used}", unused=not inside)
        span = replace(span, end=seconds)
    return (span if span.end > span.start else None), problems


def _overlaps(spans: Sequence[LabelledSpan]) -> Iterable[SpanProblem]:
    """Report each span that starts before an earlier one has ended."""
    last: LabelledSpan | None = None
    for span in spans:
        if last is not None and last.end - span.start > NEAR:
            message = (
                f"{span.label} {span.start:.2f} to {span.end:.2f} s overlaps "
                f"{last.label} {last.start:.2f} to {last.end:.2f} s; both are trained on, but where they "
                f"overlap, only {span.label} counts as the truth"
            )
            yield SpanProblem(SpanCode.OVERLAP, span.source, span.film, message, unused=False)
        if last is None or span.end > last.end:
            last = span
