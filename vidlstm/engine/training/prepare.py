"""A model with its initial weights, and the trainer of it: the same for `train` and a fold of `crossval`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.engine.devices import one_thread, use_threads
from vidlstm.engine.distributed import World
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.memory import keep_memory
from vidlstm.engine.training.loop.encoder_training import EncoderTraining
from vidlstm.engine.training.loop.members import Part, member_parts
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.views import views_of
from vidlstm.errors import DataError, UsageError
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.models.encoders import Encoder


def start_model(config: ModelConfig, clips: Clips, encoder: Encoder | None, seed: int) -> Model:
    """Return a model with the weights that the seed gives."""
    torch.manual_seed(seed)
    widths = clips.widths()
    if encoder is not None:
        widths["rgb"] = encoder.width
    with one_thread():  # orthogonal weights come out otherwise with another number of them
        return build_model(config, widths, encoder)


def make_trainer(
    model: Model,
    clips: Clips,
    train: Sequence[int],
    config: TrainConfig,
    *,
    encoder_training: EncoderTraining | None = None,
    divided_by: int | None = None,
    world: World | None = None,
) -> Trainer:
    """Return a trainer for the readable clips of the training side, divided among the members.

    Each member leaves out another part of the groups. What it left out is its validation, so the
    side that is held out from all of training serves for nothing but its score.

    Args:
        model: On its device.
        clips: All of the data.
        train: Those that it may learn from.
        config: How.
        encoder_training: Of an encoder that learns.
        divided_by: How many members there are parts for, if not as many as there are: a network that
            is trained further leaves out what it left out as one of these.
        world: The processes that train together.

    Raises:
        DataError: No clip of some class can be read, so there is nothing to learn it from.
        UsageError: These settings cannot be had with this model or world.
    """
    labels = clips.labels()
    usable = clips.usable(train)
    for number, name in enumerate(clips.dataset.classes):
        if not (labels[usable] == number).any():
            raise DataError(f"{clips.dataset.root}: no training clip of class {name!r} can be read")
    samples = clips.dataset.samples
    parts = [
        Part(np.setdiff1d(usable, held_out), np.array(held_out, np.int64))
        for held_out in member_parts(
            usable.tolist(),
            [s.label for s in samples],
            [s.group for s in samples],
            divided_by or model.config.members,
            config.seed,
        )[: model.config.members]
    ]
    _check_steps(min(len(part.train) for part in parts), config, world or World(), encoder_training)
    if encoder_training is None:
        use_threads(1)
    keep_memory()
    return Trainer(
        model.classifier,
        [e.features for e in clips.extracted],
        labels,
        parts,
        config,
        mix_views=model.config.kind == "video" and model.config.sampling.method == "uniform",
        views=views_of(model.config),
        mirror=model.config.mirror,
        encoder_training=encoder_training,
        world=world,
    )


def _check_steps(
    num_clips: int, config: TrainConfig, world: World, encoder_training: EncoderTraining | None
) -> None:
    """Be sure that a step can be divided into parts that add up to the whole."""
    if encoder_training is not None and not encoder_training.encoder.keeps_statistics:
        # Its normalisation looks at all pictures of a step together.
        for many, name in ((world.size, "several processes"), (config.accumulate, "`accumulate`")):
            if many > 1:
                raise UsageError(f"an encoder without pretrained weights cannot be trained with {name}")
    if world.size > 1 and (config.batch_size < 4 * world.size or num_clips < 2 * world.size):
        raise UsageError(  # every process must have a pair of clips in every step
            f"{world.size} processes need steps of at least {4 * world.size} clips (`batch_size`) "
            f"and {2 * world.size} training clips"
        )
