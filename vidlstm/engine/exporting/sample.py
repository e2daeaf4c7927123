"""Print path, label (empty: unknown) and score of clips, like `vidlstm predict`: python predict.py CLIP...

`motion.py`, `network.py`, `resize.py` and `sampling.py` are from vidlstm.
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

from vidlstm.engine.exporting.sample_onnxruntime import load
from vidlstm.media.descriptors import motion
from vidlstm.media.resize import square
from vidlstm.media.sampling import every_second, known_fps, neighbour, plan_at

# A playlist named like a video must not open other files or addresses.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")


def read_times(path: str) -> tuple[Any, float]:
    """Return the time of each frame, in seconds from the first one, and the frame rate."""
    capture, times = cv2.VideoCapture(path), list[float]()
    fps = known_fps(capture.get(cv2.CAP_PROP_FPS))
    while capture.grab():
        seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        times.append(seconds if not times or seconds > times[-1] else times[-1] + 1 / fps)
    return np.array(times) - times[:1], fps


def read_frames(path: str, numbers: Any, reduce: Callable[[Any], Any]) -> Any:
    """Decode a clip, and return what `reduce` makes of the frames with these numbers, in their order."""
    capture, distinct, reduced = cv2.VideoCapture(path), np.unique(numbers), []
    for number in range(distinct[-1] + 1):
        capture.grab()
        if number in distinct:
            reduced.append(reduce(capture.retrieve()[1]))
    return np.stack(reduced)[np.searchsorted(distinct, numbers)]


def describe(path: str, times: Any, fps: float, config: Any, encode: Any) -> dict[str, Any]:
    """Return the inputs of the head: for each stream `(1, views, steps, width)`, and a mask."""
    moments = plan_at(times, fps, config.sampling, config.views)
    size, sides = config.encoder.size, 1 + config.mirror
    inputs = {}
    if "rgb" in config.streams:
        pictures = read_frames(path, every_second(moments), lambda image: square(image, size))
        features = encode({"pictures": pictures.reshape(-1, size, size, 3)})[0]
        inputs["rgb"] = np.repeat(features.reshape(*pictures.shape[:2], -1), sides, axis=0)
    if "motion" in config.streams:
        pairs = np.array([sorted((i, neighbour(times, i, motion.FLOW_SECONDS, fps))) for i in moments.flat])
        greys = read_frames(path, pairs, lambda i: motion.small_grey(i, *motion.small_size(i.shape)))
        plain = motion.describe(greys, np.diff(times[pairs])[:, 0]).reshape(*moments.shape, -1)
        both = np.stack([plain, motion.mirror(plain)][:sides], axis=1)
        inputs["motion"] = both.reshape(-1, *plain.shape[1:])
    masks = {f"{name}_mask": np.ones((1, value.shape[1]), bool) for name, value in inputs.items()}
    return {n: v[None].astype(np.float16).astype(np.float32) for n, v in inputs.items()} | masks


def main() -> None:
    """Print a row for each clip."""
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print("usage: predict.py CLIP ...    (video files)")
        print("Prints path, label (empty: unknown) and score, separated by tabs. Status 1: a clip failed.")
        sys.exit(0 if sys.argv[1:] else 2)
    text = Path(__file__).with_name("model.json").read_text(encoding="utf-8")
    model = json.loads(text, object_hook=lambda fields: SimpleNamespace(**fields))
    config, unknown = model.config, model.preprocessing.unknown
    encode, classify = load("encoder") if "rgb" in config.streams else None, load("head")
    status = 0
    for path in sys.argv[1:]:
        times, fps = read_times(path)
        if not len(times):
            print(path, "", "", "no_frames", sep="\t")
            status = 1
            continue
        scores, novelty = (output[0] for output in classify(describe(path, times, fps, config, encode)))
        label = config.classes[scores.argmax()]
        known = label.lower() not in unknown.classes and novelty <= unknown.novelty_above
        print(path, label if known else "", f"{scores.max():.4f}", sep="\t")
    sys.exit(status)


if __name__ == "__main__":
    main()
