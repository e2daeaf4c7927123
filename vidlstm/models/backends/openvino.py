"""Networks computed by OpenVINO (extra `cpu`), which is faster than torch on most CPUs.

Converting a network takes torch, onnx and seconds, so what comes out of it is kept on disk. Reading that
takes hundredths, and imports no torch; nor does this module.
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
"""What was converted together, by name."""
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # environment variables
_CHECKSUM = "checksum"  # file beside the networks


def is_installed() -> bool:
    """Tell whether OpenVINO, and onnx to convert for it, can be imported, without importing them."""
    return all(importlib.util.find_spec(name) is not None for name in ("openvino", "onnx"))


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


class OpenVinoHead:
    """Features of clips to their probabilities and novelty, computed by OpenVINO on the CPU, in float32.

    Args:
        network: With inputs as `vidlstm.models.backends.protocol.Head` takes them.

    Raises:
        BackendError: OpenVINO cannot be loaded, or it cannot compute this network.
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
    """Import OpenVINO, and turn what it raises into a `BackendError`."""
    # OpenVINO reports its import to its makers by this package, unless it finds none. Nothing that a
    # user labels with this tool shall make it call anybody.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    # OpenVINO asks the CPU what it can do, its oneDNN a limit in the environment: where the two disagree,
    # OpenVINO 2026.4 crashes in LSTMs and with bfloat16. So its oneDNN is not told. Torch has one of its own.
    limits = {name: os.environ.pop(name) for name in _LIMITS if name in os.environ}
    try:
        import openvino

        yield openvino
    except (AttributeError, ImportError, RuntimeError, TypeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(
            f"OpenVINO fails on this model ({why}): `backend=torch` does without it"
        ) from error
    finally:
        os.environ.update(limits)


def read_networks(files: Mapping[str, bytes]) -> Networks:
    """Read networks from the content of their files: `NAME.onnx`, or `NAME.xml` and `NAME.bin`.

    Raises:
        BackendError: OpenVINO cannot be loaded, or it cannot read them.
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
    """Return networks, from disk if they were converted before.

    Args:
        folder: Where they are kept, of its own; None keeps none.
        names: Of the networks.
        convert: Makes them, as ONNX files by name (`NAME.onnx`).

    Raises:
        BackendError: OpenVINO cannot be loaded, or it cannot compute them.
    """
    with as_openvino_errors() as library:
        if folder is None:
            return read_networks(convert())
        with contextlib.suppress(OSError, RuntimeError):
            if (folder / _CHECKSUM).read_text(encoding="ascii") == _checksum(folder):
                core = library.Core()
                return {name: core.read_model(folder / f"{name}.xml") for name in names}
        networks = read_networks(convert())
        with contextlib.suppress(OSError, BackendError):  # a full disk costs the next run some seconds
            _keep(networks, folder)
        return networks


def save_networks(networks: Networks, folder: Path) -> None:
    """Write each network as `NAME.xml` and `NAME.bin`.

    Raises:
        BackendError: OpenVINO cannot write them.
    """
    with as_openvino_errors() as library:
        for name, network in networks.items():
            library.save_model(network, folder / f"{name}.xml", compress_to_fp16=False)


def _keep(networks: Networks, folder: Path) -> None:
    """Write the files of the networks into a folder that appears with all of them or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        save_networks(networks, beside)
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
