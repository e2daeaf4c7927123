"""BlazePose's detector and landmark network, run by OpenVINO (extra `cpu`).

Imports no torch: it runs in the decoder processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidlstm.errors import WeightsError
from vidlstm.models.backends.openvino import as_openvino_errors
from vidlstm.models.pose_weights import DETECTOR, LANDMARKS, read_folder

if TYPE_CHECKING:
    import openvino

_DETECTOR_SHAPES = ([1, 224, 224, 3], [1, 2254, 12], [1, 2254, 1])
_LANDMARK_SHAPES = ([1, 256, 256, 3], [1, 195], [1, 1])

Floats = NDArray[np.float32]


class BlazePose:
    """The two networks.

    Args:
        folder: Folder of the files.
        num_threads: Number of threads.

    Raises:
        WeightsError: The files hold other networks.
        VidlstmError: OpenVINO cannot be loaded, or cannot read the files.
    """

    def __init__(self, folder: Path, num_threads: int = 1) -> None:
        read_folder(folder)  # OpenVINO ignores the name, and other formats can refer to other files
        self._detector = _load(folder / DETECTOR, num_threads, *_DETECTOR_SHAPES)
        self._landmarks = _load(folder / LANDMARKS, num_threads, *_LANDMARK_SHAPES)

    def detect(self, picture: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Detect people in an RGB picture `(224, 224, 3)`.

        Returns:
            For each anchor, a box and four points `(2254, 12)`, and the logit of a person `(2254,)`.
        """
        answers = self._detector.infer({0: picture[None].astype(np.float32) / 127.5 - 1})
        return answers[0][0].copy(), answers[1][0, :, 0].copy()

    def find_points(self, picture: NDArray[np.uint8]) -> tuple[Floats, float]:
        """Find the key points of the person in an RGB picture `(256, 256, 3)`.

        Returns:
            float32 `(39, 3)`: x and y in pixels, and the probability that the point is visible; and the
            probability that there is a person at all.
        """
        answers = self._landmarks.infer({0: picture[None].astype(np.float32) / 255})
        points = answers[0].reshape(39, 5)
        visible = 1 / (1 + np.exp(-np.clip(points[:, 3], -50, 50)))
        return np.column_stack([points[:, :2], visible]).astype(np.float32), float(answers[1][0, 0])


def _load(file: Path, num_threads: int, *shapes: list[int]) -> openvino.InferRequest:
    """Load the part of a network that its first two outputs need: without the mask, 9 ms instead of 15."""
    settings = {"INFERENCE_NUM_THREADS": num_threads, "INFERENCE_PRECISION_HINT": "f32"}
    with as_openvino_errors() as library:
        core = library.Core()
        whole = core.read_model(file)
        found = [port.partial_shape.to_string() for port in [*whole.inputs[:1], *whole.outputs[:2]]]
        if found != ["[" + ",".join(map(str, shape)) + "]" for shape in shapes]:
            raise WeightsError(f"{file}: not the BlazePose network of that name")
        network = library.Model(whole.outputs[:2], whole.get_parameters())
        return core.compile_model(network, "CPU", settings).create_infer_request()
