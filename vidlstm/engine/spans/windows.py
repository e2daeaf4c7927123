"""Windows over the grid of a film: which moments each one reads, and what their scores say of a cell.

A cell is half a second of the film, as nearly as whole moments allow. About the middle of every cell lies
one window of each length; at the film's ends a window is cut. Scores come as the film goes by: what is
held of it is no longer than the longest window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import ModelConfig, SpanConfig, StreamName
from vidlstm.data.films import BACKGROUND
from vidlstm.data.samples import Dataset
from vidlstm.engine.extraction.films import RGB_EVERY, FilmPart, gather, num_moments
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.spans.smoothing import Scores, Timeline
from vidlstm.errors import UsageError
from vidlstm.features.batches import ClipFeatures
from vidlstm.records import ClipInfo

CELL_SECONDS = 0.5
_SHARES = (0.75, 1.5)
"""Lengths of the windows, as shares of the median duration seen in training. Measured on 13 thermal
recordings (FIR-Image-Action) whose median is 5.3 s (5 grouped folds, seed 0, a grid of 8 Hz): F1@50 of 4 and
8 s 0.505, of 2 and 4 s 0.433, of 2, 4 and 8 s 0.458, of 4 s alone 0.451."""
_TOGETHER = 64  # cells that are scored at once

Score = Callable[[Sequence[ClipFeatures]], Scores]
"""Gives the probabilities `(N, K)` of N windows."""


def span_config(durations: Sequence[float], background: str | None = None) -> SpanConfig | None:
    """Return windows around the durations seen in training, in seconds; None where there are none."""
    known = [d for d in durations if d > 0]
    if not known:
        return None
    middle = float(np.median(known))
    first = round(max(0.2, _SHARES[0] * middle), 1)
    return SpanConfig((first, first * _SHARES[1] / _SHARES[0]), background)


def with_windows(config: ModelConfig, dataset: Dataset) -> ModelConfig:
    """Return the config with windows for the films of a data set; as it is where there are none."""
    if not dataset.films:
        return config
    background = BACKGROUND if BACKGROUND in dataset.classes else None
    acts = [s for s in dataset.samples if s.label != BACKGROUND]
    return replace(config, spans=span_config([(s.end or 0) - (s.start or 0) for s in acts], background))


@dataclass(frozen=True)
class WindowGrid:
    """The grid of moments that serves all windows of a model.

    Args:
        rate: Moments a second.
        lengths: Of the windows, in moments, increasing.
        step: Moments of a cell.
    """

    rate: float
    lengths: tuple[int, ...]
    step: int

    @staticmethod
    def of(config: ModelConfig) -> WindowGrid:
        """Return the grid of a model.

        Raises:
            UsageError: The model has no windows.
        """
        if config.spans is None:
            raise UsageError(
                "this model was trained on no films or clips of known length, so it has no window lengths; "
                "train it again"
            )
        rate = config.film_rate
        if rate is None:
            raise UsageError(
                "sampling: dense counts frames, and a window of a film is so many seconds; "
                "train with uniform or fps"
            )
        step = max(RGB_EVERY, RGB_EVERY * round(CELL_SECONDS * rate / RGB_EVERY))
        return WindowGrid(rate, tuple(max(1, round(w * rate)) for w in config.spans.windows), step)

    @property
    def cell(self) -> float:
        """Seconds of a cell."""
        return self.step / self.rate

    def around(self, cell: int) -> Iterator[tuple[int, int]]:
        """Yield the first moment of each window about a cell, and that after its last."""
        for length in self.lengths:
            first = cell * self.step + (self.step - length) // 2
            yield first, first + length


def scores_of_film(film: ClipFeatures, info: ClipInfo, config: ModelConfig, score: Score) -> Timeline:
    """Return the scores of a film whose features `(M, 1, N, D)` are at hand."""
    grid = WindowGrid.of(config)
    number = num_moments(film)
    sequences: dict[StreamName, Any] = {s: film.sequences[s][:, 0] for s in config.streams}
    found = list(stream_scores([FilmPart(number, sequences, info)], config, grid, score))
    return Timeline(np.concatenate(found), grid.cell, info.seconds or number / grid.rate)


def stream_scores(
    parts: Iterable[FilmPart], config: ModelConfig, grid: WindowGrid, score: Score
) -> Iterator[Scores]:
    """Yield the scores of a film's cells, `(n, K)` at a time, in order.

    A film that is no longer than the longest window is one clip: its cells all have the clip's scores.

    Args:
        parts: Of the film.
        config: Of the model.
        grid: Of its windows.
        score: Of the model.
    """
    request = ReadRequest.of(config, views=config.views)
    held: dict[StreamName, NDArray[np.float16]] = {}
    begin = 0  # the first moment that is held, a multiple of RGB_EVERY
    num_moments = 0
    cell = 0
    reach = (grid.lengths[-1] + grid.step) // 2 + grid.step
    waiting: list[ClipFeatures] = []

    def window(first: int, last: int) -> ClipFeatures:
        first, last = max(first, 0), min(last, num_moments)
        film = ClipFeatures({str(s): v[:, None] for s, v in held.items()}, {})
        return gather(film, first - begin, max(last, first + 1) - begin, grid.rate, request)

    def flush() -> Scores:
        rows = score(waiting)
        waiting.clear()
        width = len(grid.lengths)
        averaged: Scores = rows.reshape(-1, width, rows.shape[-1]).mean(axis=1)
        return averaged

    for part in parts:
        num_moments += part.num_moments
        for stream, values in part.sequences.items():
            held[stream] = np.concatenate([held[stream], values], axis=1) if stream in held else values
        while num_moments > grid.lengths[-1] and cell * grid.step + reach <= num_moments:
            waiting += [window(first, last) for first, last in grid.around(cell)]
            cell += 1
            if len(waiting) >= _TOGETHER * len(grid.lengths):
                yield flush()
        keep = max(begin, cell * grid.step - reach) // RGB_EVERY * RGB_EVERY
        for stream, values in held.items():
            held[stream] = values[:, (keep - begin) // (RGB_EVERY if stream == "rgb" else 1) :]
        begin = keep
    if num_moments and num_moments <= grid.lengths[-1]:
        clip = score([window(0, num_moments)])
        yield np.repeat(clip, -(-num_moments // grid.step), axis=0)
        return
    while cell * grid.step < num_moments:
        waiting += [window(first, last) for first, last in grid.around(cell)]
        cell += 1
    if waiting:
        yield flush()
