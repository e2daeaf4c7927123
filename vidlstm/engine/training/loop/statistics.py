"""Statistics of the training clips: class frequencies; mean and standard deviation of the features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vidlstm.features.batches import ClipFeatures, view_batch
from vidlstm.models.classifier import Classifier
from vidlstm.models.members import Standardise


def rarity(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Return a weight per class, `(K,)`: inverse to its number of clips, 1 on average over the clips."""
    counts = np.bincount(labels, minlength=num_classes)
    weights: NDArray[np.float64] = len(labels) / np.maximum(counts, 1) / max(int((counts > 0).sum()), 1)
    return weights


def standardise(classifier: Classifier, member: int, clips: Sequence[ClipFeatures]) -> None:
    """Fit the standardisation of a member's branches to the mean and spread of its training clips."""
    batch = view_batch(clips)
    for branch in classifier.branches:
        if branch.spec.fixed:
            steps = torch.from_numpy(batch.sequences[branch.spec.stream]).float().unsqueeze(0)
            mask = torch.from_numpy(batch.masks[branch.spec.stream]).unsqueeze(0)
            rows = branch.prepare(steps, mask)[mask]
            std = rows.std(0, correction=0)
            if branch.spec.one_scale:
                std = std.square().mean().sqrt().expand_as(std)
            branch.standardise.fit(member, rows.mean(0), std)
        for name, layers in branch.join.items():
            summary = torch.from_numpy(batch.summaries[name]).float()
            assert isinstance(layers, nn.Sequential)
            assert isinstance(layers[0], Standardise)
            layers[0].fit(member, summary.mean(0), summary.std(0, correction=0))
