"""One training step: a batch of clips per member, with all random draws made for the whole step at once.

A step can therefore be divided among processes, or into the parts of an accumulated step, without changing
the result: the gradients of the parts add up to the gradient of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidlstm.engine.scoring import to_tensors
from vidlstm.engine.training.loop.augmentation import augment, draw_changes
from vidlstm.features.batches import Batch, Values

_EPSILON = 1e-6  # avoids division by zero for a member without a real clip in this step


def rows_of(total: int, index: int, num_parts: int, start: int = 0) -> slice:
    """Return the rows of one of `num_parts` parts of `total` rows, counted from `start`.

    The parts are consecutive, of nearly equal size, in whole pairs: clips that are mixed stay together.
    """
    pairs = (total + 1) // 2
    first, stop = (min(2 * (pairs * n // num_parts), total) for n in (index, index + 1))
    return slice(start + first, start + stop)


def align_members(
    rows: Sequence[NDArray[np.int64]], padding: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pad the members' rows of clips to equal length.

    Args:
        rows: Indices of clips for each of M members, at most B.
        padding: For each member, the clip that pads its row.

    Returns:
        The padded table, int64 `(M, B)`, and its mask, bool `(M, B)`, False for padding.
    """
    length = max(map(len, rows))
    table = np.repeat(np.array(padding)[:, None], length, axis=1)
    for padded, row in zip(table, rows, strict=True):
        padded[: len(row)] = row
    return table, np.arange(length) < np.array([len(row) for row in rows])[:, None]


@dataclass(frozen=True)
class Step:
    """The clips of one training step, B for each of M members, of which this process computes some rows.

    Args:
        sequences: By stream, float `(M, B, T, D)`, already mixed; without `rgb` if there are pixels.
        masks: By stream, bool `(M, B, T)`.
        summaries: By stream, float `(M, B, D)`, already mixed.
        labels: int64 `(M, B)`.
        real: float `(M, B)`, 0 for clips that only pad a member's row.
        rows: The rows of B that this process computes.
        shares: Mixup weight of the clip itself, by member, `(M,)`, 0 to 1.
        partners: int64 `(M, B)`, the clip that each clip is mixed with.
        pixels: uint8 `(rows, T, S, S, C)`, if the encoder is trained; there is one member then.
        changes: `(B, 11)`, random numbers for the augmentation of the pixels.
        flips: Flip half of the clips left to right.
    """

    sequences: dict[str, Tensor]
    masks: dict[str, Tensor]
    summaries: dict[str, Tensor]
    labels: Tensor
    real: Tensor
    rows: slice
    shares: Tensor
    partners: Tensor
    pixels: Tensor | None = None
    changes: Tensor | None = None
    flips: bool = False

    @staticmethod
    def draw(
        batch: Batch,
        labels: NDArray[np.int64],
        real: NDArray[np.bool_],
        rows: slice,
        mixup: float,
        rng: np.random.Generator,
        device: torch.device,
    ) -> Step:
        """Make a step with mixup of features (Zhang et al. 2018); a mix is as long as the longer clip.

        Args:
            batch: Features of all M * B clips of the step.
            labels: int64 `(M, B)`.
            real: bool `(M, B)`, False for padding, which comes last in each row.
            rows: The rows that this process computes.
            mixup: Parameter of the Beta distribution; 0: no mixup.
            rng: Source of randomness.
            device: Where the step is computed.
        """
        step = Step.plain(batch, labels, real, rows, device)
        if not mixup:
            return step
        partners = np.tile(np.arange(labels.shape[1]), (len(labels), 1))
        for row, number in zip(partners, real.sum(1).tolist(), strict=True):
            row[:number] = rng.permutation(number)
        return step.mixed(rng.beta(mixup, mixup, len(labels)), partners)

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
        """Make a step of one member whose `rgb` stream is pixels; mixup pairs neighbouring clips.

        Args:
            batch: Features of all clips of the step; of its `rgb` stream only the mask is used.
            pixels: `(rows, T, S, S, C)`.
            labels: int64 `(B,)`.
            rows: The rows that this process computes.
            mixup: Parameter of the Beta distribution; 0: no mixup.
            rng: Source of randomness.
            device: Where the step is computed.
            flips: Flip half of the clips left to right.
        """
        changes = draw_changes(len(labels))
        others = {name: values for name, values in batch.sequences.items() if name != "rgb"}
        real = np.ones((1, len(labels)), bool)
        step = Step.plain(replace(batch, sequences=others), labels[None], real, rows, device)
        if mixup:
            neighbours = np.minimum(np.arange(len(labels)) ^ 1, len(labels) - 1)
            step = step.mixed(rng.beta(mixup, mixup, 1), neighbours[None])
        return replace(step, pixels=torch.from_numpy(pixels), changes=changes, flips=flips)

    @staticmethod
    def plain(
        batch: Batch,
        labels: NDArray[np.int64],
        real: NDArray[np.bool_],
        rows: slice,
        device: torch.device,
    ) -> Step:
        """Make a step without mixup; arguments as for `draw`."""
        members, length = labels.shape
        sequences, masks, summaries = (split_members(x, members) for x in to_tensors(batch, device))
        partners = torch.arange(length).expand(members, -1)
        truth = torch.from_numpy(labels).to(device), torch.from_numpy(real).to(device).float()
        return Step(sequences, masks, summaries, *truth, rows, torch.ones(members), partners)

    def mixed(self, shares: NDArray[np.float64], partners: NDArray[np.int64]) -> Step:
        """Return the step with every clip's features mixed with its partner's.

        Args:
            shares: Mixup weight of the clip itself, by member, `(M,)`.
            partners: The clip that each clip is mixed with, `(M, B)`.
        """
        members, length = partners.shape
        places = torch.from_numpy(partners + length * np.arange(members)[:, None]).to(self.labels.device)
        share = torch.from_numpy(shares).float()

        def mix(x: Tensor) -> Tensor:
            others = x.flatten(0, 1)[places]
            return others.lerp_(x, share.to(x.device).view(-1, *(1,) * (x.ndim - 1)))

        return replace(
            self,
            sequences={name: mix(x) for name, x in self.sequences.items()},
            masks={name: mask | mask.flatten(0, 1)[places] for name, mask in self.masks.items()},
            summaries={name: mix(x) for name, x in self.summaries.items()},
            shares=share,
            partners=torch.from_numpy(partners),
        )

    @property
    def length(self) -> int:
        """Number of clips per member, B."""
        return self.labels.shape[1]

    def parts(self, number: int) -> Iterator[slice]:
        """Yield the rows of each part of an accumulated step; no part is empty."""
        count = self.rows.stop - self.rows.start
        for index in range(number):
            rows = rows_of(count, index, number, self.rows.start)
            if rows.stop > rows.start:
                yield rows

    def inputs(self, rows: slice) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Return sequences, masks and summaries of some of this process's rows.

        Augmented pixels are the `rgb` sequence of the only member, `(1, rows, T, S, S, C)`.
        """
        sequences = {name: x[:, rows] for name, x in self.sequences.items()}
        if self.pixels is not None and self.changes is not None:
            here = slice(rows.start - self.rows.start, rows.stop - self.rows.start)
            device = self.labels.device
            pixels = augment(self.pixels[here].to(device).float(), self.changes[rows], mirror=self.flips)
            share = float(self.shares)
            if share < 1:
                partners = self.partners[0, rows] - rows.start
                pixels = pixels[partners.to(device)].lerp(pixels, share)
            sequences["rgb"] = pixels.unsqueeze(0)
        masks = {name: mask[:, rows] for name, mask in self.masks.items()}
        return sequences, masks, {name: x[:, rows] for name, x in self.summaries.items()}

    def loss(self, logits: Tensor, rows: slice, weights: Tensor | None, smoothing: float) -> Tensor:
        """Return the share of some rows in each member's loss: mean cross-entropy, summed over branches.

        Args:
            logits: `(S, M, rows, K)`; the sum gives each branch of each member its own gradient.
            rows: Rows of the step.
            weights: Class weights of each member, `(M, K)`.
            smoothing: Share of the target that is spread over all classes.

        Returns:
            `(M,)`.
        """
        num_classes = logits.shape[-1]
        device = self.labels.device
        others = self.labels.gather(1, self.partners.to(device))
        own, other = (F.one_hot(labels[:, rows], num_classes).float() for labels in (self.labels, others))
        targets = other.lerp(own, self.shares.to(device).view(-1, 1, 1))
        targets = (1 - smoothing) * targets + smoothing / num_classes
        counts = self.real
        if weights is not None:
            targets = weights.unsqueeze(1) * targets
            counts = counts * weights.gather(1, self.labels)
        targets = targets * (self.real[:, rows] / counts.sum(1, keepdim=True).clamp(min=_EPSILON)).unsqueeze(
            -1
        )
        return -(targets * logits.log_softmax(-1)).sum((0, 2, 3))


def split_members(values: Mapping[str, Tensor], members: int) -> dict[str, Tensor]:
    """Reshape `(M * B, ...)` to `(M, B, ...)`."""
    return {name: x.view(members, -1, *x.shape[1:]) for name, x in values.items()}


def pad(pixels: Values, length: int) -> Values:
    """Pad `(B, T, S, S, C)` to the length of the step's longest clip, which another process may compute."""
    if pixels.shape[1] == length:
        return pixels
    padded: Values = np.zeros((len(pixels), length, *pixels.shape[2:]), pixels.dtype)
    padded[:, : pixels.shape[1]] = pixels
    return padded
