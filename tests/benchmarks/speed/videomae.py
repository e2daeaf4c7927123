"""A transformers video-classification pipeline with a model of VideoMAE-base's shape.

    python -m tests.benchmarks.speed.videomae < names

Random weights take the same time as trained ones. The last line gives the seconds for all files except
the first, which is the warm-up.
"""

from __future__ import annotations

import json
import sys
import time

from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor, pipeline


def main() -> None:
    """Label the files named on standard input."""
    model = VideoMAEForVideoClassification(VideoMAEConfig(num_labels=8)).eval()
    label = pipeline("video-classification", model=model, image_processor=VideoMAEImageProcessor(), device=-1)
    paths = sys.stdin.read().splitlines()
    label(paths[0])
    started = time.perf_counter()
    for path in paths[1:]:
        label(path, frame_sampling_rate=4)
    print(json.dumps({"files": len(paths) - 1, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
