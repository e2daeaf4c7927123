"""The clips for timing: drawn once, encoded like typical files, and cached.

A textured background pans, textured discs cross it, and grain covers everything, so that the encoders have
work to do and neighbouring frames differ. The long files repeat one part: its packets are written again and
again, so that making two hours of video takes seconds.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.media.opencv import cv2

_X264 = {"preset": "veryfast", "crf": "23", "x264-params": "keyint=250:min-keyint=250:scenecut=0:open-gop=0"}
_MPEG4 = {"b": "600k", "g": "250"}
_PART_SECONDS = 25  # length of the repeated part: three whole groups of pictures at 30 frames per second


@dataclass(frozen=True)
class ClipKind:
    """A kind of file.

    Args:
        name: Name of the kind and of its files.
        codec: FFmpeg's name of the codec.
        suffix: Suffix of its files.
        width: Width in pixels.
        height: Height in pixels.
        fps: Frames per second.
        seconds: Length in seconds.
    """

    name: str
    codec: str
    suffix: str
    width: int
    height: int
    fps: int
    seconds: int

    @property
    def num_frames(self) -> int:
        """Return the number of frames."""
        return self.fps * self.seconds

    def lasting(self, seconds: int) -> ClipKind:
        """Return the same kind with another length."""
        return ClipKind(self.name, self.codec, self.suffix, self.width, self.height, self.fps, seconds)


MPEG4 = ClipKind("mpeg4", "mpeg4", ".avi", 320, 240, 25, 7)
H264 = ClipKind("h264", "libx264", ".mp4", 340, 256, 30, 10)
HD = ClipKind("hd", "libx264", ".mp4", 1280, 720, 30, 10)
LONG = HD.lasting(300)


def make_clip(root: Path, kind: ClipKind, seed: int = 0) -> Path:
    """Return a clip; draw it unless an earlier run has."""
    path = root / f"{kind.name}-{kind.seconds}s-{seed:03}{kind.suffix}"
    if path.exists():
        return path
    root.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    if kind.seconds > _PART_SECONDS:
        _repeat(make_clip(root, kind.lasting(_PART_SECONDS), seed), beside, kind)
    else:
        _encode(beside, kind, seed)
    beside.replace(path)
    return path


def make_clips(root: Path, count: int) -> list[Path]:
    """Return different clips, half MPEG-4 and half H.264."""
    kinds = [H264 if number % 2 else MPEG4 for number in range(count)]
    (root / "many").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(make_clip, [root / "many"] * count, kinds, range(count)))


def _encode(path: Path, kind: ClipKind, seed: int) -> None:
    import av

    options = _X264 if kind.codec == "libx264" else _MPEG4
    with av.open(str(path), "w", format=kind.suffix[1:]) as container:
        stream = container.add_stream(kind.codec, rate=kind.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = kind.width, kind.height, "yuv420p"
        for image in _draw(kind, seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def _draw(kind: ClipKind, seed: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    width, height = kind.width, kind.height
    ground = _texture(rng, width * 3 // 2, height * 3 // 2)
    grain = rng.normal(0, 4, (2 * height, 2 * width, 1)).astype(np.float32)
    radius = height // 6
    discs = [_texture(rng, 2 * radius, 2 * radius) for _ in range(3)]
    inside = np.hypot(*np.mgrid[-radius:radius, -radius:radius]) < radius
    phases, speeds = rng.random((2, 3, 2)) * 6, rng.uniform(0.5, 2, (2, 3, 2))
    for number in range(kind.num_frames):
        t = number / kind.fps
        left, top = (
            int((0.5 + 0.5 * np.sin(0.7 * t + shift)) * span)
            for shift, span in ((0, width // 2), (2, height // 2))
        )
        image = ground[top : top + height, left : left + width].copy()
        for disc, phase, speed in zip(discs, phases[0], speeds[0], strict=True):
            x, y = (0.5 + 0.5 * np.sin(speed * t + phase)) * (width - 2 * radius, height - 2 * radius)
            spot = image[int(y) : int(y) + 2 * radius, int(x) : int(x) + 2 * radius]
            spot[inside] = disc[inside]
        down, right = rng.integers(height), rng.integers(width)
        image += grain[down : down + height, right : right + width]
        yield np.clip(image, 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """Return smooth colours with finer ones on top, `(height, width, 3)`."""
    layers = [
        cv2.resize(
            rng.uniform(0, scale, (*cells, 3)).astype(np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        for scale, cells in ((160.0, (6, 8)), (60.0, (24, 32)), (25.0, (90, 120)))
    ]
    return np.asarray(sum(layers), np.float32)


def _repeat(part: Path, path: Path, kind: ClipKind) -> None:
    """Write the packets of `part` again and again, until the length is reached."""
    import av

    with av.open(str(part)) as source, av.open(str(path), "w", format=kind.suffix[1:]) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.pts is not None]
        step = Fraction(1, kind.fps) / stream.time_base
        begun = 0
        while begun < kind.num_frames:
            shift = int(begun * step)
            for packet in packets[: kind.num_frames - begun]:
                again = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts + shift, packet.dts + shift
                again.time_base, again.is_keyframe, again.stream = packet.time_base, packet.is_keyframe, copy
                target.mux(again)
            begun += len(packets)
