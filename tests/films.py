"""Tiny lossless films of a square that rises, sinks or rests, and the table of its actions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vidlstm.records import Span

WIDTH, HEIGHT, FPS = 64, 48, 8
STORY = ("rest", "rise", "rest", "sink", "rest", "sink", "rest", "rise", "rest")
SECONDS = 3


def write_film(path: Path, performer: int, story: tuple[str, ...] = STORY) -> list[Span]:
    """Write a film in which every part of the story lasts 3 s; return its spans."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(performer)
    ground = cv2.resize(rng.integers(0, 120, (6, 8, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    left = int(rng.integers(8, WIDTH - 24))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened(), "this OpenCV cannot write FFV1"
    spans = []
    for part, action in enumerate(story):
        frames = SECONDS * FPS
        for number in range(frames):
            top = 17 if action == "rest" else 2 + round(30 * number / frames)
            if action == "rise":
                top = HEIGHT - 16 - top
            frame = ground.copy()
            frame[top : top + 14, left : left + 14] = 200 + performer % 50
            frame[top + 4 : top + 9, left + 4 : left + 9] = 30
            writer.write(frame)
        if action != "rest":
            spans.append(Span(part * SECONDS, (part + 1) * SECONDS, action))
    writer.release()
    return spans


def write_films(folder: Path, number: int, columns: str = "path,start,end,label") -> Path:
    """Write films and their `spans.csv`; return the table."""
    lines = [columns]
    for performer in range(number):
        name = f"film{performer}.avi"
        spans = write_film(folder / name, performer)
        lines += [f"{name},{s.start},{s.end},{s.label}" for s in spans]
    table = folder / "spans.csv"
    table.write_text("\n".join(lines) + "\n")
    return table
