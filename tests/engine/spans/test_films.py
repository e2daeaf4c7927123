"""Films read by decoder processes: every moment is encoded once; the feature store; failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.films import write_film
from vidlstm.config import ModelConfig, SpanConfig
from vidlstm.engine.extraction import fetching
from vidlstm.engine.extraction import people as people_module
from vidlstm.engine.extraction import source as source_module
from vidlstm.engine.extraction.films.extractor import FilmExtractor, cut, gather
from vidlstm.engine.extraction.films.reading import FilmEncoder, film_readings
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.engine.spans.windows import WindowGrid, scores_of_film
from vidlstm.errors import FailureCode, InputError
from vidlstm.features import store as store_module
from vidlstm.features.batches import ClipFeatures
from vidlstm.features.store import FeatureStore
from vidlstm.media.descriptors import pose
from vidlstm.media.people.packing import pack
from vidlstm.stores import to_path

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
        monkeypatch.setattr(source_module, "film_readings", None)  # reading would fail now
        (again,) = extractor.extract([film])
    assert gone.problem is not None
    assert gone.problem.code is FailureCode.NOT_FOUND
    assert first.features is not None
    assert again.features is not None
    for stream, values in first.features.sequences.items():
        np.testing.assert_array_equal(values, again.features.sequences[stream])
    assert again.info == first.info
    assert encoder.num_frames == 27 * 4


@pytest.mark.parametrize(("most", "expected"), [(1, 64), (64, 64), (65, 128), (None, 216)])
def test_reading_stops_after_the_part_with_the_last_moment(
    film: Path, most: int | None, expected: int
) -> None:
    with DecodePool(1) as pool:
        for parts in LocalSource(REQUEST, Encoder(), pool).films([film, film], 8.0, most):
            assert sum(part.num_moments for part in parts) == expected


def test_films_in_a_store_without_a_version_are_read_and_missing_ones_fail_alone(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version_of(address: str) -> str | None:
        if "gone" in address:
            raise InputError(address, FailureCode.NOT_FOUND, "no such file in the store")
        return None

    def fetch(address: str, target: Path, max_bytes: int) -> None:
        version_of(address)
        target.write_bytes(film.read_bytes())

    monkeypatch.setattr(store_module, "version_of", version_of)
    monkeypatch.setattr(fetching, "size_of", lambda _: 1000)
    monkeypatch.setattr(fetching, "fetch", fetch)
    addresses = [to_path("https://host/gone.avi"), to_path("https://host/there.avi")]
    with DecodePool(1) as pool:
        source = LocalSource(REQUEST, Encoder(), pool)
        gone, there = FilmExtractor(REQUEST, source, FeatureStore(tmp_path), 8.0).extract(addresses)
    assert gone.problem is not None
    assert gone.problem.code is FailureCode.NOT_FOUND
    assert there.features is not None
    assert FeatureStore(tmp_path).measure()[0] == 0


class Walkers:
    """Replaces the networks: two people, the second of whom is seen only for a second."""

    def __init__(self, networks: Path, people: int) -> None:
        assert (networks, people) == (Path("networks"), 2)
        self._moment = 0

    def find(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        start, self._moment = self._moment, self._moment + len(pictures)
        here = range(start, self._moment)
        one = {m - start: _body(0, m) for m in here}
        other = {m - start: _body(1, m) for m in here if 80 <= m < 88}
        return pack({0: one, 1: other}, len(pictures), (0, 0))


def _body(number: int, moment: int) -> NDArray[np.float32]:
    points = np.random.default_rng(number).uniform(0, 40, (33, 3)).astype(np.float32)
    points[:, 0] += 80 * number + moment / 4
    points[:, 2] = 0.9
    return points.astype(np.float16).astype(np.float32)


@pytest.fixture
def watched(film: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ClipFeatures, ReadRequest]:
    """Return the features of a film in which people are found."""
    monkeypatch.setattr(people_module, "FilmPeople", Walkers)
    config = CONFIG.changed(streams=("motion", "pose"))
    request = ReadRequest.of(config, views=2, pose_networks=Path("networks"))
    encode = FilmEncoder(request, None)
    parts = [encode(reading) for reading in film_readings(film, request, 8.0)]
    assert len(parts) == 7  # 216 moments
    whole = {s: np.concatenate([p.sequences[s] for p in parts], axis=1)[:, None] for s in config.streams}
    return ClipFeatures({str(s): v for s, v in whole.items()}, {}), request


def test_people_in_a_part_are_described_like_those_in_a_clip(
    watched: tuple[ClipFeatures, ReadRequest],
) -> None:
    film, request = watched
    part = gather(film, 76, 92, 8.0, request)
    assert part.sequences["pose"].shape == (2, 2, 16, pose.width(2))
    tracks = [{m: _body(0, 76 + m) for m in range(16)}, {m: _body(1, 76 + m) for m in range(4, 12)}]
    expected = pose.describe(pose.slots(tracks, 16, 2), np.arange(76, 92) / 8)
    np.testing.assert_array_equal(part.sequences["pose"][0, 0], expected.astype(np.float16))
    np.testing.assert_array_equal(
        part.sequences["pose"][1], pose.mirror(np.stack([expected] * 2)).astype(np.float16)
    )


def test_only_people_in_a_part_have_a_slot_in_it(watched: tuple[ClipFeatures, ReadRequest]) -> None:
    film, request = watched
    alone = cut(film, 8.0, 2.0, 4.0, request).sequences["pose"]
    both = cut(film, 8.0, 10.0, 11.0, request).sequences["pose"]
    second = slice(pose.width(2) // 2 - 12, pose.width(2) // 2)
    assert not alone[0, ..., second].any()
    assert both[0, ..., second].any()


def test_moments_without_people_are_left_out_of_the_stream(
    watched: tuple[ClipFeatures, ReadRequest],
) -> None:
    film, request = watched
    film.sequences["pose"][:, :, 100:110] = 0
    part = gather(film, 96, 112, 8.0, request)
    assert part.sequences["pose"].shape[2] == 6
    assert part.sequences["motion"].shape[2] == 16
    empty = gather(film, 101, 109, 8.0, request)
    assert empty.sequences["pose"].shape[2] == 1
    assert not empty.sequences["pose"].any()
