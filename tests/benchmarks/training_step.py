"""The cost of an epoch: members together or one after another, and two ways to clip gradients.

    python -m tests.benchmarks.training_step [--rounds 5]

Prints CPU seconds per epoch of the default video model (four members, 114 clips of random features, one
thread). Every round measures each way in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.engine.training.loop.members import Part
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.views import views_of
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.checkpoint import build_model

WIDTHS = {"rgb": 1280, "motion": 260}
CLIPS, CLASSES, MEMBERS, EPOCHS = 114, 6, 4, 4
CLIP = "vidlstm.engine.training.loop.trainer.clip"

CONFIG = ModelConfig.default("video", tuple("abcdef"))


def make_trainer(members: Sequence[int]) -> Trainer:
    """Return a trainer for these members, on random features."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    shape = (2, CONFIG.views, CONFIG.sampling.num_frames)
    clips = [
        ClipFeatures(
            {name: rng.normal(size=(*shape, width)).astype(np.float16) for name, width in WIDTHS.items()}, {}
        )
        for _ in range(CLIPS)
    ]
    every = np.arange(CLIPS)
    parts = [Part(np.setdiff1d(every, every[member::MEMBERS]), every[member::MEMBERS]) for member in members]
    config = replace(CONFIG, members=len(members))
    return Trainer(
        build_model(config, WIDTHS, None).classifier,
        clips,
        every % CLASSES,
        parts,
        replace(TrainConfig.default(config), patience=0),
        mix_views=True,
        views=views_of(config),
        mirror=config.mirror,
    )


def cpu_seconds(trainers: Sequence[Trainer]) -> float:
    """Return the CPU seconds of an epoch of all trainers, except the first epoch."""
    runs = [trainer.run() for trainer in trainers]
    for run in runs:
        next(run)
    started = time.process_time()
    for run in runs:
        for _ in range(EPOCHS):
            next(run)
    return (time.process_time() - started) / EPOCHS


def clip_by_torch(gradients: list[Tensor], most: float) -> None:
    """Clip with `torch.nn.utils.clip_grad_norm_`, which takes parameters."""
    parameters = [nn.Parameter(torch.empty_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    nn.utils.clip_grad_norm_(parameters, most)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    torch.set_num_threads(1)
    together = range(MEMBERS)
    ways: dict[str, Callable[[], float]] = {
        "members together": lambda: cpu_seconds([make_trainer(together)]),
        "members one after another": lambda: cpu_seconds([make_trainer([member]) for member in together]),
        "clip_grad_norm_": lambda: _clipped(clip_by_torch),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(parser.parse_args().rounds):
        for name, measure in ways.items():
            found[name].append(measure())
    for name, seconds in found.items():
        print(f"{name:28} median {median(seconds):.3f} s, {min(seconds):.3f} to {max(seconds):.3f}")


def _clipped(clip: Callable[[list[Tensor], float], None]) -> float:
    with patch(CLIP, clip):
        return cpu_seconds([make_trainer(range(MEMBERS))])


if __name__ == "__main__":
    main()
