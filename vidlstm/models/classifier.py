"""Streams -> branches -> logits.

A branch is one way to read a sequence stream: standardise, project, read with a head, classify. Branches
share no weights, and each is trained with its own loss. Their log-probabilities are added with weights
fitted on held-out clips (late fusion). So a wide or easily overfitted stream cannot dominate another one,
which happened with plain concatenation (measured).

The `rgb` stream of a video has two branches, because a frame shows mostly the scene and little of the
motion: `appearance` averages over the frames, and `change` reads, in order, how each frame differs from the
clip's mean, which removes the scene. With `--head mean` only `appearance` remains.

Actions such as a punch often last only a moment, so `pose` is summarised by attention over the steps, not by
the last output. On UT-Interaction across scenes, seeds 0 to 2, with the branch retrained: accuracy 0.936
instead of 0.911, log loss 0.22 instead of 0.27. It was the best of five variants there, so the true gain is
probably smaller; on spans of films it makes no difference.

Every branch has several members (bagging, Breiman 1996): each leaves out a different part of the training
groups, and their log-probabilities are averaged. All members are computed together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, HeadConfig, ModelConfig, StreamName
from vidlstm.models.heads import MeanHead, build_head, masked_mean
from vidlstm.models.members import LayerNorm, Linear, RowDropout, Standardise
from vidlstm.models.novelty import Novelty


@dataclass(frozen=True)
class BranchSpec:
    """One way to read a sequence stream.

    Args:
        name: Name of the branch.
        stream: The stream that it reads.
        head: The head.
        centred: First subtract the clip's mean over its steps.
        one_scale: Standardise with a single standard deviation for all features, which keeps their
            proportions.
        rooted: First take the signed square root of the features, which reduces large ones (power
            normalisation: Perronnin et al. 2010).
        fixed: Standardise with the statistics of the training clips. False if the encoder is trained, as
            its features change.
        joined: Summary streams that are joined to the head's summary before the classifier.
        gated: The stream's last feature is the confidence in the others, 0 to 1. The logits are multiplied
            by its mean over the steps, so that a clip without information in this stream favours no class,
            and the other branches decide.
    """

    name: str
    stream: StreamName
    head: HeadConfig
    centred: bool = False
    one_scale: bool = False
    rooted: bool = False
    fixed: bool = True
    joined: tuple[StreamName, ...] = ()
    gated: bool = False


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
            head = config.head
            if stream == "pose" and head.summary == "last":
                head = replace(head, summary="attention")
            specs.append(BranchSpec(stream, stream, head, joined=takes, gated=stream == "pose"))
    return tuple(specs)


class _Gated(nn.Module):
    """Multiply logits by the last element of their input vectors."""

    def __init__(self, classify: nn.Module) -> None:
        super().__init__()
        self.classify = classify

    def forward(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.classify(vectors[..., :-1]) * vectors[..., -1:]
        return logits


class Branch(nn.Module):
    """One branch, for all members: from a stream's vectors to logits."""

    def __init__(self, members: int, spec: BranchSpec, widths: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        head = spec.head
        self.spec = spec
        self.members = members
        self.standardise = Standardise(members, widths[spec.stream])
        self.project: nn.Module = RowDropout(head.dropout)
        if head.projection:
            self.project = nn.Sequential(
                Linear(members, widths[spec.stream], head.projection),
                LayerNorm(members, head.projection),
                RowDropout(head.dropout / 2),
            )
        self.head = build_head(members, head.projection or widths[spec.stream], head)
        self.join = nn.ModuleDict(
            {
                name: nn.Sequential(
                    Standardise(members, widths[name]),
                    Linear(members, widths[name], head.hidden),
                    LayerNorm(members, head.hidden),
                )
                for name in spec.joined
            }
        )
        width = self.head.width + head.hidden * len(spec.joined)
        self.classify: nn.Module = nn.Sequential(
            RowDropout(head.dropout), Linear(members, width, num_classes)
        )
        self.width = width
        if spec.gated:
            self.classify, self.width = _Gated(self.classify), width + 1

    def prepare(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Apply the square root and the centring of the spec to features `(M, B, T, D)`."""
        if self.spec.rooted:
            steps = steps.sign() * steps.abs().sqrt()
        return steps - masked_mean(steps, mask).unsqueeze(-2) if self.spec.centred else steps

    def forward(self, steps: Tensor, mask: Tensor, summaries: Mapping[str, Tensor]) -> Tensor:
        """Map `(M, B, T, D)`, its mask `(M, B, T)` and the joined `(M, B, D')` to logits `(M, B, K)`."""
        logits: Tensor = self.classify(self.describe(steps, mask, summaries))
        return logits

    def describe(self, steps: Tensor, mask: Tensor, summaries: Mapping[str, Tensor]) -> Tensor:
        """Return the input of `classify`, `(M, B, width)`; arguments as for `forward`."""
        summary = self.head(self.project(self.standardise(self.prepare(steps, mask))), mask)
        parts = [summary, *(layers(summaries[name]) for name, layers in self.join.items())]
        if self.spec.gated:
            parts.append(masked_mean(steps[..., -1:], mask).expand(*summary.shape[:-1], 1))
        return torch.cat(parts, dim=-1)

    def parameters_of(self, member: int) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters that hold all members, and those of this member only."""
        if isinstance(self.head, MeanHead):
            return [*self.parameters()], []
        separate = {id(parameter) for parameter in self.head.rnns.parameters()}
        shared = [p for p in self.parameters() if id(p) not in separate]
        return shared, [*self.head.rnns[member].parameters()]


class Classifier(nn.Module):
    """All branches of all members, and their fusion.

    Args:
        config: Streams, head, classes, members.
        widths: D of every stream.
    """

    fusion: Tensor
    temperature: Tensor
    floor: Tensor

    def __init__(self, config: ModelConfig, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.specs = branch_specs(config)
        self.members = config.members
        self.branch = nn.ModuleList(
            Branch(config.members, spec, widths, len(config.classes)) for spec in self.specs
        )
        self.register_buffer("fusion", torch.full((len(self.specs),), 1 / len(self.specs)))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("floor", torch.zeros(()))
        self.novelty = Novelty(config.members, [b.width for b in self.branches], len(config.classes))

    @property
    def branches(self) -> list[Branch]:
        """The branches, in the order of the fusion weights."""
        return [branch for branch in self.branch if isinstance(branch, Branch)]

    def branch_weights(self) -> dict[str, float]:
        """Return the fusion weight of each branch, by name."""
        return {spec.name: w for spec, w in zip(self.specs, self.fusion.tolist(), strict=True)}

    def remove(self, stream: StreamName) -> None:
        """Remove the branches of a stream; fusion and novelty of the others have to be fitted again."""
        kept = [i for i, spec in enumerate(self.specs) if spec.stream != stream]
        num_classes = self.novelty.branches[0].centres.shape[1]
        device = self.fusion.device
        self.specs = tuple(self.specs[i] for i in kept)
        self.branch = nn.ModuleList(self.branch[i] for i in kept)
        self.fusion = torch.full((len(kept),), 1 / len(kept), device=device)
        self.novelty = Novelty(self.members, [b.width for b in self.branches], num_classes).to(device)

    def compute(self, rows: slice, total: int) -> None:
        """Tell the dropout layers which rows the next inputs are in a step of `total` clips."""
        for module in self.modules():
            if isinstance(module, RowDropout):
                module.rows = (rows, total)

    def logits(
        self, sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor], summaries: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the logits of every member's branches, `(S, M, B, K)`; arguments as for `describe`."""
        return self.classify(self.describe(sequences, masks, summaries))

    def describe(
        self, sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor], summaries: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return the vectors that each branch classifies, `(M, B, W)`; W differs between branches.

        Args:
            sequences: By stream, float `(M, B, T, D)`, or `(1, B, T, D)` if all members read the same.
            masks: By stream, bool `(M, B, T)`, True on real steps.
            summaries: By stream, float `(M, B, D)`.
        """
        return [
            branch.describe(sequences[branch.spec.stream], masks[branch.spec.stream], summaries)
            for branch in self.branches
        ]

    def classify(self, vectors: Sequence[Tensor]) -> Tensor:
        """Map the vectors of `describe` to the logits of every member's branches, `(S, M, B, K)`."""
        return torch.stack([branch.classify(v) for branch, v in zip(self.branches, vectors, strict=True)])

    def forward(
        self, sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor], summaries: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the log-probabilities of every branch, members averaged, `(S, B, K)`.

        Args:
            sequences: By stream, float `(B, T, D)`.
            masks: By stream, bool `(B, T)`, True on real steps.
            summaries: By stream, float `(B, D)`.
        """
        return self.read(sequences, masks, summaries)[0]

    def read(
        self, sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor], summaries: Mapping[str, Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the log-probabilities of `forward`, and the vectors they come from, for `novelty`.

        For several views of a clip, average both.

        Args:
            sequences: As for `forward`.
            masks: As for `forward`.
            summaries: As for `forward`.

        Returns:
            `(S, B, K)`, and for each branch `(M, B, W)`.
        """
        shared = ({name: x[None] for name, x in given.items()} for given in (sequences, masks, summaries))
        vectors = self.describe(*shared)
        return self.classify(vectors).log_softmax(-1).mean(1).log_softmax(-1), vectors

    def fuse(self, log_probabilities: Tensor) -> Tensor:
        """Fuse the branches' `(S, B, K)` into the calibrated logits `(B, K)` of the model."""
        return fuse(log_probabilities, self.fusion, self.temperature, self.floor)


def fuse(log_probabilities: Tensor, weights: Tensor, temperature: Tensor, floor: Tensor) -> Tensor:
    """Fuse the branches into calibrated logits.

    Takes the softmax of ``sum_s w_s log p_s / t`` and spreads the share `floor` evenly over the classes: no
    score exceeds ``1 - floor (K - 1) / K``, and the order of the classes does not change.

    Args:
        log_probabilities: `(S, B, K)`.
        weights: `(S,)`, summing to 1.
        temperature: A scalar.
        floor: A scalar, 0 to below 1.

    Returns:
        Logits, `(B, K)`.
    """
    scores = ((weights.view(-1, 1, 1) * log_probabilities).sum(0) / temperature).softmax(-1)
    return ((1 - floor) * scores + floor / scores.shape[-1]).log()
