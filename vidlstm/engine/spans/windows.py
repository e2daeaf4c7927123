"""Sliding windows over the grid of a film: which moments each window covers, and the scores of each cell.

A cell is half a second of the film, or an eighth of the shortest window if that is less, rounded to whole
moments. One window of each length is centred on every cell; at the start and end of the film, windows are
truncated. Scores are computed as the film is read; no more of it is kept than the longest window needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vidlstm.config import ModelConfig, SpanConfig, StreamName
from vidlstm.data.films import BACKGROUND
from vidlstm.data.samples import Dataset
from vidlstm.engine.extraction.films.extractor import gather, num_moments
from vidlstm.engine.extraction.films.reading import RGB_EVERY, FilmPart, require_film_streams
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.spans.smoothing import Scores, Timeline
from vidlstm.errors import UsageError
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.records import CATCH_ALL, ClipInfo

CELL_SECONDS = 0.5
_CELL_SHARE = 1 / 8
"""Maximum length of a cell as a share of the shortest window: short actions need finer boundaries. Six
synthetic films (`sample_videos/make.py --films 6`), 6 grouped folds: F1@50 0.957; with cells of half a second
0.905."""
_SHARES = (0.75, 1.5)
"""Window lengths, as shares of the median duration seen in training. Measured on 13 thermal recordings
(FIR-Image-Action, 13 grouped folds, seeds 0 and 1), F1@50: windows of 4.7 and 9.4 s 0.618 and 0.580, 4.7 s
alone 0.505 and 0.529, 9.4 s alone 0.545 and 0.557, with 14.1 s as a third 0.600 and 0.533."""
_BATCH_CELLS = 64  # cells scored at once

Score = Callable[[Sequence[ClipFeatures]], Scores]
"""Returns the probabilities `(N, K)` of N windows."""


def span_config(durations: Sequence[float], background: str | None = None) -> SpanConfig | None:
    """Return window lengths based on the durations seen in training, in seconds; None if there are none."""
    known = [d for d in durations if d > 0]
    if not known:
        return None
    middle = float(np.median(known))
    first = round(max(0.2, _SHARES[0] * middle), 1)
    return SpanConfig((first, first * _SHARES[1] / _SHARES[0]), background)


def idle_class(config: ModelConfig) -> str | None:
    """Return the class without spans: `background`, or a class for everything else; None: there is none."""
    if config.spans is not None and config.spans.background:
        return config.spans.background
    return next((name for name in config.classes if name.lower() in CATCH_ALL), None)


def with_windows(config: ModelConfig, dataset: Dataset, train: Iterable[int]) -> ModelConfig:
    """Return the config with windows for the films of a data set; unchanged if it has no films.

    Args:
        config: The model.
        dataset: The samples.
        train: Indices of the samples whose durations decide the length of the windows. `crossval` gives all
            of them, as every fold is sampled at the same rate, which the windows decide.

    Raises:
        UsageError: The model does not support films.
    """
    if not dataset.films:
        return config
    require_film_streams(config.streams, has_encoder=not config.encoder.trainable)
    background = BACKGROUND if BACKGROUND in dataset.classes else None
    acts = [s for s in (dataset.samples[i] for i in train) if s.label != BACKGROUND]
    return replace(config, spans=span_config([(s.end or 0) - (s.start or 0) for s in acts], background))


@dataclass(frozen=True)
class WindowGrid:
    """The grid of moments shared by all windows of a model.

    Args:
        rate: Moments per second.
        lengths: Window lengths in moments, increasing.
        step: Moments per cell.
    """

    rate: float
    lengths: tuple[int, ...]
    step: int

    @staticmethod
    def of(config: ModelConfig) -> WindowGrid:
        """Return the grid of a model.

        Raises:
            UsageError: The model has no window lengths.
        """
        if config.spans is None:
            raise UsageError(
                "this model was trained without films or clips of known length, so it has no window lengths; "
                "train it again"
            )
        rate = config.film_rate
        if rate is None:
            raise UsageError(
                "sampling: dense counts frames, but windows of a film are in seconds; "
                "train with uniform or fps"
            )
        cell = min(CELL_SECONDS, _CELL_SHARE * config.spans.windows[0])
        step = max(RGB_EVERY, RGB_EVERY * round(cell * rate / RGB_EVERY))
        return WindowGrid(rate, tuple(max(1, round(w * rate)) for w in config.spans.windows), step)

    @property
    def cell(self) -> float:
        """Length of a cell in seconds."""
        return self.step / self.rate

    def around(self, cell: int) -> Iterator[tuple[int, int]]:
        """Yield each window around a cell as its first moment and the one after its last."""
        for length in self.lengths:
            first = cell * self.step + (self.step - length) // 2
            yield first, first + length


class CellScorer:
    """Scores the cells of a film or live stream as its parts arrive.

    Args:
        config: Config of the model.
        grid: Grid of its windows.
        score: Scores windows.
    """

    def __init__(self, config: ModelConfig, grid: WindowGrid, score: Score) -> None:
        self.grid = grid
        self._score = score
        self._clip = ReadRequest.of(config, views=config.views)
        self._one_view = replace(self._clip, views=1)  # neighbouring windows already act as views
        self._held: dict[StreamName, Values] = {}
        self._begin = 0  # the first moment that is kept, a multiple of RGB_EVERY
        self._num_moments = 0
        self._cell = 0  # the first cell whose windows have not been extracted
        self._reach = (grid.lengths[-1] + grid.step) // 2 + grid.step
        self._waiting: list[ClipFeatures] = []
        self._scored: list[Scores] = []

    @property
    def num_complete(self) -> int:
        """Number of cells whose windows are complete."""
        return self._cell

    @property
    def num_moments(self) -> int:
        """Number of moments added so far."""
        return self._num_moments

    @property
    def is_one_clip(self) -> bool:
        """Whether everything so far fits into the longest window."""
        return self._num_moments <= self.grid.lengths[-1]

    def add(self, part: FilmPart) -> None:
        """Add the next moments."""
        grid = self.grid
        self._num_moments += part.num_moments
        for stream, values in part.sequences.items():
            held = self._held.get(stream)
            self._held[stream] = values if held is None else np.concatenate([held, values], axis=1)
        while not self.is_one_clip and self._cell * grid.step + self._reach <= self._num_moments:
            self._extract()
        keep = max(self._begin, self._cell * grid.step - self._reach) // RGB_EVERY * RGB_EVERY
        for stream, values in self._held.items():
            self._held[stream] = values[:, (keep - self._begin) // (RGB_EVERY if stream == "rgb" else 1) :]
        self._begin = keep

    def take(self) -> Scores:
        """Return the scores of the cells completed since the last call, `(n, K)`."""
        if self._waiting:
            self._scored.append(self._averaged(self._waiting))
            self._waiting.clear()
        taken: Scores = np.concatenate(self._scored) if self._scored else np.zeros((0, 0))
        self._scored.clear()
        return taken

    def finish(self, score_clip: Score | None = None) -> Scores:
        """Return the scores of the remaining cells, `(n, K)`; windows are truncated at the end of the film.

        A film that is no longer than the longest window is treated as one clip: all its cells get the clip's
        scores.

        Args:
            score_clip: Scores a film that is one clip; by default it is scored as a window.
        """
        number = self._num_moments
        if number and self.is_one_clip:
            clip: Scores = (score_clip or self._score)([self._gather(0, number, self._clip)])
            return np.repeat(clip, -(-number // self.grid.step), axis=0)
        while self._cell * self.grid.step < number:
            self._extract()
        return self.take()

    def provisional(self) -> Scores:
        """Return the scores of the incomplete cells, `(n, K)`, as if the film ended here."""
        last = self._num_moments // self.grid.step
        windows = [self._window(*ends) for cell in range(self._cell, last) for ends in self.grid.around(cell)]
        return self._averaged(windows) if windows else np.zeros((0, 0))

    def newest(self) -> Scores:
        """Return the mean scores of the windows that end with the newest moment, `(K,)`."""
        number = self._num_moments
        windows = [self._window(number - length, number) for length in self.grid.lengths]
        newest: Scores = self._averaged(windows)[0]
        return newest

    def _averaged(self, windows: Sequence[ClipFeatures]) -> Scores:
        """Return the scores of cells, `(n, K)`, averaged over their windows."""
        rows = self._score(windows)
        averaged: Scores = rows.reshape(-1, len(self.grid.lengths), rows.shape[-1]).mean(axis=1)
        return averaged

    def _extract(self) -> None:
        """Extract the windows of the next cell."""
        self._waiting += [self._window(first, last) for first, last in self.grid.around(self._cell)]
        self._cell += 1
        if len(self._waiting) >= _BATCH_CELLS * len(self.grid.lengths):
            self._scored.append(self.take())

    def _window(self, first: int, last: int) -> ClipFeatures:
        return self._gather(first, last, self._one_view)

    def _gather(self, first: int, last: int, request: ReadRequest) -> ClipFeatures:
        first, last = max(first, 0), min(last, self._num_moments)
        film = ClipFeatures({str(s): v[:, None] for s, v in self._held.items()}, {})
        begin = self._begin
        return gather(film, first - begin, max(last, first + 1) - begin, self.grid.rate, request)


def scores_of_film(film: ClipFeatures, info: ClipInfo, config: ModelConfig, score: Score) -> Timeline:
    """Return the scores of a film, given its features `(M, 1, N, D)`."""
    scorer = CellScorer(config, WindowGrid.of(config), score)
    number = num_moments(film)
    sequences: dict[StreamName, Any] = {s: film.sequences[s][:, 0] for s in config.streams}
    scorer.add(FilmPart(number, sequences, info))
    grid = scorer.grid
    return Timeline(scorer.finish(), grid.cell, info.seconds or number / grid.rate)
