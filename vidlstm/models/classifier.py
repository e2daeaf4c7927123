"""Streams -> heads -> logits.

Every sequence stream has a branch of its own: standardised, projected, read by its head and
classified. Summary streams join the summary of the first branch before its classifier. The branches
know nothing of one another; their log-probabilities are added with fixed weights (late fusion), so
that a wide or an easily overfitted stream cannot drown another one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, ModelConfig
from vidlstm.models.heads import build_head


class Standardise(nn.Module):
    """Shift and scale each feature by the statistics of the training clips, held fixed."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Take the statistics `(D,)` of the training clips; a constant feature is left unscaled."""
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > 1e-4, 1 / std.clamp(min=1e-4), torch.ones_like(std)))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise `(..., D)`."""
        return (x - self.mean) * self.scale


class Branch(nn.Module):
    """One sequence stream from its vectors to its logits, with the summary streams that join it."""

    def __init__(self, width: int, joined: Mapping[str, int], config: ModelConfig) -> None:
        super().__init__()
        head = config.head
        self.standardise = Standardise(width)
        self.project: nn.Module = nn.Identity()
        if head.projection:
            self.project = nn.Sequential(
                nn.Dropout(head.dropout), nn.Linear(width, head.projection), nn.LayerNorm(head.projection), nn.ReLU()
            )
        self.head = build_head(head.projection or width, head)
        self.join = nn.ModuleDict(
            {
                name: nn.Sequential(Standardise(size), nn.Linear(size, head.hidden), nn.ReLU())
                for name, size in joined.items()
            }
        )
        total = self.head.width + head.hidden * len(joined)
        self.classify = nn.Sequential(nn.Dropout(head.dropout), nn.Linear(total, len(config.classes)))

    def forward(self, steps: Tensor, mask: Tensor, summaries: Mapping[str, Tensor]) -> Tensor:
        """Map `(B, T, D)`, its mask `(B, T)` and the joined `(B, D')` to logits `(B, K)`."""
        summary = self.head(self.project(self.standardise(steps)), mask)
        parts = [summary, *(layer(summaries[name]) for name, layer in self.join.items())]
        logits: Tensor = self.classify(torch.cat(parts, dim=1))
        return logits


class Classifier(nn.Module):
    """All branches and their fusion.

    Args:
        config: Streams, head, classes.
        widths: D of every stream.
    """

    fusion: Tensor
    temperature: Tensor

    def __init__(self, config: ModelConfig, widths: Mapping[str, int]) -> None:
        super().__init__()
        sequence = [s for s in SEQUENCE_STREAMS if s in config.streams]
        summary = {s: widths[s] for s in SUMMARY_STREAMS if s in config.streams}
        self.branches = nn.ModuleDict(
            {name: Branch(widths[name], summary if name == sequence[0] else {}, config) for name in sequence}
        )
        self.register_buffer("fusion", torch.full((len(sequence),), 1 / len(sequence)))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, sequences: Mapping[str, Tensor], mask: Tensor, summaries: Mapping[str, Tensor]) -> Tensor:
        """Return the logits of every branch.

        Args:
            sequences: By stream, float `(B, T, D)`.
            mask: bool `(B, T)`, True on real steps.
            summaries: By stream, float `(B, D)`.

        Returns:
            float `(S, B, K)`, branches in the order of `SEQUENCE_STREAMS`.
        """
        return torch.stack(
            [branch(sequences[name], mask, summaries) for name, branch in self.branches.items()]
        )

    def fuse(self, logits: Tensor) -> Tensor:
        """Join the branches' logits `(S, B, K)` to the calibrated logits `(B, K)` of the model."""
        weights = self.fusion.view(-1, 1, 1)
        return (weights * logits.log_softmax(-1)).sum(0) / self.temperature
