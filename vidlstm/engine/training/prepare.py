"""Build a model with initial weights and its trainer, for `train` and for the folds of `crossval`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch

from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.engine.devices import one_thread, use_threads
from vidlstm.engine.distributed import World
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.memory import keep_memory
from vidlstm.engine.training.loop.encoder_training import EncoderTraining
from vidlstm.engine.training.loop.members import Part, held_out_again, member_parts, with_new_groups
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.views import views_of
from vidlstm.errors import DataError, UsageError
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.models.encoders import Encoder


def start_model(config: ModelConfig, clips: Clips, encoder: Encoder | None, seed: int) -> Model:
    """Return a model whose initial weights depend only on the seed."""
    torch.manual_seed(seed)
    widths = clips.widths()
    if encoder is not None:
        widths["rgb"] = encoder.width
    with one_thread():  # orthogonal initialisation depends on the number of threads
        return build_model(config, widths, encoder)


def make_trainer(
    model: Model,
    clips: Clips,
    train: Sequence[int],
    config: TrainConfig,
    *,
    encoder_training: EncoderTraining | None = None,
    divided_by: int | None = None,
    left_out: Sequence[Collection[str]] = (),
    learned: Collection[str] = (),
    new_groups: Collection[str] = (),
    parts: Sequence[Part] = (),
    world: World | None = None,
) -> Trainer:
    """Return a trainer for the readable training clips, divided among the members.

    Each member leaves out a different part of the groups for validation, so the held-out set is used for
    the final score only.

    Args:
        model: On its device.
        clips: All clips of the data set.
        train: Indices of the training clips.
        config: How to train.
        encoder_training: How the encoder is trained; None if it is frozen.
        divided_by: Number of parts to divide the groups into; default: the number of members. In
            fine-tuning it is the ensemble size of the earlier run, so that the network leaves out the same
            part again.
        left_out: Names of the clips that each member left out in the earlier run, or before it was resumed.
            It leaves out these again, with new clips of their groups and its part of the new groups, but no
            clip that it was trained on, even if none is left: such clips would be scored too high.
        learned: Names of all training clips of that run, including these.
        new_groups: Groups of which that run was trained on no clip.
        parts: Parts of another trainer with as many members, whose held-out clips are held out here, too.
        world: The processes of a distributed training.

    Raises:
        DataError: A class has no readable training clip.
        UsageError: The settings do not fit the model or the number of processes.
    """
    labels = clips.labels()
    usable = clips.usable(train)
    for number, name in enumerate(clips.dataset.classes):
        if not (labels[usable] == number).any():
            raise DataError(f"{clips.dataset.root}: no training clip of class {name!r} can be read")
    samples, members = clips.dataset.samples, model.config.members
    rows = (usable.tolist(), [s.label for s in samples], [s.group for s in samples])
    held_out = member_parts(*rows, divided_by or members, config.seed)[:members]
    if left_out:
        names = [s.name(clips.dataset.root) for s in samples]
        for member, before in enumerate(left_out[:members]):
            held_out[member] = held_out_again(*rows, names, before, learned)
        new = [i for i in usable.tolist() if samples[i].group in new_groups]
        held_out = with_new_groups(held_out, new, *rows[1:], config.seed)
    if parts:
        held_out = [part.val[np.isin(part.val, usable)].tolist() for part in parts]
    parts = [Part(np.setdiff1d(usable, part), np.array(part, np.int64)) for part in held_out]
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
    """Check that the gradients of a step's parts add up to the gradient of the whole step."""
    if encoder_training is not None and not encoder_training.encoder.keeps_statistics:
        # Its batch normalisation needs all pictures of a step at once.
        for many, name in ((world.size, "several processes"), (config.accumulate, "`accumulate`")):
            if many > 1:
                raise UsageError(f"an encoder without pretrained weights cannot be trained with {name}")
    if world.size > 1 and (config.batch_size < 4 * world.size or num_clips < 2 * world.size):
        raise UsageError(  # every process needs a pair of clips in every step
            f"{world.size} processes need steps of at least {4 * world.size} clips (`batch_size`) "
            f"and {2 * world.size} training clips"
        )
