"""Windows over a film's grid: the moments in each, and the same result however the film is divided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.config import ModelConfig, Sampling, SpanConfig, StreamName
from vidlstm.data.films import FilmTruth
from vidlstm.data.samples import Dataset, Sample
from vidlstm.engine.extraction.films.extractor import cut
from vidlstm.engine.extraction.films.reading import FilmPart
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.spans.windows import (
    CellScorer,
    WindowGrid,
    idle_class,
    scores_of_film,
    span_config,
    with_windows,
)
from vidlstm.errors import UsageError
from vidlstm.features.batches import ClipFeatures
from vidlstm.records import ClipInfo

WINDOWS = SpanConfig((2.0, 4.0))
INFO = ClipInfo(1, None, 64, 48)


def config(spans: SpanConfig | None = WINDOWS, sampling: Sampling | None = None) -> ModelConfig:
    return ModelConfig(
        "video", ("a", "b"), ("rgb", "motion"), sampling or Sampling(), 1, False, 1, spans=spans
    )


def parts_of(num_moments: int, *sizes: int) -> list[FilmPart]:
    """Return a film in parts, whose features are the numbers of its moments."""
    motion = np.arange(num_moments, dtype=np.float16)[None, :, None]
    edges = [0, *np.cumsum(sizes).tolist()]
    assert edges[-1] == num_moments
    return [
        FilmPart(b - a, {"motion": motion[:, a:b], "rgb": motion[:, a:b][:, (a % 2) :: 2]}, INFO)
        for a, b in pairwise(edges)
    ]


def scores_of(parts: list[FilmPart], model: ModelConfig, seen: Seen) -> NDArray[np.float64]:
    scorer = CellScorer(model, WindowGrid.of(model), seen)
    for part in parts:
        scorer.add(part)
    return scorer.finish()


class Seen:
    """Records the moments of every window, and returns their mean as its score."""

    def __init__(self) -> None:
        self.windows: list[tuple[list[int], list[int]]] = []

    def __call__(self, clips: Sequence[ClipFeatures]) -> NDArray[np.float64]:
        for clip in clips:
            steps = (clip.sequences[s][0, 0, :, 0].astype(int).tolist() for s in ("motion", "rgb"))
            self.windows.append(tuple(steps))
        return np.array([[clip.sequences["motion"].mean(), 1.0] for clip in clips])


def test_window_lengths_follow_the_training_durations() -> None:
    assert span_config([4.0, 5.0, 5.4, 60.0, 0.0]) == SpanConfig((3.9, 7.8))
    assert span_config([]) is None


def test_the_windows_depend_on_the_training_samples_alone() -> None:
    config = ModelConfig.default("video", ("a", "b"))
    films = tuple(FilmTruth(Path(f"{i}.mp4"), 90.0, ()) for i in range(3))
    durations = ((2.0, 2.0), (2.0, 2.0), (9.0, 9.0))
    samples = [
        Sample(film.path, label, str(film.path), None, 0.0, seconds)
        for film, both in zip(films, durations, strict=True)
        for label, seconds in zip("ab", both, strict=True)
    ]
    data = Dataset(Path(), "video", tuple(samples), ("a", "b"), "", "", films=films)
    assert with_windows(config, data, range(4)).spans == span_config([2.0])
    assert with_windows(config, data, [4, 5]).spans == span_config([9.0])


def test_the_grid_fits_every_window() -> None:
    grid = WindowGrid.of(config())
    assert (grid.rate, grid.lengths, grid.step, grid.cell) == (8.0, (16, 32), 2, 0.25)
    slow = WindowGrid.of(config(spans=SpanConfig((8.0, 16.0))))  # its grid has 2 moments per second
    assert (slow.step, slow.cell) == (2, 1.0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (config(spans=None), "has no window lengths"),
        (config(sampling=Sampling("dense")), "dense counts frames"),
    ],
)
def test_models_without_windows(model: ModelConfig, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WindowGrid.of(model)


def test_a_window_of_each_length_is_centred_on_each_cell() -> None:
    seen = Seen()
    model = config()
    scores = scores_of(parts_of(64, 64), model, seen)
    assert len(scores) == 32
    short, long = seen.windows[2 * 16 : 2 * 16 + 2]  # the windows of the cell of moments 32 and 33
    assert short[0] == list(range(25, 41))
    assert long[0] == list(range(18, 49, 2))
    assert len(short[1]) == len(long[1]) == 8
    assert seen.windows[0][0] == list(range(9))  # truncated at the start
    assert seen.windows[-2][0] == list(range(55, 64))


@pytest.mark.parametrize("sizes", [(300,), (64, 64, 64, 64, 44), (2,) * 150, (298, 2), (1,) * 300])
def test_parts_make_no_difference(sizes: tuple[int, ...]) -> None:
    model = config()
    whole, seen = Seen(), Seen()
    expected = scores_of(parts_of(300, 300), model, whole)
    found = scores_of(parts_of(300, *sizes), model, seen)
    assert seen.windows == whole.windows
    np.testing.assert_array_equal(found, expected)


def test_a_film_no_longer_than_the_longest_window_is_one_clip() -> None:
    seen = Seen()
    model = config()
    scores = scores_of(parts_of(30, 30), model, seen)
    assert len(seen.windows) == 1
    assert len(scores) == 15
    assert (scores == scores[0]).all()


def test_a_part_of_a_film_is_read_like_a_clip() -> None:
    film = ClipFeatures({s: v[:, None] for s, v in parts_of(80, 80)[0].sequences.items()}, {})
    request = ReadRequest.of(config(), views=2)
    clip = cut(film, 8.0, 2.0, 6.0, request)  # moments 16 to 47
    motion, rgb = clip.sequences["motion"], clip.sequences["rgb"]
    assert motion.shape == (1, 2, 16, 1)
    assert rgb.shape == (1, 2, 8, 1)
    assert motion[0, :, :3, 0].tolist() == [[16, 18, 20], [17, 19, 21]]
    assert rgb.min() >= 16
    assert rgb.max() <= 47
    short = cut(film, 8.0, 3.0, 3.2, request)
    assert short.sequences["motion"].shape == (1, 2, 2, 1)


@pytest.mark.parametrize("num_moments", [99, 100])
@pytest.mark.parametrize("streams", [("motion",), ("rgb",), ("rgb", "motion")])
def test_films_of_any_length_and_streams(num_moments: int, streams: tuple[StreamName, ...]) -> None:
    (part,) = parts_of(num_moments, num_moments)
    film = ClipFeatures({s: part.sequences[s][:, None] for s in streams}, {})
    model = replace(config(), streams=streams)

    def score(clips: Sequence[ClipFeatures]) -> NDArray[np.float64]:
        return np.full((len(clips), 2), 0.5)

    timeline = scores_of_film(film, INFO, model, score)
    assert len(timeline.scores) == 50
    assert cut(film, 8.0, 10.0, 12.5, ReadRequest.of(model, views=2)).sequences[streams[0]].shape[1] == 2


@pytest.mark.parametrize(
    ("classes", "background", "idle"),
    [
        (("background", "rise"), "background", "background"),
        (("Other", "rise"), None, "Other"),  # as `predict`, which gives no label to such clips
        (("background", "rise"), None, "background"),  # a class folder of clips
        (("rise", "sink"), None, None),
    ],
)
def test_the_idle_class_has_no_spans(
    classes: tuple[str, ...], background: str | None, idle: str | None
) -> None:
    config = replace(ModelConfig.default("video", classes), spans=SpanConfig((1.0, 2.0), background))
    assert idle_class(config) == idle
