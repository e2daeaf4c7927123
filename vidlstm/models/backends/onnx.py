"""Run the networks of an exported model in onnxruntime (extra `onnx`). Imports no torch."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.errors import BackendError
from vidlstm.models.backends.protocol import CPU_BATCH, ClipScores

_EXTERNAL_DATA = b"location"
"""Key of the path in a tensor whose values are in another file; its length may be encoded in many ways."""


def is_installed() -> bool:
    """Tell whether onnxruntime can be imported, without importing it."""
    return importlib.util.find_spec("onnxruntime") is not None


class OnnxEncoder:
    """An encoder that runs in onnxruntime on the CPU. Each thread encodes different pictures.

    Args:
        digest: Digest of everything that features depend on, except the pictures.
        file: The network, as ONNX.
        num_threads: Number of threads.

    Raises:
        BackendError: onnxruntime cannot be loaded, or cannot run this network.
    """

    def __init__(self, digest: str, file: bytes, num_threads: int) -> None:
        self.digest = digest
        self._session = _open(file)
        self._threads = ThreadPoolExecutor(num_threads)

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` if a picture is read as R rows.

        Raises:
            BackendError: onnxruntime cannot run this network.
        """
        batches = [pictures[start : start + CPU_BATCH] for start in range(0, len(pictures), CPU_BATCH)]
        with as_onnx_errors():
            return np.concatenate(list(self._threads.map(partial(_encode, self._session), batches)))


class OnnxHead:
    """A head that runs in onnxruntime on the CPU, in float32.

    Args:
        file: The network, as ONNX, with the inputs of `vidlstm.models.backends.protocol.Head`.

    Raises:
        BackendError: onnxruntime cannot be loaded, or cannot run this network.
    """

    def __init__(self, file: bytes) -> None:
        self._session = _open(file)

    def __call__(self, streams: Mapping[str, NDArray[Any]]) -> ClipScores:
        """Return probabilities `(B, K)` and novelty `(B,)`, see `Head`.

        Raises:
            BackendError: The network has other inputs or outputs, or onnxruntime cannot run it.
        """
        with as_onnx_errors():
            scores, novelty = self._session.run(None, dict(streams))
            return scores.astype(np.float64), novelty.astype(np.float64)


def _encode(session: Any, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
    features: NDArray[np.float16] = session.run(None, {"pictures": pictures})[0].astype(np.float16)
    return features


def _open(file: bytes) -> Any:
    if _EXTERNAL_DATA in file:
        raise BackendError("the network refers to another file, which is never opened; export it again")
    with as_onnx_errors() as library:
        options = library.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # only errors, which are also raised; warnings do not help users
        return library.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def as_onnx_errors() -> Iterator[Any]:
    """Import onnxruntime, and turn its exceptions into a `BackendError`."""
    # Since 1.32 its wheels send usage data to Microsoft, and keep an identifier in the home folder.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be loaded ({error}): pip install vidlstm[onnx]") from error
    try:
        yield onnxruntime
    except Exception as error:  # its errors have no common base class
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(f"onnxruntime fails on this model ({reason}); export it again") from error
