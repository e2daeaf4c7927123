"""Timelines of films, and the films of an evaluation: annotated spans above those that the model found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlstm.evaluations import ScoredFilm, SpanReport, SpanScores
from vidlstm.metrics.films import score_spans
from vidlstm.records import Span

MAX_FILMS = 30
"""Maximum number of films of an evaluation on a page; those with the most mistakes are shown."""
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MAX_TICKS = 8


@dataclass(frozen=True)
class FilmSection:
    """The films of an evaluation on its page.

    Args:
        report: Report on the films.
        colours: Colours of all classes that have spans, `#rrggbb`.
    """

    report: SpanReport
    colours: Mapping[str, str]

    def scores(self) -> list[tuple[str, SpanScores]]:
        """Return the metrics of the model and of its baselines, with their names."""
        baselines = self.report.baselines
        return [
            ("this model", self.report.scores),
            ("the same scores, not smoothed", baselines["threshold"]),
            ("the most frequent class throughout", baselines["majority"]),
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return the template's variables for each film, the film with the most mistakes first."""
        readable = [film for film in self.report.films if not film.failed]
        return sorted(map(_shown, readable), key=lambda row: (row["f1"], row["accuracy"]))[:MAX_FILMS]


def _shown(film: ScoredFilm) -> dict[str, Any]:
    scores = score_spans([film])
    return {
        "name": film.name,
        "path": Path(film.name),
        "length": clock(film.seconds),
        "accuracy": scores.frame_accuracy,
        "f1": scores.f1["50"],
        "truth": bars(film.truth, film.seconds),
        "found": bars(film.found, film.seconds),
        "unclear": [
            (_percent(start, film.seconds), _percent(end - start, film.seconds))
            for start, end in film.unclear
        ],
        "ticks": ticks(film.seconds),
    }


def bars(spans: Sequence[Span], seconds: float) -> list[tuple[Span, str, str]]:
    """Return each span with its left end and its width, in percent of a film's length."""
    return [(s, _percent(s.start, seconds), _percent(s.end - s.start, seconds)) for s in spans]


def ticks(seconds: float) -> list[tuple[str, str]]:
    """Return text and position of the ticks of a film's time axis: round times, not too many."""
    step = next((s for s in _STEPS if seconds / s < _MAX_TICKS), _STEPS[-1])
    return [(clock(time), _percent(time, seconds)) for time in range(0, int(seconds) + 1, step)]


def clock(seconds: float) -> str:
    """Format a time for people: `1:02:03`, `2:03`, or `3.4 s` below a minute."""
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _percent(time: float, seconds: float) -> str:
    return f"{100 * time / max(seconds, 1e-6):.3f}%"
