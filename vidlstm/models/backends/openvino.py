"""Run networks in OpenVINO (extra `cpu`), which is faster than torch on most CPUs.

Converting a network needs torch and onnx and takes seconds, and compiling it takes a second, so the compiled
network is cached on disk. Reading it from there needs no torch, and this module does not import it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vidlstm.config import Precision
from vidlstm.errors import BackendError
from vidlstm.files import write_atomically
from vidlstm.models.backends.protocol import CPU_BATCH, ClipScores

if TYPE_CHECKING:
    import openvino

Network: TypeAlias = "openvino.Model"
Networks: TypeAlias = Mapping[str, Network]
"""The networks of a model, by name."""
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # environment variables
_CPU = "CPU"
_THREADS = "INFERENCE_NUM_THREADS"
_MACHINE = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
_DIGEST = 16  # bytes
_XML = b"<?xml"


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
        network: Returns the network; called on first use, unless an earlier run compiled it.
        num_threads: Number of threads.
        precision: Precision of activations and products.
        kept: Where the compiled network is kept, see `compiled`; None: nowhere.
    """

    def __init__(
        self,
        digest: str,
        network: Callable[[], Network],
        num_threads: int,
        precision: Precision = "float32",
        kept: Path | None = None,
    ) -> None:
        self.digest = digest
        self._network = network
        self._kept = kept
        self._settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",  # each thread encodes different pictures
            _THREADS: num_threads,
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
            return library.AsyncInferQueue(compiled(self._network, self._settings, self._kept))


class OpenVinoHead:
    """A head that runs in OpenVINO on the CPU, in float32.

    Args:
        network: Returns the network, with the inputs of `backends.protocol.Head`; called unless an earlier
            run compiled it.
        kept: Where the compiled network is kept, see `compiled`; None: nowhere.

    Raises:
        BackendError: OpenVINO cannot be loaded, or cannot run this network.
    """

    def __init__(self, network: Callable[[], Network], kept: Path | None = None) -> None:
        settings = {_THREADS: 1, "INFERENCE_PRECISION_HINT": "f32"}
        self._request = compiled(network, settings, kept).create_infer_request()

    def __call__(self, streams: Mapping[str, NDArray[Any]]) -> ClipScores:
        """Return probabilities `(B, K)` and novelty `(B,)`, see `Head`.

        Raises:
            BackendError: The network has other inputs or outputs, or OpenVINO cannot run it.
        """
        with as_openvino_errors():
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
    except (AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
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
            # OpenVINO ignores the name, and other formats can refer to other files.
            if suffix == "xml" and not content.startswith(_XML):
                raise BackendError(f"{file}: not an OpenVINO network; export the model again")
            if suffix != "bin":
                networks[name] = core.read_model(content, files.get(f"{name}.bin", b""))
        return networks


def compiled(
    network: Callable[[], Network], settings: Mapping[str, Any], kept: Path | None
) -> openvino.CompiledModel:
    """Compile a network for the CPU, or import what an earlier run compiled.

    Compiling the default model takes 1.1 s, importing it 0.15 s (two cores of an AMD EPYC).

    Args:
        network: Returns the network; called only to compile.
        settings: Properties of OpenVINO's CPU device.
        kept: Path of the compiled network without suffix, in a folder of this version of the network and of
            OpenVINO; None: keep nothing.

    Raises:
        BackendError: OpenVINO cannot be loaded, or cannot run the network.
    """
    with as_openvino_errors() as library:
        core = library.Core()
        if kept is None:
            return core.compile_model(network(), _CPU, settings)
        machine = [core.get_property(_CPU, name) for name in _MACHINE]
        lasting = {name: value for name, value in settings.items() if name != _THREADS}
        key = hashlib.blake2b(repr((machine, lasting)).encode(), digest_size=4).hexdigest()
        file = kept.with_name(f"{kept.name}-{key}.blob")
        with contextlib.suppress(OSError, RuntimeError):
            content = file.read_bytes()
            if content[:_DIGEST] == _digest(content[_DIGEST:]):
                return core.import_model(content[_DIGEST:], _CPU, settings)
        result = core.compile_model(network(), _CPU, settings)
        with contextlib.suppress(OSError, RuntimeError):  # e.g. on a full disk, the next run compiles again
            exported = result.export_model()  # bytes in OpenVINO 2025.0, later a stream
            content = exported if isinstance(exported, bytes) else exported.getvalue()
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, _digest(content) + content, durable=False)
        return result


def _digest(content: bytes) -> bytes:
    """Return a digest of a compiled network: OpenVINO does not notice damaged weights."""
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


def save_networks(networks: Networks, folder: Path, *, float16: bool = False) -> None:
    """Write each network as `NAME.xml` and `NAME.bin`, with weights in float32 or float16.

    Raises:
        BackendError: OpenVINO cannot write them.
    """
    with as_openvino_errors() as library:
        for name, network in networks.items():
            library.save_model(network, folder / f"{name}.xml", compress_to_fp16=float16)
