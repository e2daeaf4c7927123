"""vidlstm: action recognition in people's own videos, a CNN read in order by an LSTM.

The package root imports nothing heavy, so that `vidlstm --help` answers at once.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from vidlstm.errors import VidlstmError
from vidlstm.records import Failure, Prediction
from vidlstm.version import __version__

if TYPE_CHECKING:
    from vidlstm.api import crossval, evaluate, train
    from vidlstm.config import Backend, Precision
    from vidlstm.engine.prediction.predictor import Predictor

# What works but otherwise than asked for is logged as a warning. Programs choose whether they show it.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Failure",
    "Prediction",
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
    precision: Precision = "float32",
    workers: int | None = None,
    timeout: float = 120.0,
) -> Predictor:
    """Load a model to label files with: `vidlstm.load("runs/1").predict(["a.mp4", "b.mp4"])`.

    Args:
        checkpoint: A `model.safetensors`, or the run folder that holds one.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; where the encoder runs.
        backend: `auto`, `torch` or `openvino`; what computes it.
        precision: `float32` or `bfloat16`; of that computation.
        workers: Processes that read files; by default one a core, 8 at most.
        timeout: Seconds that one file may take.

    Raises:
        VidlstmError: There is no such model, device or backend, or a number makes no sense.
    """
    from vidlstm.engine.prediction.predictor import Predictor

    return Predictor(
        checkpoint, device=device, backend=backend, precision=precision, workers=workers, timeout=timeout
    )
