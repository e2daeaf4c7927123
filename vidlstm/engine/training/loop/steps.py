"""One step of training: its clips, each member's own, with every draw made for all of them at once.

Which rows of a step are computed where (in one of several processes, in a part of an accumulated
step) then makes no difference to any of them: the gradients of the parts add up to that of the whole.
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

_LITTLE = 1e-6  # what a member without a real clip in this step divides by


def rows_of(total: int, place: int, size: int, start: int = 0) -> slice:
    """Return the rows that the `place`-th of `size` parts takes of `total` rows, counted from `start`.

    Parts are in order, and as equal as can be in pairs: two clips that are mixed stay together.
    """
    pairs = (total + 1) // 2
    first, behind = (min(2 * (pairs * n // size), total) for n in (place, place + 1))
    return slice(start + first, start + behind)


def side_by_side(
    rows: Sequence[NDArray[np.int64]], spare: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Bring the clips of each member to one table, and tell which of its places are real.

    Args:
        rows: Indices of clips for each of M members, at most B.
        spare: A clip for each member, which fills what is left of its row.

    Returns:
        `(M, B)` int64 and bool.
    """
    length = max(map(len, rows))
    table = np.repeat(np.array(spare)[:, None], length, axis=1)
    for place, own in zip(table, rows, strict=True):
        place[: len(own)] = own
    return table, np.arange(length) < np.array([len(own) for own in rows])[:, None]


@dataclass(frozen=True)
class Step:
    """The clips of one step of training, B for each of M members; this process computes some rows of each.

    Args:
        sequences: By stream, float `(M, B, T, D)`, mixed already; without `rgb` where there are pixels.
        masks: By stream, bool `(M, B, T)`.
        summaries: By stream, float `(M, B, D)`, mixed already.
        labels: int64 `(M, B)`.
        real: float `(M, B)`, 0 where a clip only fills a member's row up to the length of the others.
        rows: Of the B that are computed here.
        shares: Of itself in each clip's mix, by member, `(M,)`, 0 to 1.
        partners: int64 `(M, B)`, whom each clip is mixed with.
        pixels: uint8 `(rows, T, S, S, C)`, for an encoder that learns, which serves one member.
        changes: `(B, 11)`, what augmentation does to each clip's pixels.
        flips: Half of the clips are flipped left to right.
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
        """Mix a batch of features (mixup: Zhang et al. 2018); a mix is as long as the longer of the two.

        Args:
            batch: Of all clips of the step, M * B.
            labels: int64 `(M, B)`.
            real: bool `(M, B)`, the real clips of each row before those that fill it up.
            rows: That are computed here.
            mixup: Parameter of the Beta distribution; 0 mixes none.
            rng: Where the randomness comes from.
            device: Where it is computed.
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
        """Make a step of one member whose `rgb` stream is pixels; each clip is mixed with its neighbour.

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
        """Make a step that mixes none; arguments as for `draw`."""
        members, length = labels.shape
        sequences, masks, summaries = (members_apart(x, members) for x in to_tensors(batch, device))
        partners = torch.arange(length).expand(members, -1)
        own = torch.from_numpy(labels).to(device), torch.from_numpy(real).to(device).float()
        return Step(sequences, masks, summaries, *own, rows, torch.ones(members), partners)

    def mixed(self, shares: NDArray[np.float64], partners: NDArray[np.int64]) -> Step:
        """Return the step with every clip's features mixed with its partner's.

        Args:
            shares: Of itself, by member, `(M,)`.
            partners: `(M, B)`.
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
        """B."""
        return self.labels.shape[1]

    def parts(self, number: int) -> Iterator[slice]:
        """Yield the rows of each part that is passed through by itself; none is empty."""
        count = self.rows.stop - self.rows.start
        for place in range(number):
            rows = rows_of(count, place, number, self.rows.start)
            if rows.stop > rows.start:
                yield rows

    def inputs(self, rows: slice) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Return sequences, masks and summaries of some of the rows that are computed here.

        Pixels are the sequences `rgb` of one member, `(1, rows, T, S, S, C)`.
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
        """Return what some rows add to each member's loss: the sum over branches of their mean cross-entropy.

        Args:
            logits: `(S, M, rows, K)`; each branch of each member gets its own gradient from the sum.
            rows: Of the step.
            weights: `(M, K)`, how much each class counts for each member.
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
        targets = targets * (self.real[:, rows] / counts.sum(1, keepdim=True).clamp(min=_LITTLE)).unsqueeze(
            -1
        )
        return -(targets * logits.log_softmax(-1)).sum((0, 2, 3))


def members_apart(values: Mapping[str, Tensor], members: int) -> dict[str, Tensor]:
    """Bring `(M * B, ...)` to `(M, B, ...)`."""
    return {name: x.view(members, -1, *x.shape[1:]) for name, x in values.items()}
