"""Synthetic clips with the frame number drawn in each frame, and the folder of real unusual files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2

OPENCV = tuple(int(part) for part in cv2.__version__.split(".")[:2])
BITS = 12
BLOCK = 8
WIDTH, HEIGHT = BITS * BLOCK, 48


def numbered_frame(number: int) -> NDArray[np.uint8]:
    """Draw a frame that shows its number as vertical bars, one per bit, white for 1."""
    bars = [(number >> bit) & 1 for bit in range(BITS)]
    row = np.repeat(np.asarray(bars, dtype=np.uint8) * 255, BLOCK)
    frame = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    frame[:] = row[None, :, None]
    return frame


def number_of(image: NDArray[np.uint8]) -> int:
    """Read the number from a frame of any size, in colour or grey."""
    grey = image if image.ndim == 2 else image.mean(axis=2)
    bars = grey.mean(axis=0).reshape(BITS, -1)
    return sum(int(bar.mean() > 127) << bit for bit, bar in enumerate(bars))


def write_video(
    path: Path, frames: Sequence[NDArray[np.uint8]], fourcc: str = "FFV1", fps: float = 25
) -> Path:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), fps, (width, height))
    assert writer.isOpened(), f"this OpenCV cannot write {fourcc}"
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def write_numbered(path: Path, num_frames: int, fourcc: str = "FFV1", fps: float = 25) -> Path:
    return write_video(path, [numbered_frame(i) for i in range(num_frames)], fourcc, fps)


def write_joined(path: Path, *shapes: tuple[int, int], num_frames: int = 50) -> Path:
    """Write transport streams after each other, of frames of these heights and widths, each frame brighter.

    The times of each begin at the same number again.
    """
    shade = 16
    with path.open("wb") as file:
        for height, width in shapes:
            part = io.BytesIO()
            with av.open(part, "w", format="mpegts") as made:
                video = made.add_stream("mpeg2video", rate=25, options={"g": "10"})
                video.width, video.height, video.pix_fmt = width, height, "yuv420p"
                for _ in range(num_frames):
                    grey = np.full((height, width, 3), shade, np.uint8)
                    made.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
                    shade += 2
                made.mux(video.encode(None))
            file.write(part.getvalue())
    return path


def lie_about_length(path: Path, claim: int) -> None:
    """Set the frame counts in the headers of an AVI file of 50 frames to `claim`."""
    content = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 16), (b"strh", 32)):
        start = content.index(chunk) + 8 + offset
        content[start : start + 4] = claim.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.fixture
def numbered(tmp_path: Path) -> Callable[..., Path]:
    """Make a lossless clip of numbered frames: `numbered(50)`, `numbered(50, "name.mkv")`."""

    def make(num_frames: int, name: str = "clip.avi", fps: float = 25) -> Path:
        return write_numbered(tmp_path / name, num_frames, fps=fps)

    return make


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lossy clip of 2000 numbered frames with a keyframe every 12 or so."""
    return write_numbered(tmp_path_factory.mktemp("long") / "long.mp4", 2000, "mp4v")


@pytest.fixture(params=["packets kept", "packets read again"])
def _kept_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read each file as a short one, whose packets are kept in memory, and as a long one."""
    if request.param == "packets read again":
        monkeypatch.setattr("vidlstm.media.video.pyav.packets._MAX_KEPT", 0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("VIDLSTM_REAL_DATA")
    if not folder:
        pytest.skip("VIDLSTM_REAL_DATA does not name the folder of real files")
    return Path(folder)
