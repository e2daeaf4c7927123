"""Make ONNX networks smaller: weights in float16, or an encoder in int8. Imports no torch."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidlstm.models.backends.onnx import as_onnx_errors
from vidlstm.models.backends.protocol import CPU_BATCH

_SMALL = 256  # smaller tensors stay float32: they take no room, and some are biases and temperatures


def with_float16_weights(network: bytes) -> bytes:
    """Return a network whose large weights are stored as float16, and cast to float32 when it is loaded.

    The size halves. Time and memory stay as they are: the computation is in float32.

    Args:
        network: An ONNX file.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(network)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        fits = values.dtype == np.float32 and bool((np.abs(values) <= np.finfo(np.float16).max).all())
        if not fits or values.size < _SMALL:
            continue
        name, stored = tensor.name, f"{tensor.name}.float16"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    content: bytes = model.SerializeToString()
    return content


def in_int8(encoder: bytes, pictures: Iterable[NDArray[np.uint8]]) -> bytes:
    """Return an encoder whose weights and activations are int8 (static quantisation by onnxruntime).

    Args:
        encoder: An ONNX file with the input `pictures`, uint8 `(N, S, S, C)`.
        pictures: Typical pictures, `(N, S, S, C)`; the ranges of the activations are measured on them.

    Raises:
        BackendError: onnxruntime cannot be loaded, or cannot quantise this network.
    """
    with as_onnx_errors(), tempfile.TemporaryDirectory() as name:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.batches = (
                    part[start : start + CPU_BATCH]
                    for part in pictures
                    for start in range(0, len(part), CPU_BATCH)
                )

            def get_next(self) -> dict[str, Any] | None:
                batch = next(self.batches, None)
                return None if batch is None else {"pictures": batch}

        given, file = Path(name) / "given.onnx", Path(name) / "int8.onnx"
        given.write_bytes(encoder)
        logging.disable(logging.WARNING)  # it advises its own preprocessing, which torch's exporter has done
        try:
            quantize_static(
                given,
                file,
                Reader(),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
            )
        finally:
            logging.disable(logging.NOTSET)
        return file.read_bytes()
