"""vidlstm: action recognition in your own videos. An LSTM reads the output of a per-frame CNN in order.

Files become sequences of frames, streams turn each frame into a feature vector, an LSTM reads the vectors
in order, and its output becomes a label, for a clip or for each span of a film.

    errors, config, config_dict     errors; the configuration of a model, and its form in files
    settings                        what the user asks for
    records, evaluations            results: a record per input or epoch; metrics of an evaluation
    stores                          files in object stores and on web servers
    files        which paths are clips or pictures; atomic writes
    metrics/     accuracy, intervals, calibration; span metrics
    media/       files -> frames -> descriptors; the only package that imports OpenCV and PyAV
    data/        samples, labels, groups, splits, annotations; never reads pixels
    features/    the feature store on disk; batches, padding, masks
    models/      encoders, heads, classifier, checkpoint; `backends/` run a trained model
    engine/      extraction, training, evaluation, prediction; yields records and events, prints nothing
    report/      HTML pages and plots
    cli/         one module per command; the only package that prints

Imports point down only; `pyproject.toml` lists the layers, and `lint-imports` checks them.
The package root imports nothing heavy, so that `vidlstm --help` is fast.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from vidlstm.errors import VidlstmError
from vidlstm.records import Failure, FilmSpans, Prediction, Span
from vidlstm.version import __version__

if TYPE_CHECKING:
    from vidlstm.api import crossval, evaluate, train
    from vidlstm.config import Backend, LabelPrecision
    from vidlstm.engine.prediction.predictor import Predictor

# Fallbacks are logged as warnings. The calling program decides whether to show them.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Failure",
    "FilmSpans",
    "Prediction",
    "Span",
    "VidlstmError",
    "__version__",
    "crossval",
    "evaluate",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in ("crossval", "evaluate", "train"):
        from vidlstm import api

        return getattr(api, name)
    raise AttributeError(f"module 'vidlstm' has no attribute {name!r}")


def load(
    checkpoint: str | os.PathLike[str],
    *,
    device: str = "auto",
    backend: Backend = "auto",
    precision: LabelPrecision | None = None,
    workers: int | None = None,
    timeout: float = 120.0,
) -> Predictor:
    """Load a model for prediction: `vidlstm.load("runs/1").predict(["a.mp4", "b.mp4"])`.

    Args:
        checkpoint: A `model.safetensors`, or the run folder that holds one.
        device: Where the encoder runs: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        backend: Library that runs the encoder: `auto`, `torch` or `openvino`.
        precision: Precision of the encoder: `float32`, `bfloat16` or `int8`; by default float32, or int8 with
            OpenVINO if training has shown that it does not change labels.
        workers: Decoder processes; by default one per core, at most 16.
        timeout: Seconds allowed per file.

    Raises:
        VidlstmError: The model, device or backend does not exist, or a number is out of range.
    """
    from vidlstm.engine.prediction.predictor import Predictor

    return Predictor(
        checkpoint, device=device, backend=backend, precision=precision, workers=workers, timeout=timeout
    )
