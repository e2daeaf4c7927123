"""A loaded model for Python programs and notebooks: what `vidlstm predict` and `vidlstm spans` do."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Backend, LabelPrecision
from vidlstm.engine.extraction.processes.pool import CLIP_SECONDS, DecodePool, default_workers
from vidlstm.engine.spans.smoothing import SpanRules
from vidlstm.errors import UsageError
from vidlstm.models.header import checkpoint_file, read_header
from vidlstm.records import NOVELTY_RATE, Failure, FilmSpans, Prediction

if TYPE_CHECKING:
    from vidlstm.engine.extraction.films.extractor import FilmExtractor
    from vidlstm.media.video.frame_array import Frames

File = str | os.PathLike[str]


class Predictor:
    """A loaded model that labels clips and finds the spans of films, with the processes that read them.

    It can label any number of files, from one thread at a time. Its processes end with `close`, with its
    `with` block, or when the last reference to it is gone.

    Args:
        checkpoint: A `model.safetensors`, or the run folder or exported folder that holds the model.
        device: Where the encoder runs: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        backend: Library that runs it: `auto`, `torch` or `openvino`.
        precision: Precision of the encoder: `float32`, `bfloat16` or `int8`; by default float32, or int8 with
            OpenVINO if training has shown that it does not change labels.
        workers: Decoder processes; by default one per core, at most 16.
        timeout: Seconds allowed per file.

    Raises:
        CheckpointError: The file is missing, damaged, not from vidlstm, or from a newer version.
        UsageError: The device or backend is not available, or a value is out of range.
    """

    def __init__(
        self,
        checkpoint: File,
        *,
        device: str = "auto",
        backend: Backend = "auto",
        precision: LabelPrecision | None = None,
        workers: int | None = None,
        timeout: float = CLIP_SECONDS,
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"`workers={workers}`: at least 1 is needed")
        if not timeout > 0:
            raise UsageError(f"`timeout={timeout}`: more than 0 seconds are needed")
        path = checkpoint_file(Path(checkpoint))
        self.classes: tuple[str, ...] = read_header(path).config.classes
        """The classes of the model."""
        self._pool = DecodePool(workers or default_workers(), timeout, at_once=True)
        self._end = weakref.finalize(self, self._pool.close)
        try:
            # As in the command: idle threads must sleep. Read when torch is first imported.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            from vidlstm.engine.prediction.labeller import load_labeller
            from vidlstm.engine.prediction.predict import make_extractor

            self._labeller = load_labeller(path, device=device, backend=backend, precision=precision)
            self._extractor = make_extractor(self._labeller, self._pool)
        except BaseException:
            self.close()
            raise

    def predict(
        self,
        files: File | Iterable[File] | NDArray[np.uint8],
        *,
        fps: float | None = None,
        times: Sequence[float] | NDArray[np.float64] | None = None,
        top_k: int = 5,
        min_score: float = 0.0,
        novelty_rate: float = NOVELTY_RATE,
    ) -> Iterator[Prediction | Failure]:
        """Label files, or the frames of one clip: one record per file, in order, as soon as each is ready.

        A file that cannot be read gives a `Failure`, never an exception. Iteration may stop early; the
        predictor can then label other files.

        Args:
            files: One file or several. An iterable is consumed in another thread, a few files ahead, and
                may block. A folder of numbered pictures is one clip; other folders are not searched, use
                `Path(folder).rglob("*.mp4")`. Or the frames of one clip, uint8 RGB `(T, H, W, 3)`, which
                give one record whose `path` is "frames".
            fps: Frame rate of the frames, if it is constant.
            times: Time of each frame in seconds, `(T,)`, if it is not.
            top_k: Number of classes in a record's `top`.
            min_score: Below this score the label is None; the scores are kept.
            novelty_rate: Share of known clips that may be reported as unknown; 0: none.

        Raises:
            UsageError: A value is out of range.
            ValueError: The predictor was closed before the last record.
        """
        if top_k < 1:
            raise UsageError(f"`top_k={top_k}`: at least 1 is needed")
        _require_shares(min_score=min_score, novelty_rate=novelty_rate)
        if isinstance(files, np.ndarray):
            frames = _frames(files, fps, times)
            return self._predict_frames(frames, top_k=top_k, min_score=min_score, novelty_rate=novelty_rate)
        if fps is not None or times is not None:
            raise UsageError("fps and times are for frames only; files have their own times")
        return self._predict(_names(files), top_k=top_k, min_score=min_score, novelty_rate=novelty_rate)

    def spans(
        self,
        films: File | Iterable[File],
        *,
        min_score: float = 0.0,
        min_duration: float = 0.5,
        max_gap: float = 0.3,
        novelty_rate: float = NOVELTY_RATE,
    ) -> Iterator[FilmSpans | Failure]:
        """Find what happens when in films: one record per film, in order, as soon as each is ready.

        A film that cannot be read gives a `Failure`. Iteration may stop early.

        Args:
            films: One film or several; an iterable is consumed as in `predict`.
            min_score: Minimum score of a span.
            min_duration: Minimum duration of a span in seconds.
            max_gap: Two spans of one label with a gap of at most this many seconds are joined.
            novelty_rate: Share of known clips that may be reported as unknown; 0: none.

        Raises:
            UsageError: A value is out of range, or the model cannot be used for films.
            ValueError: The predictor was closed before the last record.
        """
        _require_shares(min_score=min_score, novelty_rate=novelty_rate)
        for name, seconds in (("min_duration", min_duration), ("max_gap", max_gap)):
            if not seconds >= 0:
                raise UsageError(f"`{name}={seconds}`: must be at least 0 seconds")
        from vidlstm.engine.prediction.films import make_film_extractor

        extractor = make_film_extractor(self._labeller, self._pool)
        rules = SpanRules(min_duration, max_gap, min_score)
        return self._spans(extractor, _names(films), rules, novelty_rate)

    def _spans(
        self, extractor: FilmExtractor, names: Iterator[str], rules: SpanRules, novelty_rate: float
    ) -> Iterator[FilmSpans | Failure]:
        from vidlstm.engine.prediction.films import label_films

        for film in label_films(self._labeller, extractor, names, rules=rules, novelty_rate=novelty_rate):
            yield film.record
        self._require_open()

    def _predict_frames(
        self, frames: Frames, *, top_k: int, min_score: float, novelty_rate: float
    ) -> Iterator[Prediction | Failure]:
        from vidlstm.engine.prediction.predict import predict_frames

        yield predict_frames(
            self._labeller,
            self._extractor,
            frames,
            top_k=top_k,
            min_score=min_score,
            novelty_rate=novelty_rate,
        )

    def _predict(
        self, names: Iterable[str], *, top_k: int, min_score: float, novelty_rate: float
    ) -> Iterator[Prediction | Failure]:
        from vidlstm.engine.prediction.predict import predict

        yield from predict(
            self._labeller,
            self._extractor,
            names,
            top_k=top_k,
            min_score=min_score,
            novelty_rate=novelty_rate,
        )
        self._require_open()

    def _require_open(self) -> None:
        if not self._end.alive:
            raise ValueError("the predictor was closed before the last record was taken")

    def close(self) -> None:
        """Stop the decoder processes."""
        self._end()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _names(files: File | Iterable[File]) -> Iterator[str]:
    return map(os.fsdecode, [files] if isinstance(files, (str, bytes, os.PathLike)) else files)


def _require_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UsageError(f"`{name}={share}`: must be from 0 to 1")


def _frames(
    images: NDArray[np.uint8], fps: float | None, times: Sequence[float] | NDArray[np.float64] | None
) -> Frames:
    from vidlstm.media.video.frame_array import Frames

    if (fps is None) == (times is None):
        raise UsageError("frames have no times of their own; give either fps or times")
    return Frames.at(images, fps) if fps is not None else Frames(images, np.asarray(times, np.float64))
