"""The straightforward script: what one writes with a decoder, a CNN and an LSTM in half an hour.

    python -m tests.benchmarks.speed.script MODEL torchcodec|decord < names

Reads clip after clip, encodes its frames in float32 as torch does it by itself, and has the LSTM
label them. It takes the weights of a model of ours and looks at the same frames, so that it comes
to the same labels.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vidlstm.engine.scoring import score_clips
from vidlstm.features.batches import ClipFeatures
from vidlstm.media.sampling import every_second, plan
from vidlstm.models.checkpoint import Model, load_model


class Torchcodec:
    """A file, opened as torchcodec's documentation does it."""

    def __init__(self, path: str) -> None:
        from torchcodec.decoders import VideoDecoder

        self._decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=0)
        self.num_frames = len(self._decoder)
        self.fps = float(self._decoder.metadata.average_fps)

    def frames(self, indices: list[int]) -> Any:
        """Return RGB frames `(T, H, W, 3)`."""
        return self._decoder.get_frames_at(indices).data.numpy()


class Decord:
    """A file, opened as decord's documentation does it."""

    def __init__(self, path: str) -> None:
        import decord

        self._reader = decord.VideoReader(path)
        self.num_frames = len(self._reader)
        self.fps = float(self._reader.get_avg_fps())

    def frames(self, indices: list[int]) -> Any:
        """Return RGB frames `(T, H, W, 3)`."""
        return self._reader.get_batch(indices).asnumpy()


def label(model: Model, video: Torchcodec | Decord) -> NDArray[np.float64]:
    """Return the scores of a clip, `(K,)`."""
    assert model.encoder is not None
    config = model.config
    table = every_second(plan(video.num_frames, video.fps, config.sampling, config.views))
    moments, places = np.unique(table, return_inverse=True)
    side = config.encoder.size
    small = [
        cv2.resize(f, (side, side), interpolation=cv2.INTER_AREA) for f in video.frames(moments.tolist())
    ]
    pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()
    with torch.inference_mode():
        features = model.encoder(pixels).to(torch.float16).numpy()[places.reshape(table.shape)]
    scores: NDArray[np.float64] = score_clips(model, [ClipFeatures({"rgb": features[None]}, {})])[0]
    return scores


def main() -> None:
    """Label the files named on standard input, one JSON row each."""
    model = load_model(Path(sys.argv[1]))
    reader = Torchcodec if sys.argv[2] == "torchcodec" else Decord
    for line in sys.stdin:
        path = line.rstrip("\n")
        scores = label(model, reader(path))
        row = dict(zip(model.config.classes, scores.tolist(), strict=True))
        print(json.dumps({"path": path, "label": model.config.classes[int(scores.argmax())], "scores": row}))


if __name__ == "__main__":
    main()
