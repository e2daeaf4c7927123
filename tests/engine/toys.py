"""Toy problems of features, small enough for training in a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vidlstm.config import HeadKind, ModelConfig, TrainConfig
from vidlstm.data.samples import Dataset, Sample
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.extraction.extractor import Extracted
from vidlstm.engine.training.loop.members import Part
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.views import views_of
from vidlstm.errors import FailureCode
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.classifier import Classifier
from vidlstm.records import ClipInfo, Problem

WIDTHS = {"motion": 6}
QUICK = TrainConfig(epochs=4, batch_size=8, warmup_epochs=1)


def features(values: NDArray[np.float32]) -> ClipFeatures:
    """Make a clip with one view of `(T, D)`, without the mirrored clip."""
    return ClipFeatures({"motion": values[None, None].astype(np.float16)}, {})


def ordered(num_clips: int, seed: int = 0) -> tuple[list[ClipFeatures], NDArray[np.int64]]:
    """Make clips of two classes that differ only in the order of their steps.

    A clip moves in one direction, and class 1 is reversed: each clip of class 1 has the steps of the clip
    of class 0 before it in reverse order.
    """
    rng = np.random.default_rng(seed)
    way = np.random.default_rng(99).normal(size=6)
    clips = []
    for _ in range(num_clips // 2):
        steps = int(rng.integers(6, 11))
        there = np.linspace(-1, 1, steps)[:, None] * way + rng.normal(scale=0.4, size=(steps, 6))
        clips += [features(there.astype(np.float32)), features(there[::-1].astype(np.float32))]
    return clips, np.arange(num_clips) % 2


def shaped(
    num_clips: int, num_classes: int = 2, seed: int = 0
) -> tuple[list[ClipFeatures], NDArray[np.int64]]:
    """Make noisy clips whose class can be recognised from any step."""
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(7).normal(size=(num_classes, 6))
    labels = np.arange(num_clips) % num_classes
    clips = [
        features((places[c] + rng.normal(scale=0.8, size=(rng.integers(3, 8), 6))).astype(np.float32))
        for c in labels
    ]
    return clips, labels.astype(np.int64)


def model_config(head: HeadKind = "lstm", members: int = 2, num_classes: int = 2) -> ModelConfig:
    classes = tuple("abcdefgh"[:num_classes])
    config = ModelConfig("video", classes, ("motion",), views=1, mirror=False, members=members)
    return config.changed(head={"kind": head, "hidden": 12, "projection": 0, "dropout": 0.2})


def make_trainer(
    clips: Sequence[ClipFeatures | None],
    labels: NDArray[np.int64],
    parts: Sequence[Part] | None = None,
    *,
    config: TrainConfig = QUICK,
    head: HeadKind = "lstm",
    num_classes: int = 2,
    device: str = "cpu",
) -> Trainer:
    """Return a trainer with weights from the config's seed, and one member per part."""
    if parts is None:
        everything = np.arange(len(clips))
        parts = [Part(everything[everything % 3 != n], everything[everything % 3 == n]) for n in range(2)]
    model = model_config(head, len(parts), num_classes)
    torch.manual_seed(config.seed)
    classifier = Classifier(model, WIDTHS).to(device)
    return Trainer(
        classifier, clips, labels, parts, config, mix_views=True, views=views_of(model), mirror=False
    )


def extracted(
    clips: Sequence[ClipFeatures | None], labels: NDArray[np.int64], groups: Sequence[str]
) -> Clips:
    """Combine clips with samples; None is a clip that could not be read."""
    samples = tuple(
        Sample(Path(f"/data/{i:03}.mp4"), "abcdefgh"[label], group)
        for i, (label, group) in enumerate(zip(labels, groups, strict=True))
    )
    info = ClipInfo(20, 1.0, 64, 48)
    problem = Problem(FailureCode.NOT_A_VIDEO, "is not a video")
    results = tuple(
        Extracted(sample.path, clip, info if clip else None, None if clip else problem)
        for sample, clip in zip(samples, clips, strict=True)
    )
    classes = tuple(sorted({sample.label for sample in samples}))
    return Clips(Dataset(Path("/data"), "video", samples, classes, "Groups were given.", "toy"), results)
