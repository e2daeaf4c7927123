"""The plain script: a decoder, a CNN, optical flow and an LSTM, as anybody could write it in half an hour.

    python -m tests.benchmarks.speed.script MODEL torchcodec|decord|opencv < names

It reads one clip after another, encodes its frames in float32 with torch, describes the optical flow of its
frame pairs with our function, and labels it with the LSTM. It uses the weights of one of our models and the
same frames, so it gives the same labels.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidlstm.engine.scoring import score_clips
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.media.descriptors import motion
from vidlstm.media.sampling import every_second, neighbour, plan
from vidlstm.models.checkpoint import Model, load_model


class Torchcodec:
    """A file opened as in torchcodec's documentation."""

    def __init__(self, path: str) -> None:
        from torchcodec.decoders import VideoDecoder

        self._decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=0)
        self.num_frames = len(self._decoder)
        self.fps = float(self._decoder.metadata.average_fps)

    def frames(self, indices: list[int]) -> Any:
        """Return RGB frames `(T, H, W, 3)`."""
        return self._decoder.get_frames_at(indices).data.numpy()


class Decord:
    """A file opened as in decord's documentation."""

    def __init__(self, path: str) -> None:
        import decord

        self._reader = decord.VideoReader(path)
        self.num_frames = len(self._reader)
        self.fps = float(self._reader.get_avg_fps())

    def frames(self, indices: list[int]) -> Any:
        """Return RGB frames `(T, H, W, 3)`."""
        return self._reader.get_batch(indices).asnumpy()


class OpenCv:
    """A file read from its start to the last requested frame."""

    def __init__(self, path: str) -> None:
        self._capture = cv2.VideoCapture(path)
        self.num_frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))

    def frames(self, indices: list[int]) -> Any:
        """Return RGB frames `(T, H, W, 3)`."""
        images = [self._capture.read()[1][..., ::-1] for _ in range(max(indices) + 1)]
        return np.stack([images[i] for i in indices])


READERS: dict[str, type[Torchcodec] | type[Decord] | type[OpenCv]] = {
    "torchcodec": Torchcodec,
    "decord": Decord,
    "opencv": OpenCv,
}


def label(model: Model, video: Torchcodec | Decord | OpenCv) -> NDArray[np.float64]:
    """Return the scores of a clip, `(K,)`."""
    config = model.config
    table = plan(video.num_frames, video.fps, config.sampling, config.views)
    shown = every_second(table)
    first, places = np.unique(table, return_inverse=True)
    times = np.arange(video.num_frames) / video.fps
    pairs = np.zeros((0, 2), int)
    if "motion" in config.streams:
        second = [neighbour(times, i, motion.FLOW_SECONDS, video.fps) for i in first.tolist()]
        pairs = np.sort(np.stack([first, second], axis=1), axis=1)
    wanted = np.unique(np.concatenate([shown.ravel(), pairs.ravel()]))
    frames = dict(zip(wanted.tolist(), video.frames(wanted.tolist()), strict=True))
    sequences: dict[str, Values] = {"rgb": _encode(model, frames, shown)[None]}
    if "motion" in config.streams:
        greys = {i: _grey(frames[i]) for i in np.unique(pairs).tolist()}
        stacked = np.array([[greys[i] for i in pair] for pair in pairs.tolist()])
        steps = motion.describe(stacked, np.diff(times[pairs])[:, 0])[places.reshape(table.shape)]
        copies = [steps, motion.mirror(steps)] if config.mirror else [steps]
        sequences["motion"] = np.stack(copies).astype(np.float16)
    scores: NDArray[np.float64] = score_clips(model, [ClipFeatures(sequences, {})])[0]
    return scores


def _encode(model: Model, frames: Mapping[int, Any], shown: NDArray[np.int64]) -> Values:
    """Return the CNN's features `(V, T, D)` of the frames shown, `(V, T)`."""
    assert model.encoder is not None
    moments, places = np.unique(shown, return_inverse=True)
    side = model.config.encoder.size
    small = [cv2.resize(frames[i], (side, side), interpolation=cv2.INTER_AREA) for i in moments.tolist()]
    pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()
    with torch.inference_mode():
        features: Values = model.encoder(pixels).to(torch.float16).numpy()[places.reshape(shown.shape)]
    return features


def _grey(frame: Any) -> Any:
    """Return the small grey picture of an RGB frame."""
    shape = frame.shape[1::-1]
    width, height = (max(1, round(side * min(1, motion.FLOW_SIZE / max(shape)))) for side in shape)
    return motion.small_grey(frame[..., ::-1], width, height)


def main() -> None:
    """Label the files named on standard input, one JSON row each."""
    model = load_model(Path(sys.argv[1]))
    reader = READERS[sys.argv[2]]
    for line in sys.stdin:
        path = line.rstrip("\n")
        scores = label(model, reader(path))
        row = dict(zip(model.config.classes, scores.tolist(), strict=True))
        print(json.dumps({"path": path, "label": model.config.classes[int(scores.argmax())], "scores": row}))


if __name__ == "__main__":
    main()
