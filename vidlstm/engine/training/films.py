"""Films in training: fit the switch cost on out-of-fold films, and find spans with a trained model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import SpanConfig
from vidlstm.data.films import FilmTruth
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.scoring import score_clips
from vidlstm.engine.spans.smoothing import Timeline, find_spans, fit_switch_cost, thresholded
from vidlstm.engine.spans.windows import idle_class, scores_of_film, span_config
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.evaluations import ScoredFilm
from vidlstm.features.batches import ClipFeatures
from vidlstm.metrics.segments import can_be_scored
from vidlstm.models.checkpoint import Model
from vidlstm.records import Span, Times

Score = Callable[[Sequence[ClipFeatures]], NDArray[np.float64]]


def fit_spans(model: Model, clips: Clips, trainer: Trainer) -> SpanConfig | None:
    """Return the span config of a trained model.

    Trained on films, the switch cost is fitted on the films that a member was not trained on, scored by
    that member alone. Films that unusable annotations may cover from start to end are left out. Trained on
    clips, the windows have the length of the clips, and the cost is the default.

    Args:
        model: The trained model.
        clips: All clips of the data set.
        trainer: The trainer, which knows each member's held-out clips.
    """
    config = model.config.spans
    if not clips.films:
        known = [e.info.seconds for e in clips.extracted if e.info is not None and e.info.seconds]
        return span_config(known) if model.config.kind == "video" else None
    if config is None:
        return None
    samples = clips.dataset.samples
    films: list[tuple[Timeline, Sequence[Span], Sequence[Times]]] = []
    for member, part in enumerate(trainer.parts):
        unseen = {samples[i].path for i in part.val} - {samples[i].path for i in part.train}
        found = timelines(model, clips, partial(score_clips, model.single(member)), unseen)
        for truth, timeline in found:
            unclear = () if timeline is None else truth.unknown(timeline.seconds)
            if timeline is not None and can_be_scored(timeline.seconds, unclear):
                films.append((timeline, truth.spans, unclear))
    if not films:
        return config
    return replace(config, switch_cost=fit_switch_cost(films, model.config.classes, config.background))


def timelines(
    model: Model, clips: Clips, score: Score, paths: Collection[Path]
) -> Iterator[tuple[FilmTruth, Timeline | None]]:
    """Yield the films at `paths` with their scores; None for films that could not be read."""
    for truth, film in zip(clips.dataset.films, clips.films, strict=True):
        if truth.path in paths:
            if film.features is None or film.info is None:
                yield truth, None
            else:
                yield truth, scores_of_film(film.features, film.info, model.config, score)


def score_films(model: Model, clips: Clips, paths: Collection[Path]) -> list[ScoredFilm]:
    """Find the spans of films that a model was not trained on."""
    config = model.config.spans
    if config is None:
        return []
    classes, idle = model.config.classes, idle_class(model.config)
    scored = []
    for truth, timeline in timelines(model, clips, partial(score_clips, model), paths):
        name, group = str(truth.path), truth.group or str(truth.path)
        acts = [span for span in truth.spans if span.label != idle]
        if timeline is None:
            unclear = truth.unknown(truth.seconds)
            scored.append(ScoredFilm(name, group, truth.seconds, acts, (), (), True, unclear))
            continue
        found = find_spans(timeline, classes, idle, config.switch_cost)
        plain = thresholded(timeline, classes, idle)
        unclear = truth.unknown(timeline.seconds)
        scored.append(ScoredFilm(name, group, timeline.seconds, acts, found, plain, unclear=unclear))
    return scored
