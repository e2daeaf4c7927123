"""From features to a trained model, and to scores on clips that it has not learned from.

`learn` is the one way to a model, whether for `train` or for one fold of `crossval`. Clips that
could not be read have no features: they are left out of the training side, and count as mistakes
where they are scored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import vidlstm
from vidlstm.config import ModelConfig, TrainConfig, to_dict
from vidlstm.data.fingerprints import fingerprint
from vidlstm.data.loading import ClipFeatures
from vidlstm.data.samples import Dataset, Sample
from vidlstm.data.splits import Fold, Split, read_split
from vidlstm.data.stratify import divide
from vidlstm.engine.decoding import ReadRequest
from vidlstm.engine.devices import use_threads
from vidlstm.engine.evaluation import looks_of, score_clips
from vidlstm.engine.extraction import Extracted
from vidlstm.engine.runs import SPLIT
from vidlstm.engine.training import Part, Trainer
from vidlstm.errors import DataError, UsageError
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.models.encoders import Encoder
from vidlstm.records import EvalReport, Scored


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

    def widths(self) -> dict[str, int]:
        """Return D of every stream."""
        first = next(e.features for e in self.extracted if e.features is not None)
        return {
            name: values.shape[-1]
            for part in (first.sequences, first.summaries)
            for name, values in part.items()
        }


def make_trainer(model: Model, clips: Clips, train: Sequence[int], config: TrainConfig) -> Trainer:
    """Return a trainer for the readable clips of the training side, divided among the members.

    Each member leaves out another part of the groups. What it left out is its validation, so the
    side that is held out from all of training serves for nothing but its score.

    Raises:
        DataError: No clip of some class can be read, so there is nothing to learn it from.
    """
    labels = clips.labels()
    usable = clips.usable(train)
    for number, name in enumerate(clips.dataset.classes):
        if not (labels[usable] == number).any():
            raise DataError(f"{clips.dataset.root}: no training clip of class {name!r} can be read")
    use_threads(1)
    samples = clips.dataset.samples
    parts = [
        Part(np.setdiff1d(usable, held_out), np.array(held_out, np.int64))
        for held_out in member_parts(
            usable.tolist(),
            [s.label for s in samples],
            [s.group for s in samples],
            model.config.members,
            config.seed,
        )
    ]
    return Trainer(
        model.classifier,
        [e.features for e in clips.extracted],
        labels,
        parts,
        config,
        mix_views=model.config.kind == "video" and model.config.sampling.method == "uniform",
        looks=looks_of(model.config),
        mirror=model.config.mirror,
    )


def member_parts(
    indices: Sequence[int], labels: Sequence[str], groups: Sequence[str], members: int, seed: int
) -> list[list[int]]:
    """Divide the training clips into what each member leaves out; one member leaves out a fifth.

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
    scores = dict(zip(usable.tolist(), score_clips(model, [clips.features(i) for i in usable]), strict=True))
    records = []
    for i in indices:
        sample: Sample = clips.dataset.samples[i]
        row = tuple(float(p) for p in scores[i]) if i in scores else ()
        records.append(Scored(sample.path, sample.label, sample.group, row, clips.extracted[i].problem))
    return records


_STORED_VIEWS = 3  # of every clip, so that training sees other moments each epoch
_ONE_MEMBER_SHARE = 0.2  # of the training clips, which a lone member stops early by


def train_request(config: ModelConfig) -> ReadRequest:
    """Return what is read of every clip for training: more moments than the head reads at once."""
    stored = config.views if config.views > 1 or config.kind == "picture" else _STORED_VIEWS
    return ReadRequest.of(config, views=stored)


def start_model(config: ModelConfig, clips: Clips, encoder: Encoder | None, seed: int) -> Model:
    """Return a model with the weights that the seed gives."""
    torch.manual_seed(seed)
    return build_model(config, clips.widths(), encoder)


def describe_training(
    data: Path,
    clips: Clips,
    split: Split,
    config: TrainConfig,
    trainer: Trainer,
    report: EvalReport | None,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Return the facts that travel in the checkpoint, as plain JSON values."""
    samples = clips.dataset.samples
    return {
        "version": vidlstm.__version__,
        "data": str(data),
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
            for s, w in zip(trainer.classifier.specs, trainer.classifier.fusion, strict=True)
        },
        "temperature": round(float(trainer.classifier.temperature), 4),
        "epochs": trainer.epoch,
        "best_epoch": trainer.best_epoch,
        "top1": report.top1 if report else None,
        "top1_ci95": [report.top1_interval.low, report.top1_interval.high] if report else None,
        "seconds": seconds,
        "learned_from": sorted(fingerprint(samples[i].path) for i in clips.usable(split.train)),
    }


@dataclass(frozen=True)
class FoldResult:
    """One fold of a cross-validation."""

    fold: Fold
    scored: tuple[Scored, ...]


def crossvalidate(
    config: ModelConfig, clips: Clips, folds: Sequence[Fold], train_config: TrainConfig
) -> Iterator[FoldResult]:
    """Train on all folds but one and score that one, for each fold.

    The held-out fold is used for nothing but its scores.
    """
    for fold in folds:
        model = start_model(config, clips, None, train_config.seed)
        trainer = make_trainer(model, clips, fold.train_indices, train_config)
        for _ in trainer.run():
            pass
        trainer.finish()
        yield FoldResult(fold, tuple(score(model, clips, fold.test_indices)))


@dataclass(frozen=True)
class ScoredSide:
    """Which samples an evaluation is made on, and why these."""

    dataset: Dataset
    description: str


def choose_side(dataset: Dataset, run: Path, wanted: str | None) -> ScoredSide:
    """Choose the samples to score: ones that the model has not learned from, unless told otherwise.

    The data's test side where it has one; else the side that the run held out, when this is the
    data it was trained on; else all of it.

    Args:
        dataset: What was found.
        run: The run's folder, whose `split.csv` is consulted.
        wanted: `train`, `val`, `test`, `all`, or None to choose.

    Raises:
        UsageError: The side that was asked for is empty or unknown.
    """
    everything = ScoredSide(dataset, f"all {len(dataset.samples)} clips")
    if wanted == "all":
        return everything
    given: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for i, sample in enumerate(dataset.samples):
        if sample.split:
            given[sample.split].append(i)
    source = "of the data"
    if (not given["test"] and wanted != "train") or not any(given.values()):
        held = _run_split(dataset, run)
        if held is not None:
            given = {name: list(held.side(name)) for name in ("train", "val", "test")}
            source = f"of {run / SPLIT}"
    for name in [wanted] if wanted else ["test", "val"]:
        if chosen := given[name]:
            part = replace(dataset, samples=tuple(dataset.samples[i] for i in chosen))
            return ScoredSide(part, f"the {name} side {source}, {len(chosen)} clips")
    if wanted:
        raise UsageError(
            f"--split {wanted}: neither the data nor the run's {SPLIT} has that side; try --split all"
        )
    return everything


def _run_split(dataset: Dataset, run: Path) -> Split | None:
    """Return the run's split, when it was made of this data."""
    if not (run / SPLIT).is_file():
        return None
    try:
        return read_split(run / SPLIT, dataset)
    except DataError:
        return None


def with_classes_of(dataset: Dataset, model: Model) -> Dataset:
    """Give the data set the model's classes, in the model's order.

    Raises:
        DataError: It has a class that the model does not know.
    """
    unknown = sorted({s.label for s in dataset.samples} - set(model.config.classes))
    if unknown:
        raise DataError(
            f"{dataset.root}: the model does not know class {unknown[0]!r} ({len(unknown)} unknown in all); "
            f"it knows {', '.join(model.config.classes[:10])}"
        )
    return replace(dataset, classes=model.config.classes)


def learned_clips(dataset: Dataset, model: Model) -> list[Path]:
    """Return the clips whose content the model learned from, wherever they were copied."""
    learned = set(model.training.get("learned_from", ()))
    found = []
    for sample in dataset.samples:
        with contextlib.suppress(OSError):
            if fingerprint(sample.path) in learned:
                found.append(sample.path)
    return found
