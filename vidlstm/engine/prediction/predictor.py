"""A model at hand, for Python programs and notebooks: what `vidlstm predict` is for the shell."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Backend, Precision
from vidlstm.engine.extraction.processes.pool import CLIP_SECONDS, DecodePool, default_workers
from vidlstm.errors import UsageError
from vidlstm.models.header import checkpoint_file, read_header
from vidlstm.records import NOVELTY_RATE, Failure, Prediction

if TYPE_CHECKING:
    from vidlstm.media.video.frame_array import Frames

File = str | os.PathLike[str]


class Predictor:
    """A model that labels files, and the processes that read them for it.

    Loaded once, it may label as often as one likes; one thread at a time. Its processes end with
    `close`, with the `with` block that it stands in, or with the last reference to it.

    Args:
        checkpoint: A `model.safetensors`, or the run folder or exported folder that holds the model.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; where the encoder runs.
        backend: `auto`, `torch` or `openvino`; what computes it.
        precision: `float32` or `bfloat16`; of that computation.
        workers: Processes that read files; by default one a core, 8 at most.
        timeout: Seconds that one file may take.

    Raises:
        CheckpointError: It is missing, damaged, foreign or from a newer version.
        UsageError: The device or backend is not there, or a number makes no sense.
    """

    def __init__(
        self,
        checkpoint: File,
        *,
        device: str = "auto",
        backend: Backend = "auto",
        precision: Precision = "float32",
        workers: int | None = None,
        timeout: float = CLIP_SECONDS,
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"`workers={workers}`: at least 1 is needed")
        if not timeout > 0:
            raise UsageError(f"`timeout={timeout}`: more than 0 seconds are needed")
        path = checkpoint_file(Path(checkpoint))
        self.classes: tuple[str, ...] = read_header(path).config.classes
        """What it can tell apart."""
        pool = DecodePool(workers or default_workers(), timeout, at_once=True)
        self._end = weakref.finalize(self, pool.close)
        try:
            # As for the command: threads that wait must sleep. Read when torch is first imported.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            from vidlstm.engine.prediction.labeller import load_labeller
            from vidlstm.engine.prediction.predict import make_extractor

            self._labeller = load_labeller(path, device=device, backend=backend, precision=precision)
            self._extractor = make_extractor(self._labeller, pool)
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
        """Label files: one record for each, in their order, as soon as it is ready. Or one clip's frames.

        A file that cannot be read costs a `Failure`, never an exception. Whoever stops in the middle may
        label other files with the same predictor.

        Args:
            files: One, or several. An iterable is read in another thread, a few files ahead, and may
                block. A folder of numbered pictures is one clip; other folders are not searched:
                `Path(folder).rglob("*.mp4")` does. Or the frames of one clip, uint8 RGB `(T, H, W, 3)`,
                which give one record whose `path` is "frames".
            fps: Of frames, if they are equally far apart.
            times: When each of the frames is shown, in seconds, `(T,)`, otherwise.
            top_k: Classes in a record's `top`.
            min_score: Below it a label is None, and the scores stay.
            novelty_rate: Share of known clips that may be taken for unknown; 0 takes none.

        Raises:
            UsageError: A number makes no sense.
            ValueError: The predictor was closed before the last record.
        """
        if top_k < 1:
            raise UsageError(f"`top_k={top_k}`: at least 1 is needed")
        if not 0 <= min_score <= 1:
            raise UsageError(f"`min_score={min_score}`: must be from 0 to 1")
        if not 0 <= novelty_rate <= 1:
            raise UsageError(f"`novelty_rate={novelty_rate}`: must be from 0 to 1")
        if isinstance(files, np.ndarray):
            frames = _frames(files, fps, times)
            return self._predict_frames(frames, top_k=top_k, min_score=min_score, novelty_rate=novelty_rate)
        if fps is not None or times is not None:
            raise UsageError("fps and times are for frames; files have their own")
        given = [files] if isinstance(files, (str, bytes, os.PathLike)) else files
        return self._predict(
            map(os.fsdecode, given), top_k=top_k, min_score=min_score, novelty_rate=novelty_rate
        )

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
        if not self._end.alive:
            raise ValueError("the predictor was closed before the last record was taken")

    def close(self) -> None:
        """End the processes."""
        self._end()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _frames(
    images: NDArray[np.uint8], fps: float | None, times: Sequence[float] | NDArray[np.float64] | None
) -> Frames:
    from vidlstm.media.video.frame_array import Frames

    if (fps is None) == (times is None):
        raise UsageError("frames have no clock: give either fps or times")
    return Frames.at(images, fps) if fps is not None else Frames(images, np.asarray(times, np.float64))
