"""Run a network of this folder in onnxruntime."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read on import; otherwise usage data are sent to Microsoft

import onnxruntime


def load(name: str) -> Callable[[dict[str, Any]], list[Any]]:
    """Load a network as a function from its inputs, by name, to its outputs."""
    file = Path(__file__).with_name(f"{name}.onnx")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda inputs: list(session.run(None, inputs))
