"""Label clips with the model in this folder: python predict.py clip.mp4 ...

Needs numpy, opencv-python-headless, and onnxruntime (openvino for .xml files). `motion.py` and
`sampling.py` are from vidlstm. A row has path, label (empty: unknown) and score, as in `vidlstm predict`; for
a file that cannot be read, path and `no_frames`.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from vidlstm.media.descriptors import motion
from vidlstm.media.sampling import every_second, is_even, known_fps, plan, plan_by_time

# A playlist that calls itself a video opens no other file and no address.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")
FOLDER = Path(__file__).parent


def load(name: str) -> Callable[[dict[str, Any]], Any]:
    """Load a network as a function from its inputs, by name, to its outputs."""
    if (FOLDER / f"{name}.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(FOLDER / f"{name}.onnx", providers=["CPUExecutionProvider"])
        return lambda inputs: session.run(None, inputs)
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # no telemetry
    import openvino

    network = openvino.Core().compile_model(
        FOLDER / f"{name}.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda inputs: list(network(inputs).values())


def read_times(path: str) -> tuple[Any, float]:
    """Decode a clip once; return the time of each frame, in seconds from the first, and the frame rate."""
    capture = cv2.VideoCapture(path)
    zero, times = 0.0, list[float]()
    fps = known_fps(capture.get(cv2.CAP_PROP_FPS))
    while capture.grab():
        seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        zero = zero if times else seconds
        times.append(seconds - zero if not times or seconds - zero > times[-1] else times[-1] + 1 / fps)
    return np.array(times), fps


def neighbour(times: Any, index: int, fps: float) -> int:
    """Return the second frame for the optical flow: FLOW_SECONDS later, otherwise the best available."""
    distance, enough = np.abs(times - times[index]), motion.FLOW_SECONDS - 0.25 / fps
    late = np.flatnonzero(times - times[index] >= enough)
    others = [i for i in range(len(times)) if i != index] or [index]
    best = min(others, key=lambda i: (distance[i] < enough, abs(distance[i] - motion.FLOW_SECONDS)))
    return int(late[0]) if len(late) else best


def resize(image: Any, width: int, height: int) -> Any:
    """Resize a picture; by area when it shrinks."""
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def read_features(path: str, model: dict[str, Any], encode: Any) -> dict[str, Any] | None:
    """Read a clip; return the inputs of the head, or None if no frame can be decoded."""
    config, size = model["config"], model["config"]["encoder"]["size"]
    sampling: Any = SimpleNamespace(**config["sampling"])
    views: int = config["views"]
    times, fps = read_times(path)
    if not len(times):
        return None
    moments = (
        plan(len(times), fps, sampling, views)
        if is_even(times)
        else plan_by_time(times, times[-1] + 1 / fps, sampling, views)
    )
    pictured, moved = every_second(moments), np.unique(moments)
    wanted = set(pictured.flat) if "rgb" in config["streams"] else set()
    pairs = {i: sorted((i, neighbour(times, i, fps))) for i in moved.tolist()}
    near = {i for pair in pairs.values() for i in pair} if "motion" in config["streams"] else set()
    capture, squares, greys = cv2.VideoCapture(path), {}, {}
    for i in range(len(times)):
        capture.grab()
        if i in wanted or i in near:
            image: Any = capture.retrieve()[1]
            scale = min(1, motion.FLOW_SIZE / max(image.shape))
            small = [max(1, round(side * scale)) for side in image.shape[1::-1]]
            greys[i] = motion.small_grey(image, *small)
            squares[i] = cv2.cvtColor(resize(image, size, size), cv2.COLOR_BGR2RGB)
    inputs, sides = {}, 1 + config["mirror"]
    if wanted:
        shown = sorted(wanted)
        rgb = encode({"pictures": np.stack([squares[i] for i in shown])})[0].astype(np.float16)
        inputs["rgb"] = np.repeat(rgb[np.searchsorted(shown, pictured)], sides, axis=0)
    if near:
        stacked = np.stack([[greys[i] for i in pairs[m]] for m in moved.tolist()])
        seconds = np.array([times[b] - times[a] for a, b in pairs.values()])
        plain = motion.describe(stacked, seconds)[np.searchsorted(moved, moments)]
        both = np.stack([plain, motion.mirror(plain)][:sides], axis=1).astype(np.float16)
        inputs["motion"] = both.reshape(-1, *plain.shape[1:])
    masks = {f"{name}_mask": np.ones((1, value.shape[1]), bool) for name, value in inputs.items()}
    return {**{name: value[None].astype(np.float32) for name, value in inputs.items()}, **masks}


def main() -> None:
    """Print a row for each clip."""
    model = json.loads((FOLDER / "model.json").read_text(encoding="utf-8"))
    encode = load("encoder") if "rgb" in model["config"]["streams"] else None
    classify, unknown = load("head"), model["preprocessing"]["unknown"]
    for path in sys.argv[1:]:
        features = read_features(path, model, encode)
        if features is None:
            print(path, "", "", "no_frames", sep="\t")
            continue
        scores, novelty = (output[0] for output in classify(features))
        label = model["config"]["classes"][scores.argmax()]
        known = label.lower() not in unknown["classes"] and novelty <= unknown["novelty_above"]
        print(path, label if known else "", f"{scores.max():.4f}", sep="\t")


if __name__ == "__main__":
    main()
