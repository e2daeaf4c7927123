"""One step of training: its clips, with every draw made for all of them at once.

Which rows of a step are computed where (in one of several processes, in a part of an accumulated
step) then makes no difference to any of them: the gradients of the parts add up to that of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidlstm.data.loading import Batch, Values
from vidlstm.engine.augmentation import augment, draw_changes
from vidlstm.engine.evaluation import to_tensors


def rows_of(total: int, place: int, size: int, start: int = 0) -> slice:
    """Return the rows that the `place`-th of `size` parts takes of `total` rows, counted from `start`.

    Parts are in order, and as equal as can be in pairs: two clips that are mixed stay together.
    """
    pairs = (total + 1) // 2
    first, behind = (min(2 * (pairs * n // size), total) for n in (place, place + 1))
    return slice(start + first, start + behind)


@dataclass(frozen=True)
class Step:
    """The clips of one step of training, B of them, of which this process computes some rows.

    Args:
        sequences: By stream, float `(B, T, D)`, mixed already; without `rgb` where there are pixels.
        masks: By stream, bool `(B, T)`.
        summaries: By stream, float `(B, D)`, mixed already.
        labels: int64 `(B,)`.
        rows: That are computed here.
        share: Of itself in each clip's mix, 0 to 1.
        partners: int64 `(B,)`, whom each clip is mixed with.
        pixels: uint8 `(rows, T, S, S, C)`, for an encoder that learns.
        changes: `(B, 11)`, what augmentation does to each clip's pixels.
        flips: Half of the clips are flipped left to right.
    """

    sequences: dict[str, Tensor]
    masks: dict[str, Tensor]
    summaries: dict[str, Tensor]
    labels: Tensor
    rows: slice
    share: float
    partners: Tensor
    pixels: Tensor | None = None
    changes: Tensor | None = None
    flips: bool = False

    @staticmethod
    def draw(
        batch: Batch,
        labels: NDArray[np.int64],
        rows: slice,
        mixup: float,
        rng: np.random.Generator,
        device: torch.device,
    ) -> Step:
        """Mix a batch of features (mixup: Zhang et al. 2018); a mix is as long as the longer of the two.

        Args:
            batch: Of all clips of the step.
            labels: int64 `(B,)`.
            rows: That are computed here.
            mixup: Parameter of the Beta distribution; 0 mixes none.
            rng: Where the randomness comes from.
            device: Where it is computed.
        """
        sequences, masks, summaries = to_tensors(batch, device)
        step = Step(
            sequences,
            masks,
            summaries,
            torch.from_numpy(labels).to(device),
            rows,
            1.0,
            torch.arange(len(labels)),
        )
        if not mixup:
            return step
        share = float(rng.beta(mixup, mixup))
        return step.mixed(share, torch.from_numpy(rng.permutation(len(labels))))

    @staticmethod
    def draw_pixels(
        batch: Batch,
        pixels: Values,
        labels: NDArray[np.int64],
        rows: slice,
        mixup: float,
        rng: np.random.Generator,
        device: torch.device,
        *,
        flips: bool,
    ) -> Step:
        """Make a step whose `rgb` stream is pixels; each clip is mixed with its neighbour.

        Args:
            batch: Of all clips of the step; of its `rgb` stream just the mask counts.
            pixels: `(rows, T, S, S, C)`.
            labels: int64 `(B,)`.
            rows: That are computed here.
            mixup: Parameter of the Beta distribution; 0 mixes none.
            rng: Where the randomness comes from.
            device: Where it is computed.
            flips: Half of the clips are flipped left to right.
        """
        changes = draw_changes(len(labels))
        others = {name: values for name, values in batch.sequences.items() if name != "rgb"}
        step = Step.draw(replace(batch, sequences=others), labels, rows, 0.0, rng, device)
        if mixup:
            neighbours = (torch.arange(len(labels)) ^ 1).clamp(max=len(labels) - 1)
            step = step.mixed(float(rng.beta(mixup, mixup)), neighbours)
        return replace(step, pixels=torch.from_numpy(pixels), changes=changes, flips=flips)

    def mixed(self, share: float, partners: Tensor) -> Step:
        """Return the step with every clip's features mixed with its partner's."""
        return replace(
            self,
            sequences={name: x[partners].lerp(x, share) for name, x in self.sequences.items()},
            masks={name: mask | mask[partners] for name, mask in self.masks.items()},
            summaries={name: x[partners].lerp(x, share) for name, x in self.summaries.items()},
            share=share,
            partners=partners,
        )

    def parts(self, number: int) -> Iterator[slice]:
        """Yield the rows of each part that is passed through by itself; none is empty."""
        count = self.rows.stop - self.rows.start
        for place in range(number):
            rows = rows_of(count, place, number, self.rows.start)
            if rows.stop > rows.start:
                yield rows

    def inputs(self, rows: slice) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Return sequences, masks and summaries of some of the rows that are computed here."""
        sequences = {name: x[rows] for name, x in self.sequences.items()}
        if self.pixels is not None and self.changes is not None:
            here = slice(rows.start - self.rows.start, rows.stop - self.rows.start)
            device = self.labels.device
            pixels = augment(self.pixels[here].to(device).float(), self.changes[rows], mirror=self.flips)
            if self.share < 1:
                partners = self.partners[rows] - rows.start
                pixels = pixels[partners.to(device)].lerp(pixels, self.share)
            sequences["rgb"] = pixels
        masks = {name: mask[rows] for name, mask in self.masks.items()}
        return sequences, masks, {name: x[rows] for name, x in self.summaries.items()}

    def loss(self, logits: Tensor, rows: slice, weights: Tensor | None, smoothing: float) -> Tensor:
        """Return what some rows add to the step's loss: the sum over branches of their mean cross-entropy.

        Args:
            logits: `(S, rows, K)`; each branch gets its own gradient from the sum.
            rows: Of the step.
            weights: `(K,)`, how much each class counts.
            smoothing: Share of the target that is spread over all classes.
        """
        num_classes = logits.shape[-1]
        others = self.labels[self.partners.to(self.labels.device)]
        own, other = (F.one_hot(labels[rows], num_classes).float() for labels in (self.labels, others))
        targets = (1 - smoothing) * other.lerp(own, self.share) + smoothing / num_classes
        total = len(self.labels) if weights is None else weights[self.labels].sum()
        if weights is not None:
            targets = weights * targets
        return -(targets * logits.log_softmax(-1)).sum() / total
