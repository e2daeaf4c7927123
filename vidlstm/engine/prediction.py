"""Files to labels: one record for every input, in their order, as soon as each is ready."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vidlstm.config import Backend, Precision
from vidlstm.data.features import NETWORKS, default_root
from vidlstm.engine.decoding import DecodePool, num_cores
from vidlstm.engine.devices import make_frame_encoder
from vidlstm.engine.evaluation import score_clips
from vidlstm.engine.extraction import Extracted, Extractor
from vidlstm.engine.reading import ReadRequest
from vidlstm.media.files import Limits
from vidlstm.models.checkpoint import Model
from vidlstm.records import Failure, Prediction, Score


def make_extractor(
    model: Model,
    pool: DecodePool,
    device: torch.device,
    *,
    backend: Backend = "auto",
    precision: Precision = "float32",
    limits: Limits | None = None,
) -> Extractor:
    """Bring a model's encoder to its device, and return what makes features of files for it.

    Raises:
        UsageError: The backend is not installed, or not for this device.
    """
    request = ReadRequest.of(model.config, views=model.config.views, limits=limits)
    frames = None
    if model.encoder is not None:
        frames = make_frame_encoder(
            model.encoder, device, request, num_cores(),
            backend=backend, precision=precision, kept_in=default_root() / NETWORKS,
        )  # fmt: skip
    return Extractor(request, frames, None, pool)


def predict(
    model: Model, extractor: Extractor, names: Iterable[str], *, top_k: int = 5, min_score: float = 0.0
) -> Iterator[Prediction | Failure]:
    """Label files.

    Args:
        model: On its device.
        extractor: Made for the model.
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
        rows = iter(score_clips(model, [e.features for e in together if e.features is not None]))
        for extracted in together:
            scores = None if extracted.features is None else next(rows)
            yield _record(model, given.popleft(), extracted, scores, top_k, min_score)


def _record(
    model: Model,
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
    top = tuple(Score(model.config.classes[i], float(scores[i])) for i in best)
    label = top[0].label if top[0].score >= min_score else None
    frames = max(values.shape[2] for values in extracted.features.sequences.values())
    return Prediction(name, label, top[0].score, top, frames, extracted.info.seconds, extracted.problem)
