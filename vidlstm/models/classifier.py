"""Streams -> branches -> logits.

A branch is one way to read a sequence stream: standardised, projected, read by a head, classified.
Branches share nothing and are trained each by its own loss; their log-probabilities are added with
weights fitted on clips that their members had not learned from (late fusion). So a wide or an easily
overfitted stream cannot drown another one, which plain concatenation was measured to do.

The `rgb` stream of a video has two branches, because one frame tells much of the place and little
of the movement: `appearance` averages over the frames, and `change` reads, in order, how every frame
differs from the clip's own mean, where the place has gone. `--head mean` leaves the first alone.

Every branch has several members (bagging, Breiman 1996): each leaves out another part of the
training groups, and their log-probabilities are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, HeadConfig, ModelConfig, StreamName
from vidlstm.models.heads import build_head, masked_mean


@dataclass(frozen=True)
class BranchSpec:
    """One way to read a sequence stream.

    Args:
        name: Of the branch.
        stream: That it reads.
        head: What reads it.
        centred: The clip's own mean over its steps is taken off first.
        one_scale: Standardise by one spread for all features, which keeps their proportions, in
            place of one for each.
        rooted: Take the signed square root of features first, which tames the large ones
            (power normalisation: Perronnin et al. 2010).
        fixed: Standardise by the statistics of the training clips; not where the encoder learns,
            whose features are yet to come.
        joined: Summary streams that join the head's summary before the classifier.
    """

    name: str
    stream: StreamName
    head: HeadConfig
    centred: bool = False
    one_scale: bool = False
    rooted: bool = False
    fixed: bool = True
    joined: tuple[StreamName, ...] = ()


def branch_specs(config: ModelConfig) -> tuple[BranchSpec, ...]:
    """Return the branches of a model, in the order of its fusion weights."""
    mean = replace(config.head, kind="mean")
    joined = tuple(s for s in SUMMARY_STREAMS if s in config.streams)
    specs: list[BranchSpec] = []
    for stream in (s for s in SEQUENCE_STREAMS if s in config.streams):
        if stream == "rgb" and config.encoder.name == "simple":
            specs.append(BranchSpec("rgb", stream, config.head, fixed=False, joined=joined))
        elif stream == "rgb" and config.kind == "video":
            if config.head.kind != "mean":
                change = (
                    replace(config.head, summary="mean") if config.head.summary == "last" else config.head
                )
                specs.append(BranchSpec("change", stream, change, centred=True, one_scale=True))
            specs.append(BranchSpec("appearance", stream, mean, one_scale=True, joined=joined))
        elif stream == "rgb":
            specs.append(BranchSpec("regions", stream, config.head, rooted=True, joined=joined))
            if config.head.kind != "mean":
                specs.append(BranchSpec("appearance", stream, mean, rooted=True))
        else:
            takes = joined if not any(spec.joined for spec in specs) else ()
            specs.append(BranchSpec(stream, stream, config.head, joined=takes))
    return tuple(specs)


class Standardise(nn.Module):
    """Shift and scale features by the statistics of the training clips, held fixed."""

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
        return torch.addcmul(-self.mean * self.scale, x, self.scale)


class RowDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose draws are made for all rows of a step.

    So a row is treated the same whether it is computed with all the others, in a part of an accumulated
    step, or in one of several processes.

    Args:
        share: Of the units that are dropped.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.rows: tuple[slice, int] | None = None
        """Which rows of how many come in; None: all that come in are all there are."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of `(B, ...)` while training, and scale the others up."""
        if not self.training or not self.share:
            return x
        rows, total = self.rows or (slice(None), len(x))
        kept = torch.empty(total, *x.shape[1:]).bernoulli_(1 - self.share)  # the same on every device
        return x * (kept[rows] / (1 - self.share)).to(x.device)


class Branch(nn.Module):
    """One member of one branch: from a stream's vectors to logits."""

    def __init__(self, spec: BranchSpec, widths: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        head = spec.head
        self.spec = spec
        self.standardise = Standardise(widths[spec.stream])
        self.project: nn.Module = RowDropout(head.dropout)
        if head.projection:
            self.project = nn.Sequential(
                nn.Linear(widths[spec.stream], head.projection),
                nn.LayerNorm(head.projection),
                RowDropout(head.dropout / 2),
            )
        self.head = build_head(head.projection or widths[spec.stream], head)
        self.join = nn.ModuleDict(
            {
                name: nn.Sequential(
                    Standardise(widths[name]), nn.Linear(widths[name], head.hidden), nn.LayerNorm(head.hidden)
                )
                for name in spec.joined
            }
        )
        width = self.head.width + head.hidden * len(spec.joined)
        self.classify = nn.Sequential(RowDropout(head.dropout), nn.Linear(width, num_classes))

    def prepare(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Bring features `(B, T, D)` to what is standardised: rooted, the clip's own mean taken off."""
        if self.spec.rooted:
            steps = steps.sign() * steps.abs().sqrt()
        return steps - masked_mean(steps, mask).unsqueeze(1) if self.spec.centred else steps

    def forward(self, steps: Tensor, mask: Tensor, summaries: Mapping[str, Tensor]) -> Tensor:
        """Map `(B, T, D)`, its mask `(B, T)` and the joined `(B, D')` to logits `(B, K)`."""
        summary = self.head(self.project(self.standardise(self.prepare(steps, mask))), mask)
        parts = [summary, *(layers(summaries[name]) for name, layers in self.join.items())]
        logits: Tensor = self.classify(torch.cat(parts, dim=1))
        return logits


class Classifier(nn.Module):
    """All members of all branches, and their fusion.

    Args:
        config: Streams, head, classes, members.
        widths: D of every stream.
    """

    fusion: Tensor
    temperature: Tensor

    def __init__(self, config: ModelConfig, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.specs = branch_specs(config)
        self.members = nn.ModuleList(
            nn.ModuleList(Branch(spec, widths, len(config.classes)) for spec in self.specs)
            for _ in range(config.members)
        )
        self.register_buffer("fusion", torch.full((len(self.specs),), 1 / len(self.specs)))
        self.register_buffer("temperature", torch.ones(()))

    def branches(self, member: int) -> list[Branch]:
        """Return the branches of one member."""
        chosen = self.members[member]
        return [branch for branch in chosen.children() if isinstance(branch, Branch)]

    def compute(self, member: int, rows: slice, total: int) -> None:
        """Tell a member that what comes in from now on are these rows of a step of `total`."""
        for module in self.members[member].modules():
            if isinstance(module, RowDropout):
                module.rows = (rows, total)

    def member(
        self,
        number: int,
        sequences: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        summaries: Mapping[str, Tensor],
    ) -> Tensor:
        """Return the logits of one member's branches, `(S, B, K)`.

        Args:
            number: Of the member.
            sequences: By stream, float `(B, T, D)`.
            masks: By stream, bool `(B, T)`, True on real steps.
            summaries: By stream, float `(B, D)`.
        """
        return torch.stack(
            [
                branch(sequences[branch.spec.stream], masks[branch.spec.stream], summaries)
                for branch in self.branches(number)
            ]
        )

    def forward(
        self, sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor], summaries: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the log-probabilities of every branch, members averaged: `(S, B, K)`."""
        logits = torch.stack([self.member(m, sequences, masks, summaries) for m in range(len(self.members))])
        return logits.log_softmax(-1).mean(0).log_softmax(-1)

    def fuse(self, log_probabilities: Tensor) -> Tensor:
        """Join the branches' `(S, B, K)` to the calibrated logits `(B, K)` of the model."""
        return fuse(log_probabilities, self.fusion, self.temperature)


def fuse(log_probabilities: Tensor, weights: Tensor, temperature: Tensor) -> Tensor:
    """Return the weighted sum of the branches' log-probabilities over the temperature.

    Args:
        log_probabilities: `(S, B, K)`.
        weights: `(S,)`, summing to 1.
        temperature: A scalar.

    Returns:
        Logits, `(B, K)`.
    """
    return (weights.view(-1, 1, 1) * log_probabilities).sum(0) / temperature
