"""The report page of films and their spans, with a thumbnail for each span."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.prediction.films import LabelledFilm
from vidlstm.files import make_folder, write_atomically
from vidlstm.media.jpeg import encode_jpeg
from vidlstm.media.overlay import hex_colours
from vidlstm.media.people.drawing import FilmDrawing
from vidlstm.media.stills import stills
from vidlstm.records import FilmSpans
from vidlstm.report.films import FilmCard, render_films
from vidlstm.stores import to_path

_OF_A_FILM, _OF_ALL = 60, 600  # maximum number of thumbnails, to limit the size of the page
_HEIGHT, _MAX_WIDTH = 96, 192
_POINTS = 400  # points per curve


class FilmReport:
    """Collects films, and writes the page.

    Args:
        pool: Its processes read the thumbnails.
        classes: Classes of the scores.
        idle: The class without spans.
    """

    def __init__(self, pool: DecodePool, classes: tuple[str, ...], idle: str) -> None:
        self._pool = pool
        self._classes = classes
        self._idle = idle
        self._cards: list[FilmCard] = []
        self._left = _OF_ALL

    def add(self, film: LabelledFilm) -> None:
        """Add a film. Thumbnails that cannot be read are left out."""
        if not isinstance(film.record, FilmSpans):
            self._cards.append(FilmCard(film.record, {}, {}))
            return
        images = self._thumbnails(film.record, film.people)
        self._left -= len(images)
        self._cards.append(FilmCard(film.record, self._curves(film), dict(enumerate(images))))

    def write(self, file: Path, *, title: str, command: str) -> None:
        """Write the page of all films so far.

        Raises:
            OSError: The page cannot be written.
        """
        colours = {name: c for name, c in hex_colours(self._classes).items() if name != self._idle}
        page = render_films(self._cards, colours, idle=self._idle, title=title, command=command)
        make_folder(file.parent)
        write_atomically(file, page.encode("utf-8", "replace"))

    def _thumbnails(self, film: FilmSpans, people: FilmDrawing | None) -> list[bytes]:
        spans = film.spans[: min(_OF_A_FILM, self._left)]
        if not spans:
            return []
        times = [(s.start + s.end) / 2 for s in spans]
        work = partial(_read_thumbnails, to_path(film.path), times, people)
        for result in self._pool.run([film], lambda _: Job(to_path(film.path), work)):
            if result is not None and isinstance(result[1], list):
                return result[1]
        return []

    def _curves(self, film: LabelledFilm) -> dict[str, list[float]]:
        """Return the scores of the classes that occur, averaged to at most `_POINTS` points."""
        assert isinstance(film.record, FilmSpans)
        assert film.timeline is not None
        scores = film.timeline.scores
        occurring = {span.label for span in film.record.spans} | {self._idle}
        if not len(scores):
            return {}
        edges = np.unique(np.linspace(0, len(scores), min(_POINTS, len(scores)) + 1).astype(int))
        sums = np.add.reduceat(scores, edges[:-1], axis=0)
        means = sums / np.diff(edges)[:, None]
        return {name: means[:, k].tolist() for k, name in enumerate(film.classes) if name in occurring}


def _read_thumbnails(path: Path, times: list[float], people: FilmDrawing | None) -> list[bytes]:
    """Runs in a decoder process."""
    made = []
    for time, still in zip(times, stills(path, times), strict=False):  # there are none past the end
        image = still if people is None else people(still, time)
        height, width = image.shape[:2]
        made.append(encode_jpeg(image, max(8, min(_MAX_WIDTH, round(width * _HEIGHT / height))), _HEIGHT))
    return made
