"""Run networks in OpenVINO (extra `cpu`), which is faster than torch on most CPUs.

Converting a network needs torch and onnx and takes seconds, so the result is cached on disk. Reading it takes
hundredths of a second. Neither reading nor this module imports torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
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
from vidlstm.models.backends.protocol import CPU_BATCH, ClipScores

if TYPE_CHECKING:
    import openvino

Networks = Mapping[str, "openvino.Model"]
"""The networks of a model, by name."""
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # environment variables
_CHECKSUM = "checksum"  # file in the folder of the networks


def is_installed() -> bool:
    """Tell whether OpenVINO and onnx, needed for conversion, can be imported, without importing them."""
    return all(importlib.util.find_spec(name) is not None for name in ("openvino", "onnx"))


def has_bfloat16() -> bool:
    """Tell whether OpenVINO supports bfloat16 on this CPU.

    Raises:
        BackendError: OpenVINO cannot be loaded.
    """
    with as_openvino_errors() as library:
        return "BF16" in library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEncoder:
    """An encoder that runs in OpenVINO on the CPU.

    Args:
        digest: Digest of everything that features depend on, except the pictures.
        network: Returns the network; called on first use.
        num_threads: Number of threads.
        precision: Precision of activations and products.
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
            "PERFORMANCE_HINT": "THROUGHPUT",  # each thread encodes different pictures
            "INFERENCE_NUM_THREADS": num_threads,
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        }

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Encode `(N, S, S, C)` to `(N, D)`, or to `(N, R, D)` if a picture is read as R rows.

        Raises:
            BackendError: OpenVINO cannot be loaded, or cannot run this encoder.
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
        """Load the network now instead of on the first call.

        Raises:
            BackendError: As for a call.
        """
        assert self._queue

    @cached_property
    def _queue(self) -> openvino.AsyncInferQueue:
        with as_openvino_errors() as library:
            return library.AsyncInferQueue(library.compile_model(self._network(), "CPU", self._settings))


class OpenVinoHead:
    """A head that runs in OpenVINO on the CPU, in float32.

    Args:
        network: The network, with the inputs of `vidlstm.models.backends.protocol.Head`.

    Raises:
        BackendError: OpenVINO cannot be loaded, or cannot run this network.
    """

    def __init__(self, network: openvino.Model) -> None:
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        with as_openvino_errors() as library:
            self._request = library.compile_model(network, "CPU", settings).create_infer_request()

    def __call__(self, streams: Mapping[str, NDArray[Any]]) -> ClipScores:
        """Return probabilities `(B, K)` and novelty `(B,)`, see `Head`."""
        given = self._request.infer(dict(streams))
        return given[0].astype(np.float64), given[1].astype(np.float64)


@contextlib.contextmanager
def as_openvino_errors() -> Iterator[Any]:
    """Import OpenVINO, and turn its exceptions into a `BackendError`."""
    # On import OpenVINO sends telemetry through this package, if it is there. This tool must never contact
    # anybody.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    # OpenVINO queries the CPU's features, but its oneDNN obeys a limit in the environment: where the two
    # disagree, OpenVINO 2026.4 crashes in LSTMs and with bfloat16. So the limit is hidden from its oneDNN.
    # Torch has its own oneDNN.
    limits = {name: os.environ.pop(name) for name in _LIMITS if name in os.environ}
    try:
        import openvino

        yield openvino
    except (AttributeError, ImportError, RuntimeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(f"OpenVINO fails on this model ({reason}); use `backend=torch` instead") from error
    finally:
        os.environ.update(limits)


def read_networks(files: Mapping[str, bytes]) -> Networks:
    """Read networks from the contents of their files: `NAME.onnx`, or `NAME.xml` and `NAME.bin`.

    Raises:
        BackendError: OpenVINO cannot be loaded, or cannot read the networks.
    """
    with as_openvino_errors() as library:
        core, networks = library.Core(), {}
        for file, content in files.items():
            name, _, suffix = file.rpartition(".")
            if suffix != "bin":
                networks[name] = core.read_model(content, files.get(f"{name}.bin", b""))
        return networks


def kept_or_converted(
    folder: Path | None, names: tuple[str, ...], convert: Callable[[], Mapping[str, bytes]]
) -> Networks:
    """Return networks from the cache, or convert and cache them.

    Args:
        folder: The cache folder of these networks; None: no cache.
        names: Names of the networks.
        convert: Returns the networks as ONNX files, by file name (`NAME.onnx`).

    Raises:
        BackendError: OpenVINO cannot be loaded, or cannot run the networks.
    """
    with as_openvino_errors() as library:
        if folder is None:
            return read_networks(convert())
        with contextlib.suppress(OSError, RuntimeError):
            if (folder / _CHECKSUM).read_text(encoding="ascii") == _checksum(folder):
                core = library.Core()
                return {name: core.read_model(folder / f"{name}.xml") for name in names}
        networks = read_networks(convert())
        with contextlib.suppress(
            OSError, BackendError
        ):  # without the cache, e.g. on a full disk, the next run converts again
            _keep(networks, folder)
        return networks


def save_networks(networks: Networks, folder: Path, *, float16: bool = False) -> None:
    """Write each network as `NAME.xml` and `NAME.bin`, with weights in float32 or float16.

    Raises:
        BackendError: OpenVINO cannot write them.
    """
    with as_openvino_errors() as library:
        for name, network in networks.items():
            library.save_model(network, folder / f"{name}.xml", compress_to_fp16=float16)


def _keep(networks: Networks, folder: Path) -> None:
    """Write the networks into a folder atomically."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        save_networks(networks, beside)
        (beside / _CHECKSUM).write_text(_checksum(beside), encoding="ascii")
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _checksum(folder: Path) -> str:
    """Return a checksum of a folder's networks: OpenVINO does not notice damaged weights."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(folder.glob("*.*")):
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()
