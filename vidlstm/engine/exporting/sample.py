"""Print path, label (empty: unknown) and score of clips, as `vidlstm predict`: python predict.py clip.mp4 ...

`network.py`, `motion.py` and `sampling.py` are from vidlstm.
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from vidlstm.engine.exporting.sample_onnxruntime import load
from vidlstm.media.descriptors import motion
from vidlstm.media.sampling import every_second, known_fps, neighbour, plan_at

# A playlist that calls itself a video opens no other file and no address.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")


def read_times(path: str) -> tuple[Any, float]:
    """Decode a clip once; return the time of each frame, in seconds, and the frame rate."""
    capture, times = cv2.VideoCapture(path), list[float]()
    fps = known_fps(capture.get(cv2.CAP_PROP_FPS))
    while capture.grab():
        seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        times.append(seconds if not times or seconds > times[-1] else times[-1] + 1 / fps)
    return np.array(times), fps


def read_features(path: str, config: dict[str, Any], encode: Any) -> dict[str, Any] | None:
    """Read a clip; return the inputs of the head, or None if no frame can be decoded."""
    times, fps = read_times(path)
    if not len(times):
        return None
    times -= times[0]
    sampling: Any = SimpleNamespace(**config["sampling"])
    moments = plan_at(times, fps, sampling, config["views"])  # (V, T)
    shown, pictured = np.unique(every_second(moments), return_inverse=True)
    moved, places = np.unique(moments, return_inverse=True)
    second = [neighbour(times, i, motion.FLOW_SECONDS, fps) for i in moved.tolist()]
    pairs = np.sort(np.stack([moved, second], axis=1), axis=1)
    capture, squares, greys = cv2.VideoCapture(path), {}, {}
    for i in range(len(times)):
        capture.grab()
        if i in shown or i in pairs:
            image: Any = capture.retrieve()[1]
            size, shape = config["encoder"]["size"], image.shape[1::-1]
            how = cv2.INTER_AREA if size <= min(shape) else cv2.INTER_LINEAR
            squares[i] = cv2.resize(image, (size, size), interpolation=how)[..., ::-1]
            small = [max(1, round(side * min(1, motion.FLOW_SIZE / max(shape)))) for side in shape]
            greys[i] = motion.small_grey(image, *small)
    inputs, sides = {}, 1 + config["mirror"]
    if "rgb" in config["streams"]:
        plain = encode({"pictures": np.stack([squares[i] for i in shown])})[0][pictured]
        plain = plain.reshape(len(moments), -1, plain.shape[-1])
        inputs["rgb"] = np.repeat(plain, sides, axis=0)
    if "motion" in config["streams"]:
        stacked = np.array([[greys[i] for i in pair] for pair in pairs.tolist()])
        plain = motion.describe(stacked, np.diff(times[pairs])[:, 0])[places]
        plain = plain.reshape(*moments.shape, -1)
        both = np.stack([plain, motion.mirror(plain)][:sides], axis=1)
        inputs["motion"] = both.reshape(-1, *plain.shape[1:])
    masks = {f"{name}_mask": np.ones((1, value.shape[1]), bool) for name, value in inputs.items()}
    return {n: v[None].astype(np.float16).astype(np.float32) for n, v in inputs.items()} | masks


def main() -> None:
    """Print a row for each clip."""
    model = json.loads(Path(__file__).with_name("model.json").read_text(encoding="utf-8"))
    config, unknown = model["config"], model["preprocessing"]["unknown"]
    encode, classify = load("encoder") if "rgb" in config["streams"] else None, load("head")
    for path in sys.argv[1:]:
        features = read_features(path, config, encode)
        if features is None:
            print(path, "", "", "no_frames", sep="\t")
            continue
        scores, novelty = (output[0] for output in classify(features))
        label = config["classes"][scores.argmax()]
        known = label.lower() not in unknown["classes"] and novelty <= unknown["novelty_above"]
        print(path, label if known else "", f"{scores.max():.4f}", sep="\t")


if __name__ == "__main__":
    main()
