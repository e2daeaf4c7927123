"""An encoder computed by OpenVINO (extra `cpu`), which is faster than torch on most CPUs.

Converting a network takes seconds, so what comes out of it is kept on disk; reading that takes
hundredths. The encoder's weights, the size of its input and both libraries' versions are in its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidlstm.config import Precision
from vidlstm.errors import VidlstmError
from vidlstm.models.backends import CPU_BATCH, features_digest
from vidlstm.models.encoders import Encoder

if TYPE_CHECKING:
    import openvino

_VERSION = 1  # of what is kept; goes up when the same encoder is converted in another way


def is_installed() -> bool:
    """Tell whether OpenVINO can be imported, without importing it."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoEncoder:
    """An encoder computed by OpenVINO on the CPU.

    Args:
        encoder: On the CPU.
        size: Side of its input.
        channels: Of its input.
        num_threads: To compute with.
        precision: Of activations and products.
        kept_in: Folder where converted networks are kept; None keeps none.

    """

    def __init__(
        self,
        encoder: Encoder,
        size: int,
        channels: int,
        num_threads: int,
        precision: Precision = "float32",
        kept_in: Path | None = None,
    ) -> None:
        self.digest = features_digest(encoder, precision)
        self._encoder = encoder
        self._shape = size, size, channels
        self._settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",  # threads compute pictures of their own
            "INFERENCE_NUM_THREADS": num_threads,
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        }
        self._kept_in = kept_in

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` where a picture is read as R rows.

        Raises:
            VidlstmError: OpenVINO cannot be loaded, or it cannot compute this encoder.
        """
        parts: dict[int, NDArray[np.float16]] = {}

        def keep(request: openvino.InferRequest, start: int) -> None:
            parts[start] = request.get_output_tensor(0).data.astype(np.float16)

        self._queue.set_callback(keep)
        for start in range(0, len(pictures), CPU_BATCH):
            self._queue.start_async({0: pictures[start : start + CPU_BATCH]}, start)
        self._queue.wait_all()
        return np.concatenate([parts[start] for start in sorted(parts)])

    @cached_property
    def _queue(self) -> openvino.AsyncInferQueue:
        with _translated():
            library = _load_library()
            model = _kept_or_converted(library, self._encoder, self._shape, self._kept_in)
            return library.AsyncInferQueue(library.compile_model(model, "CPU", self._settings))


class _FromPixels(nn.Module):
    """Take pictures as they lie in memory, `(N, S, S, C)`."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.encoder(pictures.permute(0, 3, 1, 2))
        return features


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ImportError, RuntimeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise VidlstmError(
            f"OpenVINO fails on this encoder ({why}): --backend torch does without it"
        ) from error


def _load_library() -> Any:
    # OpenVINO reports its import to its makers by this package, unless it finds none. Nothing that a
    # user labels with this tool shall make it call anybody.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _kept_or_converted(
    library: Any, encoder: Encoder, shape: tuple[int, int, int], kept_in: Path | None
) -> openvino.Model:
    """Return the network, from disk if it was converted before."""
    if kept_in is None:
        return _convert(library, encoder, shape)
    folder = kept_in / _name(library, encoder, shape)
    with contextlib.suppress(RuntimeError):
        return library.Core().read_model(folder / "encoder.xml")
    model = _convert(library, encoder, shape)
    with contextlib.suppress(OSError, RuntimeError):  # a full disk costs the next run some seconds
        _keep(library, model, folder)
    return model


def _keep(library: Any, model: openvino.Model, folder: Path) -> None:
    """Write both files of a model into a folder that appears with both or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        library.save_model(model, beside / "encoder.xml", compress_to_fp16=False)
        shutil.rmtree(folder, ignore_errors=True)  # it could not be read
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _convert(library: Any, encoder: Encoder, shape: tuple[int, int, int]) -> openvino.Model:
    example = torch.zeros(1, *shape, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter(
            "ignore"
        )  # of shapes that become constants, as they are meant to, and of torch.jit
        model: openvino.Model = library.convert_model(_FromPixels(encoder.eval()), example_input=example)
    model.reshape([-1, *shape])
    return model


def _name(library: Any, encoder: Encoder, shape: tuple[int, int, int]) -> str:
    parts = (_VERSION, library.__version__, torch.__version__, features_digest(encoder, "float32"), shape)
    normalisation = encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()
    text = repr((*parts, normalisation, repr(encoder)))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
