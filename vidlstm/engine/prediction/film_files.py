"""Write videos from a film and its spans: each span as a clip, or a copy with the spans drawn in.

A separate decoder process makes them, because the film is not trusted, and writing takes as long as the film.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.errors import InputError
from vidlstm.media.encode import write_part, write_parts
from vidlstm.media.overlay import overlay
from vidlstm.media.people.drawing import FilmDrawing
from vidlstm.media.video.base import Image
from vidlstm.records import FilmSpans, Problem, Span
from vidlstm.stores import to_path

DAY = 86_400.0
"""Time limit for writing a film's clips, or its copy, in seconds."""


class FilmFiles:
    """Writes videos of films.

    Args:
        pool: Processes that write the videos; not used for anything else meanwhile.
        classes: Classes of the model, which determine the colours of spans.
    """

    def __init__(self, pool: DecodePool, classes: tuple[str, ...]) -> None:
        self._pool = pool
        self._classes = classes

    def write_clips(self, film: FilmSpans, clips: Sequence[tuple[Span, Path]]) -> list[Problem]:
        """Write spans of a film as clips, each to its path; return the problems."""
        parts = [(target, span.start, span.end) for span, target in clips]
        return self._run(film, partial(write_parts, to_path(film.path), parts)) if parts else []

    def write_overlay(
        self, film: FilmSpans, target: Path, people: FilmDrawing | None = None
    ) -> list[Problem]:
        """Write a copy with the spans drawn in, and the people if there is a drawing; return the problems."""
        return self._run(film, partial(_write_overlay, film, target, self._classes, people))

    def _run(self, film: FilmSpans, work: partial[int] | partial[list[InputError]]) -> list[Problem]:
        problems: list[Problem] = []
        for result in self._pool.run([work], lambda work: Job(to_path(film.path), work)):
            if result is not None:
                found = result[1] if isinstance(result[1], list) else [result[1]]
                problems += [Problem.of(error) for error in found if isinstance(error, InputError)]
        return problems


def _write_overlay(
    film: FilmSpans, target: Path, classes: tuple[str, ...], people: FilmDrawing | None
) -> int:
    """Runs in a decoder process."""
    draw_spans = overlay(film.spans, film.seconds, classes)

    def draw(image: Image, now: float) -> Image:
        return draw_spans(image if people is None else people(image, now), now)

    return write_part(to_path(film.path), target, draw=draw)
