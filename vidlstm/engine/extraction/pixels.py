"""Read pixels for training the encoder, again in every epoch, in parallel with training.

The decoded clips of a real data set do not fit in memory. The decoders work a small window ahead, so a step
rarely waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.errors import DataError
from vidlstm.features.batches import ClipFeatures


class PixelReader:
    """Reads clips as pixels.

    Args:
        extractor: For the `rgb` stream only, without an encoder and without a store.
        paths: Path of every clip.
    """

    def __init__(self, extractor: Extractor, paths: Sequence[Path]) -> None:
        self.extractor = extractor
        self.paths = paths

    def read(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[list[ClipFeatures]]:
        """Yield the pixels of each batch's clips.

        Raises:
            DataError: A clip that could be read before can no longer be read.
        """
        results = self.extractor.extract(self.paths[i] for batch in batches for i in batch)
        for batch in batches:
            clips = []
            for _ in batch:
                extracted = next(results)
                if extracted.features is None:
                    why = extracted.problem.message if extracted.problem else ""
                    raise DataError(
                        f"{extracted.path}: could be read when training started, but not now ({why}); "
                        "restore it and continue with `resume`"
                    )
                clips.append(extracted.features)
            yield clips
