"""Tiny lossless clips of a bright square that rises or sinks, slightly different for each performer."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, NUM_FRAMES = 64, 48, 12


def write_action(path: Path, action: str, performer: int) -> Path:
    """Write a lossless clip of `rise` or `sink`: 12 frames at 12 per second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([performer, action == "rise"])
    ground = cv2.resize(rng.integers(0, 120, (6, 8, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    left = int(rng.integers(8, WIDTH - 24))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 12, (WIDTH, HEIGHT))
    assert writer.isOpened(), "this OpenCV cannot write FFV1"
    for number in range(NUM_FRAMES):
        top = 2 + 2 * number + int(rng.integers(2))
        if action == "rise":
            top = HEIGHT - 16 - top
        frame = ground.copy()
        frame[top : top + 14, left : left + 14] = 200 + performer % 50
        frame[top + 4 : top + 9, left + 4 : left + 9] = 30
        writer.write(frame)
    writer.release()
    return path
