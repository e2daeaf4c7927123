"""Files to labels: one record for every input, in their order, as soon as each is ready.

Imports no torch: not every labeller needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import ModelConfig
from vidlstm.engine.extraction.extractor import Extracted, Extractor
from vidlstm.engine.extraction.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.media.file_types import Limits
from vidlstm.records import Failure, Prediction, Score


def make_extractor(labeller: Labeller, pool: DecodePool, limits: Limits | None = None) -> Extractor:
    """Return what makes features of files for a labeller."""
    request = ReadRequest.of(labeller.config, views=labeller.config.views, limits=limits)
    return Extractor(request, labeller.encoder, None, pool)


def predict(
    labeller: Labeller, extractor: Extractor, names: Iterable[str], *, top_k: int = 5, min_score: float = 0.0
) -> Iterator[Prediction | Failure]:
    """Label files.

    Args:
        labeller: Of them.
        extractor: Made for it.
        names: Of the files, which the records repeat to the letter. Consumed as far as a small window
            ahead; may block.
        top_k: Classes in `top`.
        min_score: Below it the label is None, and the scores stay.

    Yields:
        One record a name, in order.
    """
    given: deque[str] = deque()  # a path forgets how its name was written

    def paths() -> Iterator[Path]:
        for name in names:
            given.append(name)
            yield Path(name)

    for together in extractor.extract_together(paths()):
        rows = iter(labeller.score([e.features for e in together if e.features is not None]))
        for extracted in together:
            scores = None if extracted.features is None else next(rows)
            yield _record(labeller.config, given.popleft(), extracted, scores, top_k, min_score)


def _record(
    config: ModelConfig,
    name: str,
    extracted: Extracted,
    scores: NDArray[np.float64] | None,
    top_k: int,
    min_score: float,
) -> Prediction | Failure:
    if scores is None or extracted.features is None or extracted.info is None:
        assert extracted.problem is not None
        return Failure(name, extracted.problem)
    best = scores.argsort()[::-1][:top_k]
    top = tuple(Score(config.classes[i], float(scores[i])) for i in best)
    label = top[0].label if top[0].score >= min_score else None
    frames = max(values.shape[2] for values in extracted.features.sequences.values())
    return Prediction(name, label, top[0].score, top, frames, extracted.info.seconds, extracted.problem)
