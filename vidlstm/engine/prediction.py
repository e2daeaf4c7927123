"""Files to labels: one record for every input, in their order, as soon as each is ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from vidlstm.engine.evaluation import score_clips
from vidlstm.engine.extraction import Extracted, Extractor
from vidlstm.models.checkpoint import Model
from vidlstm.records import Failure, Prediction, Score


def predict(
    model: Model, extractor: Extractor, paths: Iterable[Path], *, top_k: int = 5, min_score: float = 0.0
) -> Iterator[Prediction | Failure]:
    """Label files.

    Args:
        model: On its device.
        extractor: Made for the model.
        paths: Consumed as far as a small window ahead; may block.
        top_k: Classes in `top`.
        min_score: Below it the label is None, and the scores stay.

    Yields:
        One record a path, in order.
    """
    for extracted in extractor.extract(paths):
        yield _record(model, extracted, top_k, min_score)


def _record(model: Model, extracted: Extracted, top_k: int, min_score: float) -> Prediction | Failure:
    path = str(extracted.path)
    if extracted.features is None or extracted.info is None:
        assert extracted.problem is not None
        return Failure(path, extracted.problem)
    scores = score_clips(model, [extracted.features])[0]
    best = scores.argsort()[::-1][:top_k]
    top = tuple(Score(model.config.classes[i], float(scores[i])) for i in best)
    label = top[0].label if top[0].score >= min_score else None
    frames = max(values.shape[2] for values in extracted.features.sequences.values())
    return Prediction(path, label, top[0].score, top, frames, extracted.info.seconds, extracted.problem)
