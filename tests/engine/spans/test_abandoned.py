"""A film whose reading is abandoned has no result: neither an error nor the spans of its beginning."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.films import write_film
from vidlstm.config import ModelConfig, SpanConfig
from vidlstm.engine.extraction.films.extractor import FilmExtractor
from vidlstm.engine.extraction.films.reading import FilmEncoder, FilmPart, film_readings
from vidlstm.engine.extraction.processes.jobs import Parts
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.prediction.films import label_films
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.backends.protocol import ClipScores

CONFIG = ModelConfig("video", ("a", "b"), ("motion",), members=1, spans=SpanConfig((2.0, 4.0)))


class Films:
    """Replaces a film extractor; the reader of the rows leaves after some parts."""

    rate = 8.0

    def __init__(self, num_parts: int) -> None:
        self.num_parts = num_parts

    def stream(self, paths: Iterable[Path]) -> Iterator[Iterator[FilmPart]]:
        request = ReadRequest.of(CONFIG, views=CONFIG.views)
        for path in paths:
            left = threading.Event()
            parts: Parts[FilmPart] = Parts(left)
            read = map(FilmEncoder(request, None), film_readings(path, request, self.rate))
            threading.Thread(target=parts.fill, args=(read,), daemon=True).start()
            yield self._leave(parts, left)

    def _leave(self, parts: Parts[FilmPart], left: threading.Event) -> Iterator[FilmPart]:
        if not self.num_parts:
            left.set()
        for number, part in enumerate(parts, 1):
            if number == self.num_parts:
                left.set()
            yield part


def score(clips: Sequence[ClipFeatures]) -> ClipScores:
    return np.full((len(clips), 2), 0.5), np.zeros(len(clips))


@pytest.mark.parametrize("num_parts", [0, 1])
def test_an_abandoned_film_has_no_record(tmp_path: Path, num_parts: int) -> None:
    write_film(tmp_path / "film.avi", 1)
    extractor = cast("FilmExtractor", Films(num_parts))
    labeller = Labeller(CONFIG, None, score)
    assert list(label_films(labeller, extractor, [str(tmp_path / "film.avi")])) == []
