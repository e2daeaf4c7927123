"""Networks computed by onnxruntime (extra `onnx`), from the files that `vidlstm export` writes. No torch."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.errors import BackendError
from vidlstm.models.backends.protocol import CPU_BATCH, ClipScores

_EXTERNAL_DATA = b"\x0a\x08location"  # of a tensor whose values lie in another file


def is_installed() -> bool:
    """Tell whether onnxruntime can be imported, without importing it."""
    return importlib.util.find_spec("onnxruntime") is not None


class OnnxEncoder:
    """An encoder computed by onnxruntime on the CPU. Each thread computes pictures of its own.

    Args:
        digest: Of everything that features depend on beside the pictures.
        file: The network, as ONNX.
        num_threads: To compute with.

    Raises:
        BackendError: onnxruntime cannot be loaded, or it cannot compute this network.
    """

    def __init__(self, digest: str, file: bytes, num_threads: int) -> None:
        self.digest = digest
        self._session = _open(file)
        self._threads = ThreadPoolExecutor(num_threads)

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` where a picture is read as R rows."""
        batches = [pictures[start : start + CPU_BATCH] for start in range(0, len(pictures), CPU_BATCH)]
        return np.concatenate(list(self._threads.map(partial(_encode, self._session), batches)))


class OnnxHead:
    """Features of clips to their probabilities and novelty, computed by onnxruntime on the CPU, in float32.

    Args:
        file: The network, as ONNX, with inputs as `vidlstm.models.backends.protocol.Head` takes them.

    Raises:
        BackendError: onnxruntime cannot be loaded, or it cannot compute this network.
    """

    def __init__(self, file: bytes) -> None:
        self._session = _open(file)

    def __call__(self, streams: Mapping[str, NDArray[Any]]) -> ClipScores:
        """Return probabilities `(B, K)` and novelty `(B,)`, see `Head`."""
        scores, novelty = self._session.run(None, dict(streams))
        return scores.astype(np.float64), novelty.astype(np.float64)


def _encode(session: Any, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
    features: NDArray[np.float16] = session.run(None, {"pictures": pictures})[0].astype(np.float16)
    return features


def _open(file: bytes) -> Any:
    if _EXTERNAL_DATA in file:
        raise BackendError("the network refers to another file, which is not opened: export it again")
    with as_onnx_errors() as library:
        options = library.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # errors: they are raised as well, warnings help nobody here
        return library.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def as_onnx_errors() -> Iterator[Any]:
    """Import onnxruntime, and turn what it raises into a `BackendError`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be loaded ({error}): pip install vidlstm[onnx]") from error
    try:
        yield onnxruntime
    except Exception as error:  # its errors have no class of their own in common
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(f"onnxruntime fails on this model ({why}): export it again") from error
