"""From features to a trained model, and to scores on clips that it has not learned from.

There is one way to a model, whether for `train` or for one fold of `crossval`. Clips that
could not be read have no features: they are left out of the training side, and count as mistakes
where they are scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidlstm.config import EncoderConfig, ModelConfig, TrainConfig, to_dict
from vidlstm.data.samples import Dataset
from vidlstm.data.splits import Split
from vidlstm.data.stratify import divide
from vidlstm.engine.devices import one_thread, use_threads
from vidlstm.engine.distributed import World
from vidlstm.engine.extraction.extractor import Extracted, Extractor
from vidlstm.engine.extraction.pixels import PixelReader
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.memory import keep_memory
from vidlstm.engine.scoring import score_clips
from vidlstm.engine.training.trainer import Learning, Part, Trainer
from vidlstm.engine.views import views_of
from vidlstm.errors import DataError, UsageError
from vidlstm.features.batches import ClipFeatures
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.models.encoders import Encoder, encode_clips, for_inference
from vidlstm.records import EvalReport, Scored
from vidlstm.version import __version__

_STORED_VIEWS = 3  # of every clip, so that training sees other moments each epoch
_ONE_MEMBER_SHARE = 0.1  # of the training clips, which a lone member stops early by


@dataclass(frozen=True)
class Clips:
    """The samples of a data set with what was extracted of each, side by side."""

    dataset: Dataset
    extracted: tuple[Extracted, ...]

    def labels(self) -> NDArray[np.int64]:
        """Return the class of every sample, int64 `(N,)`."""
        number = {name: i for i, name in enumerate(self.dataset.classes)}
        return np.array([number[s.label] for s in self.dataset.samples], np.int64)

    def usable(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Return those of `indices` that have features."""
        return np.array([i for i in indices if self.extracted[i].features is not None], np.int64)

    def features(self, index: int) -> ClipFeatures:
        """Return the features of a usable sample."""
        features = self.extracted[index].features
        assert features is not None
        return features

    def encoded(self, encoder: Encoder | None, indices: Iterable[int]) -> list[ClipFeatures]:
        """Return the features of usable samples; pixels that were kept for the encoder are encoded."""
        chosen = [self.features(i) for i in indices]
        if encoder is None or not self.pixels:
            return chosen
        quick = for_inference(encoder)
        return [_encode_kept(quick, clip) for clip in chosen]

    def all_encoded(self, encoder: Encoder | None) -> Clips:
        """Return the clips as features, those too that were kept as pixels."""
        there = self.usable(range(len(self.extracted)))
        extracted = list(self.extracted)
        for i, features in zip(there, self.encoded(encoder, there), strict=True):
            extracted[i] = replace(extracted[i], features=features)
        return replace(self, extracted=tuple(extracted))

    @property
    def pixels(self) -> bool:
        """Whether the `rgb` stream is kept as pixels, for an encoder that learns."""
        first = next(e.features for e in self.extracted if e.features is not None)
        return "rgb" in first.sequences and first.sequences["rgb"].dtype == np.uint8

    def widths(self) -> dict[str, int]:
        """Return D of every stream."""
        first = next(e.features for e in self.extracted if e.features is not None)
        return {
            name: values.shape[-1]
            for part in (first.sequences, first.summaries)
            for name, values in part.items()
        }

    def scored(self, indices: Sequence[int], scores: Mapping[int, NDArray[np.float64]]) -> list[Scored]:
        """Return the record of each sample; those without scores are there too, and count as mistakes."""
        records = []
        for i in indices:
            sample = self.dataset.samples[i]
            row = tuple(float(p) for p in scores[i]) if i in scores else ()
            records.append(Scored(sample.path, sample.label, sample.group, row, self.extracted[i].problem))
        return records


def make_trainer(
    model: Model,
    clips: Clips,
    train: Sequence[int],
    config: TrainConfig,
    *,
    learning: Learning | None = None,
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
        learning: Of an encoder that learns.
        divided_by: How many members there are parts for, if not as many as there are: a network that
            goes on learning leaves out what it left out as one of these.
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
    _check_steps(min(len(part.train) for part in parts), config, world or World(), learning)
    if learning is None:
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
        learning=learning,
        world=world,
    )


def _check_steps(num_clips: int, config: TrainConfig, world: World, learning: Learning | None) -> None:
    """Be sure that a step can be divided into parts that add up to the whole."""
    if learning is not None and not learning.encoder.keeps_statistics:
        # Its normalisation looks at all pictures of a step together.
        for many, name in ((world.size, "several processes"), (config.accumulate, "--accumulate")):
            if many > 1:
                raise UsageError(f"an encoder that learns from nothing cannot be trained with {name}")
    if world.size > 1 and (config.batch_size < 4 * world.size or num_clips < 2 * world.size):
        raise UsageError(  # every process must have a pair of clips in every step
            f"{world.size} processes need steps of at least {4 * world.size} clips (--batch-size) "
            f"and {2 * world.size} clips to learn from"
        )


def kept_pixels(model: Model) -> Learning | None:
    """Return how an encoder learns from pixels that are kept; None where it is frozen."""
    config = model.config
    if model.encoder is None or not config.encoder.learns:
        return None
    _unfreeze(model.encoder, config.encoder)
    return Learning(model.encoder, flips=config.mirror)


def _unfreeze(encoder: Encoder, config: EncoderConfig) -> None:
    last = None if config.small else config.unfrozen
    encoder.unfreeze(last, keeps_statistics=not config.knows_nothing)


def from_files(
    model: Model, extractor: Extractor, clips: Clips, *, has_learned: bool, bfloat16: bool
) -> Learning:
    """Return how an encoder learns from pixels that are read again each epoch.

    Args:
        model: On its device.
        extractor: Of `pixel_request`, without an encoder and without a store.
        clips: All of the data.
        has_learned: The model comes from another training.
        bfloat16: Compute in half precision.
    """
    assert model.encoder is not None
    _unfreeze(model.encoder, model.config.encoder)
    reader = PixelReader(extractor, [s.path for s in clips.dataset.samples])
    # A picture's mirrored regions are read in another order, which the mirrored side of a reading has right.
    flips = model.config.mirror and model.config.kind == "video"
    return Learning(model.encoder, reader, flips=flips, has_learned=has_learned, bfloat16=bfloat16)


def pixel_request(config: ModelConfig) -> ReadRequest:
    """Return what is read of a clip for an encoder that learns."""
    return replace(train_request(config), streams=("rgb",))


def _encode_kept(encoder: Encoder, clip: ClipFeatures) -> ClipFeatures:
    """Put an encoder's features `(M, V, T, D)` in the place of the pixels `(M, V, T, S, S, C)`."""
    pixels = torch.from_numpy(clip.sequences["rgb"]).to(encoder.mean.device)
    sides, views, moments = pixels.shape[:3]
    there = torch.ones(sides * views, moments, dtype=torch.bool, device=pixels.device)
    with torch.inference_mode():
        steps, _ = encode_clips(encoder, pixels.flatten(0, 1), there)
    values = steps.view(sides, views, -1, steps.shape[-1]).to("cpu", torch.float16).numpy()
    return ClipFeatures({**clip.sequences, "rgb": values}, clip.summaries)


def member_parts(
    indices: Sequence[int], labels: Sequence[str], groups: Sequence[str], members: int, seed: int
) -> list[list[int]]:
    """Divide the training clips into what each member leaves out; a lone member leaves out few.

    Parts go through groups only where a class has too few of them to be held out.
    """
    shares = [1 / members] * members if members > 1 else [1 - _ONE_MEMBER_SHARE, _ONE_MEMBER_SHARE]
    for names in (groups, [str(i) for i in range(len(labels))]):
        parts = divide(indices, labels, names, shares, seed, required=False)
        if members == 1:
            parts = parts[1:]
        if all(_has_all_classes(indices, part, labels) for part in parts):
            return parts
    return [[] for _ in range(members)]  # too few clips to hold out any: the last epoch is taken


def _has_all_classes(indices: Sequence[int], left_out: Sequence[int], labels: Sequence[str]) -> bool:
    """Tell whether every class is still there when a part is left out."""
    away = set(left_out)
    return {labels[i] for i in indices if i not in away} == {labels[i] for i in indices}


def score(model: Model, clips: Clips, indices: Sequence[int]) -> list[Scored]:
    """Score samples; those that could not be read are in the list, without scores."""
    usable = clips.usable(indices)
    rows = score_clips(model, clips.encoded(model.encoder, usable))
    return clips.scored(indices, dict(zip(usable.tolist(), rows, strict=True)))


def train_request(config: ModelConfig) -> ReadRequest:
    """Return what is read of every clip for training: more moments than the head reads at once."""
    stored = config.views if config.views > 1 or config.kind == "picture" else _STORED_VIEWS
    return ReadRequest.of(config, views=stored)


def start_model(config: ModelConfig, clips: Clips, encoder: Encoder | None, seed: int) -> Model:
    """Return a model with the weights that the seed gives."""
    torch.manual_seed(seed)
    widths = clips.widths()
    if encoder is not None:
        widths["rgb"] = encoder.width
    with one_thread():  # orthogonal weights come out otherwise with another number of them
        return build_model(config, widths, encoder)


def start_from(earlier: Model, config: ModelConfig) -> Model:
    """Return a model of one network that begins where another model's first member ended.

    Raises:
        UsageError: The other model has other classes or another network.
    """
    one = earlier.config.changed(members=1, encoder={"unfrozen": config.encoder.unfrozen})
    for name in ("kind", "classes", "streams", "head", "encoder"):
        before, now = getattr(one, name), getattr(config, name)
        if before != now:
            raise UsageError(f"--from: that run's {name} is another one ({before}, and now {now})")
    assert earlier.encoder is not None
    model = build_model(config, earlier.widths, earlier.encoder)
    state = earlier.classifier.state_dict()
    own = model.classifier.state_dict()
    # Members stand in front: what there is of one member is the beginning of what there is of all.
    first = {name: state[name].flatten()[: value.numel()].view_as(value) for name, value in own.items()}
    model.classifier.load_state_dict(first)
    return model


def describe_training(
    model: Model,
    data: str,
    config: TrainConfig,
    clips: Clips,
    split: Split,
    prints: Sequence[str],
    trainer: Trainer,
    report: EvalReport | None,
) -> dict[str, Any]:
    """Return the facts that travel in the checkpoint, as plain JSON values.

    Nothing in them depends on when or how fast it was trained: the same run gives the same file.
    """
    return {
        "version": __version__,
        "data": data,
        "settings": to_dict(config),
        "num_clips": {
            "train": len(clips.usable(split.train)),
            "val": len(split.val),
            "test": len(split.test),
        },
        "num_groups": clips.dataset.num_groups,
        "group_rule": clips.dataset.group_rule,
        "fusion": {
            s.name: round(float(w), 4)
            for s, w in zip(model.classifier.specs, model.classifier.fusion, strict=True)
        },
        "temperature": round(float(model.classifier.temperature), 4),
        "floor": round(float(model.classifier.floor), 4),
        "epochs": trainer.epoch,
        "best_epoch": trainer.best_epoch,
        "top1": report.top1 if report else None,
        "top1_ci95": [report.top1_interval.low, report.top1_interval.high] if report else None,
        "learned_from": sorted(prints[i] for i in clips.usable(split.train)),
    }
