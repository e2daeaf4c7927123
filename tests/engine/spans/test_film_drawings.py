"""The people that a model sees in a film are kept if they are to be drawn, and are drawn."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.films import write_film
from vidlstm.config import ModelConfig, SpanConfig
from vidlstm.engine.extraction import people as people_module
from vidlstm.engine.extraction.films.extractor import FilmExtractor
from vidlstm.engine.extraction.films.reading import FilmEncoder, FilmPart, film_readings
from vidlstm.engine.extraction.reading import PEOPLE_SIDE, ReadRequest
from vidlstm.engine.prediction.film_files import _write_overlay
from vidlstm.engine.prediction.film_report import _read_thumbnails
from vidlstm.engine.prediction.films import label_films
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.features.batches import ClipFeatures
from vidlstm.media.people.drawing import FilmDrawing
from vidlstm.media.people.packing import WIDTH, pack
from vidlstm.media.stills import stills
from vidlstm.models.backends.protocol import ClipScores
from vidlstm.records import FilmSpans

CONFIG = ModelConfig(
    "video", ("a", "b"), ("motion", "pose"), views=2, mirror=True, members=1, spans=SpanConfig((2.0, 4.0))
)


class Walker:
    """Finds one person, who enters after ten seconds."""

    def __init__(self, *_: object) -> None:
        self._moment = 0

    def find(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        start, self._moment = self._moment, self._moment + len(pictures)
        points = np.random.default_rng(0).uniform(5, 40, (33, 3)).astype(np.float32)
        points[:, 2] = 0.9
        seen = {moment - start: points for moment in range(max(80, start), self._moment)}
        height, width = pictures.shape[1:3]
        return pack({0: seen}, len(pictures), (width / 2, height / 2))


class Films:
    """Replaces a film extractor, and reads in this process."""

    rate = 8.0

    def stream(self, paths: Iterable[Path]) -> Iterator[Iterator[FilmPart]]:
        request = ReadRequest.of(CONFIG, views=2, pose_networks=Path("networks"))
        for path in paths:
            yield map(FilmEncoder(request, None), film_readings(path, request, self.rate))


def score(clips: Sequence[ClipFeatures]) -> ClipScores:
    return np.full((len(clips), 2), 0.5), np.zeros(len(clips))


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(people_module, "FilmPeople", Walker)
    write_film(tmp_path / "film.avi", 1)  # 27 s
    return tmp_path / "film.avi"


def drawing_of(film: Path, *, keep_people: bool) -> FilmDrawing | None:
    labeller, extractor = Labeller(CONFIG, None, score), cast("FilmExtractor", Films())
    (labelled,) = label_films(labeller, extractor, [str(film)], keep_people=keep_people)
    return labelled.people


def orange(frames: Iterable[NDArray[np.uint8]]) -> list[bool]:
    reds = [frame.astype(int) for frame in frames]
    return [bool((red[..., 0] - red[..., 2] > 120).any()) for red in reds]


def test_people_are_kept_if_they_are_to_be_drawn(film: Path) -> None:
    assert drawing_of(film, keep_people=False) is None
    people = drawing_of(film, keep_people=True)
    assert people is not None
    assert people.rows.shape == (216, WIDTH)
    assert not people.rows[:80].any()
    assert people.rows[80:, 0].all()
    assert (people.rate, people.people, people.side) == (8.0, 2, PEOPLE_SIDE)


def test_people_are_in_the_copy_and_in_the_thumbnails(film: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs PyAV: pip install vidlstm[av]")
    people = drawing_of(film, keep_people=True)
    times = [5.0, 12.0, 20.0]
    for drawn, expected in ((None, [False] * 3), (people, [False, True, True])):
        target = tmp_path / "copy.mp4"
        assert _write_overlay(FilmSpans(str(film), (), 27.0, 8.0), target, (), drawn) == 216
        assert orange(stills(target, times)) == expected
        thumbnails = _read_thumbnails(film, times, drawn)
        pictures = (np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in thumbnails)
        assert orange(pictures) == expected
