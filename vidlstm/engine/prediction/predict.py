"""Label files: one record per input, in order, as soon as each is ready.

Imports no torch: not every labeller needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from vidlstm.engine.extraction.extractor import Extracted, Extractor
from vidlstm.engine.extraction.pose_networks import write_networks
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.prediction.labeller import Labeller
from vidlstm.engine.prediction.sources import Readers, make_source
from vidlstm.errors import UsageError
from vidlstm.media.file_types import Limits
from vidlstm.media.video.frame_array import NAME, Frames
from vidlstm.records import NOVELTY_RATE, Failure, Prediction, Score, is_unknown
from vidlstm.stores import to_path


def make_extractor(labeller: Labeller, readers: Readers, limits: Limits | None = None) -> Extractor:
    """Return the feature extractor for a labeller."""
    networks = write_networks(labeller.pose)
    request = ReadRequest.of(
        labeller.config, views=labeller.config.views, limits=limits, pose_networks=networks
    )
    return Extractor(request, make_source(labeller, readers, request), None)


def predict(
    labeller: Labeller,
    extractor: Extractor,
    names: Iterable[str],
    *,
    top_k: int = 5,
    min_score: float = 0.0,
    novelty_rate: float = NOVELTY_RATE,
) -> Iterator[Prediction | Failure]:
    """Label files.

    Args:
        labeller: The model.
        extractor: Extractor for this labeller.
        names: Names of the files, which the records repeat unchanged. Consumed a small window ahead; may
            block.
        top_k: Number of classes in `top`.
        min_score: Below this score the label is None; the scores are kept.
        novelty_rate: Share of known clips that may be reported as unknown; 0: none.

    Yields:
        One record per name, in order.
    """
    given: deque[str] = deque()  # a `Path` does not keep the name as it was written

    def paths() -> Iterator[Path]:
        for name in names:
            given.append(name)
            yield to_path(name)

    for together in extractor.extract_together(paths()):
        yield from _records(
            labeller, together, given.popleft, top_k=top_k, min_score=min_score, novelty_rate=novelty_rate
        )


def predict_frames(
    labeller: Labeller,
    extractor: Extractor,
    frames: Frames,
    *,
    top_k: int = 5,
    min_score: float = 0.0,
    novelty_rate: float = NOVELTY_RATE,
) -> Prediction | Failure:
    """Label frames in memory; arguments as for `predict`.

    Raises:
        UsageError: The model labels pictures.
    """
    if labeller.config.kind != "video":
        raise UsageError("this model labels pictures, not frames of videos; pass file names")
    extracted = extractor.extract_frames(frames)
    (record,) = _records(
        labeller, [extracted], lambda: str(NAME), top_k=top_k, min_score=min_score, novelty_rate=novelty_rate
    )
    return record


def _records(
    labeller: Labeller,
    together: Sequence[Extracted],
    next_name: Callable[[], str],
    *,
    top_k: int,
    min_score: float,
    novelty_rate: float,
) -> Iterator[Prediction | Failure]:
    """Score clips together and yield the record of each."""
    scores, novelty = labeller.score([e.features for e in together if e.features is not None])
    rows = zip(scores, novelty.tolist(), strict=True)
    for extracted in together:
        name = next_name()
        if extracted.features is None or extracted.info is None:
            assert extracted.problem is not None
            yield Failure(name, extracted.problem)
            continue
        own, new = next(rows)
        best = own.argsort()[::-1][:top_k]
        top = tuple(Score(labeller.config.classes[i], float(own[i])) for i in best)
        unknown = is_unknown(top[0].label, new, novelty_rate)
        label = None if unknown or top[0].score < min_score else top[0].label
        frames = max(values.shape[2] for values in extracted.features.sequences.values())
        info, problem = extracted.info, extracted.problem
        yield Prediction(
            name, label, top[0].score, top, frames, info.seconds, problem, new, unknown, info.notes
        )
