"""Run a network of this folder in OpenVINO."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # no telemetry
import openvino  # noqa: E402


def load(name: str) -> Callable[[dict[str, Any]], list[Any]]:
    """Load a network as a function from its inputs, by name, to its outputs."""
    file = Path(__file__).with_name(f"{name}.xml")
    network = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: list(network(inputs).values())
