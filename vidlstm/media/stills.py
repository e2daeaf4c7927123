"""Read single frames of a film at given times: for thumbnails, not for features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vidlstm.media.sampling import known_fps
from vidlstm.media.video.base import Image
from vidlstm.media.video.open import open_video


def stills(path: Path, times: Sequence[float]) -> Iterator[Image]:
    """Yield the first frame at or after each time, RGB `(H, W, 3)`; none past the end.

    Args:
        path: The film.
        times: Times in seconds since the first frame, ascending.

    Raises:
        InputError: The film cannot be read, or not beyond this point.
    """
    with open_video(path, num_threads=1) as video:  # several threads would raise a DoubtError at damage
        half = 0.5 / known_fps(video.info.fps)
        for time in times:
            if not video.reach(time - half):
                return
            yield np.ascontiguousarray(video.image()[..., ::-1])
