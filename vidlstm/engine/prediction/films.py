"""Find the spans of films: one record per film, in order, as soon as each is ready.

Imports no torch: not every labeller needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vidlstm.engine.extraction.films.extractor import FilmExtractor
from vidlstm.engine.extraction.films.reading import FilmPart
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.processes.jobs import AbandonedError
from vidlstm.engine.extraction.reading import PEOPLE_SIDE, ReadRequest
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.engine.prediction.sources import Readers, make_source
from vidlstm.engine.spans.smoothing import Scores, SpanRules, Timeline, find_spans
from vidlstm.engine.spans.windows import CellScorer, WindowGrid, idle_class
from vidlstm.errors import InputError
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.media.file_types import Limits
from vidlstm.media.people.drawing import FilmDrawing
from vidlstm.records import NOVELTY_RATE, Failure, FilmSpans, Problem, is_unknown
from vidlstm.stores import to_path

UNKNOWN = "unknown"
"""Name of the score for none of the classes, if a model has no background class."""


@dataclass(frozen=True)
class LabelledFilm:
    """A film's spans, and the scores that they come from.

    Args:
        record: The spans, or why there are none.
        timeline: The scores; None if the film could not be read.
        classes: Classes of the scores.
        people: Draws the people that the model saw; None without the `pose` stream, or if not asked for.
    """

    record: FilmSpans | Failure
    timeline: Timeline | None
    classes: tuple[str, ...]
    people: FilmDrawing | None = None


def make_film_extractor(labeller: Labeller, readers: Readers, limits: Limits | None = None) -> FilmExtractor:
    """Return the feature extractor for a labeller's films.

    Raises:
        UsageError: The model cannot be used for films.
    """
    grid = WindowGrid.of(labeller.config)
    networks = write_networks(labeller.pose)
    request = ReadRequest.of(
        labeller.config, views=labeller.config.views, limits=limits, pose_networks=networks
    )
    return FilmExtractor(request, make_source(labeller, readers, request), None, grid.rate)


def label_films(
    labeller: Labeller,
    extractor: FilmExtractor,
    names: Iterable[str],
    *,
    rules: SpanRules | None = None,
    novelty_rate: float = NOVELTY_RATE,
    keep_people: bool = False,
) -> Iterator[LabelledFilm]:
    """Find the spans of films.

    Windows with a class for everything else make no span. If the model has no background class, the same
    holds for windows that are unlike its training clips.

    Args:
        labeller: Scores the windows.
        extractor: Extractor for this labeller.
        names: Names of the films, which the records repeat unchanged. Consumed a small window ahead; may
            block.
        rules: Which spans are reported.
        novelty_rate: Share of known clips that may be reported as unknown; 0: none.
        keep_people: Whether to keep the people that the model sees, to draw them: 23 MB for an hour.

    Yields:
        One film per name, in order; none for a film that is being read when the readers end at once.
    """
    given: deque[str] = deque()

    def paths() -> Iterator[Path]:
        for name in names:
            given.append(name)
            yield to_path(name)

    for parts in extractor.stream(paths()):
        kept: list[Values] = []
        watched = _keep_people(parts, kept) if keep_people else parts
        try:
            film = _label(labeller, given.popleft(), watched, rules or SpanRules(), novelty_rate)
        except AbandonedError:
            return
        if kept:
            rows = np.concatenate(kept).astype(np.float16)
            people = FilmDrawing(rows, extractor.rate, labeller.config.people, PEOPLE_SIDE)
            film = replace(film, people=people)
        yield film


def _keep_people(parts: Iterator[FilmPart], kept: list[Values]) -> Iterator[FilmPart]:
    for part in parts:
        if "pose" in part.sequences:
            kept.append(part.sequences["pose"][0])
        yield part


class FilmScores:
    """Scores the windows of films, with an additional class for none of the others.

    Args:
        labeller: Scores the windows.
        novelty_rate: Share of known clips that may be reported as unknown; 0: none.

    Attributes:
        classes: Classes of the scores.
        idle: The class without spans.
    """

    def __init__(self, labeller: Labeller, novelty_rate: float = NOVELTY_RATE) -> None:
        config = labeller.config
        idle = idle_class(config)
        self.classes = config.classes if idle else (*config.classes, UNKNOWN)
        self.idle = idle or UNKNOWN
        self._labeller = labeller
        self._novelty_rate = novelty_rate

    def of_windows(self, windows: Sequence[ClipFeatures]) -> Scores:
        """Return the scores of windows of a film, `(N, K)`."""
        score = self._labeller.score_windows or self._labeller.score
        scores, novelty = score(windows)
        if self.classes != self._labeller.config.classes:
            return self._without_unknown(scores, novelty)
        return scores  # the model was trained on background, which covers what is unlike the actions

    def of_clips(self, clips: Sequence[ClipFeatures]) -> Scores:
        """Return the scores of clips, `(N, K)`; clips that are unknown in `predict` make no span."""
        return self._without_unknown(*self._labeller.score(clips))

    def _without_unknown(self, scores: Scores, novelty: Scores) -> Scores:
        names = self._labeller.config.classes
        unknown = np.array(
            [
                is_unknown(names[best], new, self._novelty_rate)
                for best, new in zip(scores.argmax(axis=1), novelty.tolist(), strict=True)
            ]
        )
        known: Scores = np.zeros((len(scores), len(self.classes)))
        known[:, : len(names)] = scores * ~unknown[:, None]
        known[:, self.classes.index(self.idle)] += unknown
        return known


def _label(
    labeller: Labeller, name: str, parts: Iterator[FilmPart], rules: SpanRules, novelty_rate: float
) -> LabelledFilm:
    config = labeller.config
    assert config.spans is not None
    scores_of = FilmScores(labeller, novelty_rate)
    scorer = CellScorer(config, WindowGrid.of(config), scores_of.of_windows)
    classes, info = scores_of.classes, None
    try:
        for part in parts:
            scorer.add(part)
            info = part.info
        scores = scorer.finish(scores_of.of_clips)
    except InputError as error:
        return LabelledFilm(Failure(name, Problem.of(error)), None, classes)
    assert info is not None
    seconds = info.seconds or len(scores) * scorer.grid.cell
    timeline = Timeline(scores, scorer.grid.cell, seconds)
    spans = find_spans(timeline, classes, scores_of.idle, config.spans.switch_cost, rules)
    rate = info.num_frames / seconds if seconds else 0.0
    return LabelledFilm(FilmSpans(name, tuple(spans), seconds, rate, info.problem), timeline, classes)
