"""Films through decoder processes: every moment encoded once, the store, failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.films import write_film
from vidlstm.config import ModelConfig, SpanConfig
from vidlstm.engine.extraction import source as source_module
from vidlstm.engine.extraction.films.extractor import FilmExtractor
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.engine.spans.windows import WindowGrid, scores_of_film
from vidlstm.errors import FailureCode
from vidlstm.features.store import FeatureStore

CONFIG = ModelConfig(
    "video", ("a", "b"), ("rgb", "motion"), views=2, mirror=True, members=1, spans=SpanConfig((2.0, 4.0, 8.0))
)
REQUEST = ReadRequest.of(CONFIG, views=2)


class Encoder:
    """Counts the frames that it is given."""

    digest = "none"

    def __init__(self) -> None:
        self.num_frames = 0

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.num_frames += len(pictures)
        return pictures.reshape(len(pictures), -1)[:, :5].astype(np.float16)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.avi"
    write_film(path, 1)  # 27 s
    return path


def test_every_moment_is_encoded_once_however_many_windows_read_it(film: Path) -> None:
    encoder = Encoder()
    grid = WindowGrid.of(CONFIG)
    with DecodePool(1) as pool:
        extractor = FilmExtractor(REQUEST, LocalSource(REQUEST, encoder, pool), None, grid.rate)
        (extracted,) = extractor.extract([film])
    assert extracted.features is not None
    assert extracted.info is not None
    motion, rgb = extracted.features.sequences["motion"], extracted.features.sequences["rgb"]
    assert motion.shape[:3] == (2, 1, 27 * 8)
    assert rgb.shape[:3] == (1, 1, 27 * 4)
    assert encoder.num_frames == 27 * 4
    timeline = scores_of_film(
        extracted.features, extracted.info, CONFIG, lambda clips: np.full((len(clips), 2), 0.5)
    )
    assert len(timeline.scores) == 108  # an eighth of the shortest window, 2 s, is a quarter second
    assert encoder.num_frames == 27 * 4


def test_a_film_is_read_once_and_then_kept(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder()
    store = FeatureStore(tmp_path)
    missing = film.with_name("missing.avi")
    with DecodePool(1) as pool:
        extractor = FilmExtractor(REQUEST, LocalSource(REQUEST, encoder, pool), store, 8.0)
        first, gone = extractor.extract([film, missing])
        monkeypatch.setattr(source_module, "film_readings", None)  # whoever reads now fails
        (again,) = extractor.extract([film])
    assert gone.problem is not None
    assert gone.problem.code is FailureCode.NOT_FOUND
    assert first.features is not None
    assert again.features is not None
    for stream, values in first.features.sequences.items():
        np.testing.assert_array_equal(values, again.features.sequences[stream])
    assert again.info == first.info
    assert encoder.num_frames == 27 * 4
