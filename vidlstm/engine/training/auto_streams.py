"""`streams=auto`: the default streams, and `pose` if it is installed and helps on this data.

Branches share no weights, so the model is trained with `pose`, and its out-of-fold predictions are fused with
and without that branch. If the branch does not help by more than chance, it is removed: the model, and every
prediction, is then that of the default streams.

Both fusions are fitted on three quarters of the groups and compared on the fourth, in turn, so that the
fusion with one more weight has no advantage. They are compared by log loss, which is more informative on few
clips than the labels, with Fisher's randomisation test, one-sided, over groups, as clips of one recording are
not independent.

Measured in every fold of cross-validations (seeds 0 to 2), with the change of top-1 on clips that were not
used for the choice: UT-Interaction leaving one sequence out (seed 0): `pose` is kept in 20 of 20 folds, +3.3
points; across scenes: in 5 of 6, +9.7; spans of thermal recordings: in none of 15, where it would cost 0.6.
McNemar's exact test on the labels would keep it in 3 of 20, 2 of 6 and none of 15. On `sample_videos`, where
`rgb+motion` makes no mistake, it is kept in none of 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, Kind, ModelConfig, TrainConfig
from vidlstm.data.samples import Dataset
from vidlstm.engine.extraction.pose_networks import require_networks
from vidlstm.engine.training.loop.fusion import fit_fusion
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.errors import VidlstmError
from vidlstm.evaluations import PoseChoice
from vidlstm.metrics.intervals import sign_flip
from vidlstm.models.checkpoint import Model
from vidlstm.models.classifier import fuse
from vidlstm.settings import AUTO, ModelSettings

_LEVEL = 0.05
_FOLDS = 4
_MIN_GROUPS = 8
"""With fewer groups hardly any result can be significant, so clips are compared instead."""


def configure(
    settings: ModelSettings, kind: Kind, classes: tuple[str, ...], earlier: ModelConfig | None = None
) -> tuple[ModelConfig, str]:
    """Return the complete model config; with `streams=auto` it has `pose` if that can be computed.

    Args:
        settings: The model's settings.
        kind: Kind of the data.
        classes: Classes of the data.
        earlier: Source of the settings that were not given.

    Returns:
        The config, and why `streams=auto` leaves out `pose`; empty if it does not.

    Raises:
        VidlstmError: A setting is invalid, or the networks of the `pose` stream, whose path was given,
            cannot be used.
    """
    config = settings.configure(kind, classes, earlier)
    if settings.streams != AUTO or kind != "video" or "pose" in config.streams:
        return config, ""
    try:
        require_networks(settings, ("pose",))
    except VidlstmError as error:
        if settings.pose_weights is not None:
            raise
        return config, str(error)
    known = SEQUENCE_STREAMS + SUMMARY_STREAMS
    return config.changed(streams=tuple(s for s in known if s in (*config.streams, "pose"))), ""


def with_choice(training: TrainConfig, settings: ModelSettings, config: ModelConfig) -> TrainConfig:
    """Return the training config; `auto_streams` is set for `streams=auto`, and cleared for named streams."""
    if settings.streams is None:
        return training
    return replace(training, auto_streams=settings.streams == AUTO and "pose" in config.streams)


def choose_streams(model: Model, trainer: Trainer, dataset: Dataset) -> PoseChoice:
    """Remove the `pose` stream from a trained model unless it helps by more than chance.

    Args:
        model: The trained model, changed in place.
        trainer: Its trainer, which has finished.
        dataset: The samples, for their groups.
    """
    pose = [spec.stream == "pose" for spec in trainer.classifier.specs]
    indices = trainer.held_out
    groups = [dataset.samples[i].group for i in indices]
    if len(indices):
        scores = trainer.held_out_scores(trainer.views)
        choice = compare(scores, trainer.held_out_labels, groups, np.array(pose), indices)
    else:
        choice = PoseChoice(0, 0, 0, 0.0, 0.0, 1.0, kept=False)
    if not choice.kept:
        model.remove("pose")
        trainer.calibrate()
    return choice


def compare(
    scores: Tensor,
    labels: Tensor,
    groups: Sequence[str],
    optional: NDArray[np.bool_],
    indices: NDArray[np.int64] | None = None,
) -> PoseChoice:
    """Compare the fusion of all branches with that of the branches that are not optional.

    A clip that several members hold out is one piece of evidence, with the mean of their gains.

    Args:
        scores: Log-probabilities of every branch on held-out clips, `(S, N, K)`, N at least 1.
        labels: int64 `(N,)`.
        groups: Group of each clip.
        optional: Which branches are optional, bool `(S,)`.
        indices: Number of each clip, int64 `(N,)`, the same for a clip that several members hold out;
            default: all are different.
    """
    given = np.arange(len(groups)) if indices is None else indices
    _, first, rank = np.unique(given, return_index=True, return_inverse=True)
    clips = first.argsort().argsort()[rank]  # numbered in the order of the rows
    share = 1 / np.bincount(clips)[clips]
    numbers = np.unique(groups, return_inverse=True)[1]
    if numbers.max() + 1 < _MIN_GROUPS:
        numbers = clips
    loss, hit = _out_of_fold(scores, labels, numbers, clips)
    loss_without, hit_without = _out_of_fold(scores[torch.from_numpy(~optional)], labels, numbers, clips)
    gains = share * (loss_without - loss)
    p = sign_flip(np.bincount(numbers, weights=gains).astype(np.float64))
    number = int(clips.max()) + 1
    return PoseChoice(
        number,
        round(float((share * hit).sum())),
        round(float((share * hit_without).sum())),
        float((share * loss).sum() / number),
        float((share * loss_without).sum() / number),
        p,
        kept=p < _LEVEL,
    )


def _out_of_fold(
    scores: Tensor, labels: Tensor, groups: NDArray[np.int64], clips: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the log loss of each clip, and whether it is right, by a fusion fitted on other groups."""
    loss, hit = np.zeros(len(labels)), np.zeros(len(labels), bool)
    for fold in range(_FOLDS):
        tested = groups % _FOLDS == fold
        if not tested.any():
            continue
        fitted = tested if tested.all() else ~tested
        rows = torch.from_numpy(fitted)
        fusion = fit_fusion(scores[:, rows], labels[rows], len(np.unique(clips[fitted])))
        truth = labels[torch.from_numpy(tested)]
        logits = fuse(scores[:, torch.from_numpy(tested)], *fusion)
        loss[tested] = -logits.gather(1, truth[:, None])[:, 0].double().numpy()
        hit[tested] = (logits.argmax(1) == truth).numpy()
    return loss, hit
