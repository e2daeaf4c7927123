"""The trained networks, and what they compute for clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidlstm.engine.distributed import World
from vidlstm.engine.scoring import to_tensors
from vidlstm.engine.training.loop.encoder_training import EncoderTraining
from vidlstm.engine.training.loop.members import Part
from vidlstm.engine.training.loop.steps import align_members, split_members
from vidlstm.engine.views import View
from vidlstm.features.batches import ClipFeatures, view_batch
from vidlstm.models.classifier import Classifier
from vidlstm.models.encoders import encode_clips

_CLIPS = 64  # clips per member that are scored at once
_PIXEL_CLIPS = 8  # the same, if the encoder is trained
_CHUNK = 32  # pictures per pass through the encoder without gradients or with checkpointing


class Networks:
    """The classifier of all members and, if it is trained, the encoder.

    Args:
        classifier: On its device.
        clips: Features of every clip; None for clips that are in no part.
        parts: Training and validation clips, one part per member.
        encoder_training: How the encoder is trained; None if it is frozen.
        world: The processes of a distributed training.
        checkpointing: Recompute the encoder's activations in the backward pass.
    """

    def __init__(
        self,
        classifier: Classifier,
        clips: Sequence[ClipFeatures | None],
        parts: Sequence[Part],
        encoder_training: EncoderTraining | None,
        world: World,
        *,
        checkpointing: bool,
    ) -> None:
        self.classifier = classifier
        self.clips = clips
        self.parts = parts
        self.encoder_training = encoder_training
        self.world = world
        self.checkpointing = checkpointing
        self.modules = nn.ModuleDict({"classifier": classifier})
        if encoder_training is not None:
            self.modules["encoder"] = encoder_training.encoder
        self._device = classifier.fusion.device

    @torch.inference_mode()
    def outputs(
        self, indices: Sequence[NDArray[np.int64]], views: Sequence[View]
    ) -> list[list[tuple[Tensor, Tensor]]]:
        """Return the output of each member for its own clips, averaged over views.

        Args:
            indices: Clips of each member.
            views: Views to average.

        Returns:
            By member and clip, the branches' log-probabilities `(S, K)` and their vectors `(W,)`.
        """
        self.modules.eval()
        local = [clips[self.world.rank :: self.world.size] for clips in indices]
        outputs: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.parts]
        size = _PIXEL_CLIPS if self.encoder_training is not None else _CLIPS
        tables = [
            align_members(
                [clips[start : start + size] for clips in local], [part.train[0] for part in self.parts]
            )
            for start in range(0, max(map(len, local)), size)
        ]
        for (_, real), clips in zip(tables, self._read([table.ravel() for table, _ in tables]), strict=True):
            scores, vectors = self._average_views(clips, views)
            for member, number in enumerate(real.sum(1).tolist()):
                outputs[member] += [  # clones: pickling a view for another process would send the whole batch
                    (scores[:, member, clip].clone(), vectors[member, clip].clone()) for clip in range(number)
                ]
        return [self.world.gather(rows) for rows in outputs]

    def _average_views(self, clips: Sequence[ClipFeatures], views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Return the members' outputs for M * B clips, averaged over views.

        Returns:
            Log-probabilities `(S, M, B, K)` and the concatenated vectors of the branches, `(M, B, W)`.
        """
        members = len(self.parts)
        scores, vectors = [], []
        for view in views:
            batch = to_tensors(view_batch(clips, view.index, mirrored=view.mirrored), self._device)
            described = self.describe(*(split_members(x, members) for x in batch))
            scores.append(self.classifier.classify(described).log_softmax(-1))
            vectors.append(torch.cat(described, dim=-1))
        return torch.stack(scores).mean(0).log_softmax(-1).cpu(), torch.stack(vectors).mean(0).cpu()

    def features(self, indices: NDArray[np.int64]) -> list[ClipFeatures]:
        """Return the features of some clips."""
        return [clip for clip in (self.clips[i] for i in indices) if clip is not None]

    def _read(self, groups: Sequence[NDArray[np.int64]]) -> Iterator[list[ClipFeatures]]:
        """Yield the features of each group of clips, with pixels if the encoder is trained."""
        reader = None if self.encoder_training is None else self.encoder_training.reader
        if reader is None:
            yield from map(self.features, groups)
            return
        for group, pixels in zip(groups, reader.read(groups), strict=True):
            yield [
                replace(features, sequences={**features.sequences, **clip.sequences})
                for features, clip in zip(self.features(group), pixels, strict=True)
            ]

    def describe(
        self, sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor], summaries: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return the vectors of each branch for all members, `(M, B, W)`, from features or pixels."""
        if self.encoder_training is not None:
            steps, mask = encode_clips(self._encode, sequences["rgb"].squeeze(0), masks["rgb"].squeeze(0))
            sequences, masks = {**sequences, "rgb": steps.unsqueeze(0)}, {**masks, "rgb": mask.unsqueeze(0)}
        return self.classifier.describe(sequences, masks, summaries)

    def _encode(self, pictures: Tensor) -> Tensor:
        """Encode `(N, C, S, S)`; in chunks if no gradient is needed, or with checkpointing."""
        assert self.encoder_training is not None
        encoder = self.encoder_training.encoder
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.encoder_training.bfloat16):
            if self.checkpointing and torch.is_grad_enabled():
                encoded = [
                    checkpoint(encoder, chunk, use_reentrant=False) for chunk in torch.split(pictures, _CHUNK)
                ]
                return torch.cat(encoded).float()
            if torch.is_grad_enabled():
                return encoder(pictures).float()  # type: ignore[no-any-return]
            return torch.cat([encoder(chunk) for chunk in torch.split(pictures, _CHUNK)]).float()


def branch_scores(outputs: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> Tensor:
    """Return the branches' log-probabilities `(S, N, K)` from what `Networks.outputs` returns."""
    return torch.stack([scores for rows in outputs for scores, _ in rows], dim=1)
