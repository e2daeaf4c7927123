"""Networks computed by OpenVINO (extra `cpu`), which is faster than torch on most CPUs.

Converting a network takes torch and seconds, so what comes out of it is kept on disk. Reading that
takes hundredths, and imports no torch; nor does this module.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Precision
from vidlstm.errors import BackendError
from vidlstm.models.backends.protocol import CPU_BATCH

if TYPE_CHECKING:
    import openvino

Networks = Mapping[str, "openvino.Model"]
"""What was converted together, by name."""
_CHECKSUM = "checksum"  # file beside the networks


def is_installed() -> bool:
    """Tell whether OpenVINO can be imported, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def has_bfloat16() -> bool:
    """Tell whether OpenVINO computes with bfloat16 on this CPU.

    Raises:
        BackendError: OpenVINO cannot be loaded.
    """
    with as_openvino_errors() as library:
        return "BF16" in library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEncoder:
    """An encoder computed by OpenVINO on the CPU.

    Args:
        digest: Of everything that features depend on beside the pictures.
        network: Gives the network, once it is needed.
        num_threads: To compute with.
        precision: Of activations and products.
    """

    def __init__(
        self,
        digest: str,
        network: Callable[[], openvino.Model],
        num_threads: int,
        precision: Precision = "float32",
    ) -> None:
        self.digest = digest
        self._network = network
        self._settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",  # threads compute pictures of their own
            "INFERENCE_NUM_THREADS": num_threads,
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        }

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` where a picture is read as R rows.

        Raises:
            BackendError: OpenVINO cannot be loaded, or it cannot compute this encoder.
        """
        parts: dict[int, NDArray[np.float16]] = {}

        def keep(request: openvino.InferRequest, start: int) -> None:
            parts[start] = request.get_output_tensor(0).data.astype(np.float16)

        with as_openvino_errors():
            self._queue.set_callback(keep)
            for start in range(0, len(pictures), CPU_BATCH):
                self._queue.start_async({0: pictures[start : start + CPU_BATCH]}, start)
            self._queue.wait_all()
        return np.concatenate([parts[start] for start in sorted(parts)])

    def prepare(self) -> None:
        """Do now what the first call would begin with.

        Raises:
            BackendError: As for a call.
        """
        assert self._queue

    @cached_property
    def _queue(self) -> openvino.AsyncInferQueue:
        with as_openvino_errors() as library:
            return library.AsyncInferQueue(library.compile_model(self._network(), "CPU", self._settings))


class OpenVinoClassifier:
    """All looks at a clip to its probabilities and its novelty, computed by OpenVINO on the CPU, in float32.

    Args:
        network: With an input for each stream, by its name.

    Raises:
        BackendError: OpenVINO cannot be loaded, or it cannot compute this network.
    """

    def __init__(self, network: openvino.Model) -> None:
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        with as_openvino_errors() as library:
            self._request = library.compile_model(network, "CPU", settings).create_infer_request()

    def __call__(self, streams: Mapping[str, NDArray[np.float32]]) -> tuple[NDArray[np.float64], float]:
        """Classify one clip.

        Args:
            streams: By name, a row for each look: `(L, T, D)`, or `(L, D)` of a summary stream.

        Returns:
            Probabilities, `(K,)`, and novelty.
        """
        given = self._request.infer(dict(streams))
        return given[0].astype(np.float64), float(given[1][0])


@contextlib.contextmanager
def as_openvino_errors() -> Iterator[Any]:
    """Import OpenVINO, and turn what it raises into a `BackendError`."""
    # OpenVINO reports its import to its makers by this package, unless it finds none. Nothing that a
    # user labels with this tool shall make it call anybody.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino

        yield openvino
    except (AttributeError, ImportError, RuntimeError, TypeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(
            f"OpenVINO fails on this model ({why}): `backend=torch` does without it"
        ) from error


def kept_or_converted(
    folder: Path | None, names: tuple[str, ...], convert: Callable[[], Networks]
) -> Networks:
    """Return networks, from disk if they were converted before.

    Args:
        folder: Where they are kept, of its own; None keeps none.
        names: Of the networks.
        convert: Makes them.

    Raises:
        BackendError: OpenVINO cannot be loaded, or it cannot compute them.
    """
    with as_openvino_errors() as library:
        if folder is None:
            return convert()
        with contextlib.suppress(OSError, RuntimeError):
            if (folder / _CHECKSUM).read_text(encoding="ascii") == _checksum(folder):
                core = library.Core()
                return {name: core.read_model(folder / f"{name}.xml") for name in names}
        networks = convert()
        with contextlib.suppress(OSError, RuntimeError):  # a full disk costs the next run some seconds
            _keep(library, networks, folder)
        return networks


def _keep(library: Any, networks: Networks, folder: Path) -> None:
    """Write the files of the networks into a folder that appears with all of them or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for name, network in networks.items():
            library.save_model(network, beside / f"{name}.xml", compress_to_fp16=False)
        (beside / _CHECKSUM).write_text(_checksum(beside), encoding="ascii")
        shutil.rmtree(folder, ignore_errors=True)  # it could not be read
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _checksum(folder: Path) -> str:
    """Return a checksum of a folder's networks: OpenVINO computes with damaged weights without a word."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(folder.glob("*.*")):
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()
