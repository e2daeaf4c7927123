"""Which windows of films are read for measuring and comparing networks of lower precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from vidlstm.config import ModelConfig, SpanConfig
from vidlstm.data.annotations.spans import Film
from vidlstm.engine.extraction.films.reading import FilmPart
from vidlstm.engine.precision import clips as clips_module
from vidlstm.engine.precision.agreement import agree
from vidlstm.engine.precision.clips import RunFiles, read_clips
from vidlstm.errors import FailureCode, InputError
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.records import ClipInfo

PART = 64
RATE = 8
INFO = ClipInfo(1, None, 64, 48)


class Films:
    """Films whose only feature is the number of the moment, not files; of negative length: unreadable."""

    def __init__(self, *seconds: float) -> None:
        self.paths = [Path(str(number)) for number in range(len(seconds))]
        self.moments = dict(zip(self.paths, (round(s * RATE) for s in seconds), strict=True))
        self.read: list[Path] = []

    def films(self, paths: Sequence[Path], rate: float, most: int | None) -> Iterator[Iterator[FilmPart]]:
        assert rate == RATE
        for path in paths:
            yield self._parts(path, most)

    def _parts(self, path: Path, most: int | None) -> Iterator[FilmPart]:
        self.read.append(path)
        if self.moments[path] < 0:
            raise InputError(path, FailureCode.NOT_A_VIDEO, "not a video")
        numbers = np.arange(self.moments[path], dtype=np.float16)[None, :, None]
        for first in range(0, self.moments[path] if most is None else min(most, self.moments[path]), PART):
            part = numbers[:, first : first + PART]
            yield FilmPart(part.shape[1], {"motion": part}, INFO)

    def probe(self, path: Path) -> Film:
        return Film(path, self.moments[path] / RATE, 25.0)


def model(window: float) -> Model:
    config = ModelConfig("video", ("a", "b"), ("motion",), views=1, mirror=False, members=1)
    config = config.changed(sampling={"method": "fps", "rate": RATE}, spans=SpanConfig((window, 2 * window)))
    return build_model(config, {"motion": 1}, None)


def give(films: Films, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips_module, "LocalSource", lambda *_: films)
    monkeypatch.setattr(clips_module, "DecodePool", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(clips_module, "probe_film", films.probe)


def windows(
    films: Films, number: int | None, monkeypatch: pytest.MonkeyPatch, window: float = 2.0
) -> list[int | None]:
    """Return the places of the windows that are read, in windows of their film; None: a failure."""
    give(films, monkeypatch)
    found = read_clips(model(window), RunFiles(tuple(films.paths), 0, are_films=True), number)
    middles = [
        None if clip is None else float(np.median(clip.sequences["motion"])) / RATE for _, clip in found
    ]
    return [None if middle is None else int(middle / window) for middle in middles]


def test_come_from_as_many_films_as_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    films = Films(*[80] * 30)
    assert windows(films, 24, monkeypatch) == [2] * 24
    assert len({*films.read}) == 24


@pytest.mark.parametrize(
    ("seconds", "number", "expected"),
    [
        ((20, 20), 2, [2, 2]),  # at most four windows are read for each one that is used
        ((20, 20), 8, [1, 3, 5, 7, 1, 3, 5, 7]),
        ((20, 20), 20, [*range(10), *range(10)]),
        ((20, 20), 99, [*range(10), *range(10)]),
        ((4, 20), 8, [0, 1, 0, 1, 2, 3, 4, 5]),  # a short film has fewer
        ((-1, 20), 4, [None, 1, 3, 5, 7]),
        ((1, 6), None, [0, 1, 2]),
        ((20,), None, [*range(10)]),
        ((), 5, []),
    ],
)
def test_are_spread_over_each_film(
    seconds: tuple[float, ...],
    number: int | None,
    expected: list[int | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert windows(Films(*seconds), number, monkeypatch) == expected


def test_may_be_longer_than_the_parts_that_a_film_is_read_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert windows(Films(60), None, monkeypatch, window=15.0) == [0, 1, 2, 3]


@pytest.mark.parametrize(("seconds", "number"), [((20, 1), 1), ((20, -1), 1), ((20, 1, 4), 2), ((1, -1), 0)])
def test_only_films_with_windows_count_as_compared(
    seconds: tuple[float, ...], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    films, trained = Films(*seconds), model(2.0)
    give(films, monkeypatch)
    same = (np.array([[0.5, 0.5]]), np.zeros(1))
    agreement = agree(trained, None, lambda _: same, RunFiles(tuple(films.paths), 0, are_films=True))
    assert agreement.films == number
    assert agreement.unread == sum(s < 0 for s in seconds)
