"""Films to spans: one record for every film, in their order, as soon as each is ready.

Imports no torch: not every labeller needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidlstm.engine.extraction.films import FilmExtractor, FilmPart
from vidlstm.engine.extraction.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.engine.spans.smoothing import Scores, SpanRules, Timeline, find_spans
from vidlstm.engine.spans.windows import WindowGrid, stream_scores
from vidlstm.errors import InputError
from vidlstm.features.batches import ClipFeatures
from vidlstm.media.file_types import Limits
from vidlstm.records import CATCH_ALL, NOVELTY_RATE, ClipInfo, Failure, FilmSpans, Problem, is_unknown

UNKNOWN = "unknown"
"""The column of scores for what is none of the classes, where a model has no background."""


@dataclass(frozen=True)
class LabelledFilm:
    """A film's spans, and the scores that they come from.

    Args:
        record: The spans, or why there are none.
        timeline: The scores; None where the film could not be read.
        classes: Of the scores.
    """

    record: FilmSpans | Failure
    timeline: Timeline | None
    classes: tuple[str, ...]


def make_film_extractor(labeller: Labeller, pool: DecodePool, limits: Limits | None = None) -> FilmExtractor:
    """Return what makes features of films for a labeller.

    Raises:
        UsageError: Its model is of a kind that films are not read for.
    """
    grid = WindowGrid.of(labeller.config)
    request = ReadRequest.of(labeller.config, views=labeller.config.views, limits=limits)
    return FilmExtractor(request, labeller.encoder, None, pool, grid.rate)


def label_films(
    labeller: Labeller,
    extractor: FilmExtractor,
    names: Iterable[str],
    *,
    rules: SpanRules | None = None,
    novelty_rate: float = NOVELTY_RATE,
) -> Iterator[LabelledFilm]:
    """Find the spans of films.

    A model without a background class takes windows that are unlike its training clips for unknown, which
    makes no span; so does a class that stands for everything else.

    Args:
        labeller: Of the windows.
        extractor: Made for it.
        names: Of the films, which the records repeat to the letter. Consumed as far as a small window
            ahead; may block.
        rules: Which spans are reported.
        novelty_rate: Share of known clips that may be taken for unknown; 0 takes none.

    Yields:
        One film a name, in order.
    """
    given: deque[str] = deque()

    def paths() -> Iterator[Path]:
        for name in names:
            given.append(name)
            yield Path(name)

    for _, parts in extractor.stream(paths()):
        yield _label(labeller, given.popleft(), parts, rules or SpanRules(), novelty_rate)


def _label(
    labeller: Labeller, name: str, parts: Iterator[FilmPart], rules: SpanRules, novelty_rate: float
) -> LabelledFilm:
    config = labeller.config
    grid = WindowGrid.of(config)
    assert config.spans is not None
    idle = config.spans.background or next((c for c in config.classes if c.lower() in CATCH_ALL), None)
    classes = config.classes if idle else (*config.classes, UNKNOWN)
    infos: deque[ClipInfo] = deque(maxlen=1)

    def seen() -> Iterator[FilmPart]:
        for part in parts:
            infos.append(part.info)
            yield part

    def score(windows: Sequence[ClipFeatures]) -> Scores:
        scores: Scores
        scores, novelty = labeller.score(windows)
        if idle is not None and len(windows) > 1:
            return scores  # what is unlike the actions is background, which the model was trained on
        best = [config.classes[i] for i in scores.argmax(axis=1)]
        unknown = np.array(
            [is_unknown(label, new, novelty_rate) for label, new in zip(best, novelty.tolist(), strict=True)]
        )
        known: Scores = scores * ~unknown[:, None]
        if idle is None:
            known = np.concatenate([known, unknown[:, None]], axis=1)
        else:  # one window is a film of one clip: as predict has it
            known[:, config.classes.index(idle)] += unknown
        return known

    try:
        scores = np.concatenate(list(stream_scores(seen(), config, grid, score)))
    except InputError as error:
        return LabelledFilm(Failure(name, Problem.of(error)), None, classes)
    info = infos[0]
    seconds = info.seconds or len(scores) * grid.cell
    timeline = Timeline(scores, grid.cell, seconds)
    spans = find_spans(timeline, classes, idle or UNKNOWN, config.spans.switch_cost, rules)
    rate = info.num_frames / seconds if seconds else 0.0
    return LabelledFilm(FilmSpans(name, tuple(spans), seconds, rate, info.problem), timeline, classes)
