"""The value of each part of the model on each data set: one table, with intervals.

    VIDLSTM_REAL_DATA=DATA python -m tests.benchmarks.ablation [NAME=PATH[:GROUP_COLUMN] ...] [--seeds 3]

Every row removes one part: top-1 with it minus top-1 without it, in points, averaged over the seeds, with the
95 % interval over resampled groups (over clips if there are fewer than six groups). All clips are scored by
models that were not trained on their group. To remove a branch, the fusion of the others is fitted again, as
branches share no weights; to remove members, views, mirroring or the order of the frames, the model is
trained again.

Sets: `sample_videos` and, from $VIDLSTM_REAL_DATA, UT-Interaction by sequence and across scenes, and the
labelled spans of the films. `pose` is included if its networks are installed, or given with --pose-weights.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.data.splits import Fold, make_folds
from vidlstm.engine.extraction.backgrounds import find_grouped_dataset
from vidlstm.engine.extraction.clips import Clips, extract_clips
from vidlstm.engine.extraction.open import open_extractor
from vidlstm.engine.extraction.pose_networks import require_networks
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.scoring import read_clips
from vidlstm.engine.spans.windows import with_windows
from vidlstm.engine.training.auto_streams import configure
from vidlstm.engine.training.loop.fusion import fit_fusion
from vidlstm.engine.training.prepare import make_trainer, start_model
from vidlstm.features.batches import ClipFeatures, Values
from vidlstm.models.checkpoint import rgb_encoder
from vidlstm.models.classifier import fuse
from vidlstm.settings import AUTO, DataSettings, MachineSettings, ModelSettings

T = TypeVar("T")
Hits = NDArray[np.bool_]

FULL = "all"
BRANCHES = ("appearance", "change", "motion", "pose")
RETRAINED = ("order", "members", "views", "mirroring")
_FOLDS = 5  # of groups; one fold per group if there are fewer
_RESAMPLES = 2000


@dataclass(frozen=True)
class Set:
    """A data set to measure on.

    Args:
        name: Name in the table.
        data: As for `vidlstm crossval`.
    """

    name: str
    data: DataSettings


def sets(given: Sequence[str]) -> list[Set]:
    """Return the sets to measure: the given ones, or all available ones."""
    if given:
        chosen = []
        for text in given:
            name, _, place = text.partition("=")
            path, _, column = place.partition(":")
            chosen.append(Set(name, DataSettings(Path(path), group_column=column or None)))
        return chosen
    found = [Set("samples", DataSettings(Path("sample_videos")))]
    if root := os.environ.get("VIDLSTM_REAL_DATA"):
        ut, films = Path(root, "ut_interaction"), Path(root, "films")
        found += [
            Set("UT sequences", DataSettings(ut)),
            Set("UT scenes", DataSettings(ut, group_column="scene")),
            Set("films", DataSettings(films, background="none")),
        ]
    return found


def load(chosen: Set, weights: Path | None, workers: int | None) -> tuple[ModelConfig, Clips]:
    """Find and extract a set's clips; features are stored."""
    machine = MachineSettings(workers=workers)
    settings = ModelSettings(streams=AUTO, pose_weights=weights)
    dataset = _last(find_grouped_dataset(chosen.data, machine, cache=True))
    config, missing = configure(settings, dataset.kind, dataset.classes)
    if missing:
        print(f"without pose: {missing}")
    config = with_windows(config, dataset, range(len(dataset.samples)))
    wanted = ReadRequest.for_training(config, require_networks(settings, config.streams))
    with open_extractor(wanted, rgb_encoder(config), machine, cache=True) as extractor:
        return config, _last(extract_clips(extractor, dataset))


def _last(events: Generator[Any, None, T]) -> T:
    """Run a generator of events to its end; return its return value."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            result: T = end.value
            return result


def without(part: str, config: ModelConfig, clips: Clips) -> tuple[ModelConfig, Clips]:
    """Remove a part that requires training again."""
    if part == "order":
        return config.changed(head={"kind": "mean"}), clips
    if part == "members":
        return replace(config, members=1), clips
    if part == "views":
        return replace(config, views=1), _sliced(clips, views=1)
    return replace(config, mirror=False), _sliced(clips, copies=1)


def _sliced(clips: Clips, copies: int | None = None, views: int | None = None) -> Clips:
    """Return the clips with fewer copies (plain, mirrored) or fewer views."""

    def less(features: ClipFeatures) -> ClipFeatures:
        sequences: dict[str, Values] = {s: v[:copies, :views] for s, v in features.sequences.items()}
        return ClipFeatures(sequences, features.summaries)

    extracted = tuple(replace(e, features=e.features and less(e.features)) for e in clips.extracted)
    return replace(clips, extracted=extracted)


def hits_of(
    config: ModelConfig, clips: Clips, folds: Sequence[Fold], training: TrainConfig, parts: Sequence[str]
) -> dict[str, Hits]:
    """Return which clips are right with all branches, and without each of the given parts, `(N,)` each."""
    labels = clips.labels()
    hits = {part: np.zeros(len(labels), bool) for part in (FULL, *parts)}
    for fold in folds:
        model = start_model(config, clips, None, training.seed)
        trainer = make_trainer(model, clips, fold.train_indices, training)
        for _ in trainer.run():
            pass
        trainer.finish()
        tested = clips.usable(fold.test_indices)
        features = [clips.features(i) for i in tested]
        scores, _ = read_clips(model.classifier, features, trainer.views, torch.device("cpu"))
        truth = trainer.held_out_labels
        held_out = trainer.held_out_scores(trainer.views) if len(truth) else None
        for part, found in hits.items():
            kept = [i for i, spec in enumerate(model.classifier.specs) if spec.name != part]
            fusion = torch.full((len(kept),), 1 / len(kept)), torch.ones(()), torch.zeros(())
            if held_out is not None:
                fusion = fit_fusion(held_out[kept], truth)
            fused = fuse(scores[kept], *fusion)
            found[tested] = fused.argmax(1).numpy() == labels[tested]
    return hits


def measure(chosen: Set, seeds: int, weights: Path | None, workers: int | None) -> dict[str, Any]:
    """Measure every part on one set; return plain JSON values."""
    config, clips = load(chosen, weights, workers)
    groups = np.unique([sample.group for sample in clips.dataset.samples], return_inverse=True)[1]
    hits: dict[str, list[Hits]] = {}
    for seed in range(seeds):
        training = replace(TrainConfig.default(config), seed=seed)
        folds = make_folds(clips.dataset, min(_FOLDS, clips.dataset.num_groups), seed)
        branches = [b for b in BRANCHES if b != "pose" or "pose" in config.streams]
        found = hits_of(config, clips, folds, training, branches)
        for part in RETRAINED:
            found[part] = hits_of(*without(part, config, clips), folds, training, ())[FULL]
        for part, hit in found.items():
            hits.setdefault(part, []).append(hit)
    mean = {part: np.mean(rows, axis=0) for part, rows in hits.items()}
    result: dict[str, Any] = {"clips": len(groups), "groups": int(groups.max()) + 1}
    result[FULL] = _row(mean[FULL], groups)
    for part in hits.keys() - {FULL}:
        result[part] = _row(mean[FULL] - mean[part], groups)
    return result


def _row(values: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return the mean of `(N,)` and its 95 % interval, over resampled groups."""
    if groups.max() < 5:
        groups = np.arange(len(groups))
    number = int(groups.max()) + 1
    sums, sizes = np.bincount(groups, weights=values), np.bincount(groups)
    drawn = np.random.default_rng(0).integers(number, size=(_RESAMPLES, number))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table: a column per set, a row per part."""
    rows = [["", *(f"{name} ({r['clips']} clips, {r['groups']} groups)" for name, r in results.items())]]
    rows.append(["---"] * len(rows[0]))
    for part in (FULL, *BRANCHES, *RETRAINED):
        sign = "" if part == FULL else "+"
        row = ["top-1 with all parts" if part == FULL else part]
        for r in results.values():
            mean, low, high = (f"{100 * v:{sign}.1f}" for v in r.get(part, (np.nan,) * 3))
            row.append(f"{mean} ({low} to {high})" if part in r else "")
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="NAME=PATH[:GROUP_COLUMN]")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0")
    parser.add_argument("--pose-weights", type=Path)
    parser.add_argument("--workers", type=int, help="decoder processes")
    parser.add_argument("--json", type=Path, help="also write the figures here, after every set")
    asked = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    for chosen in sets(asked.sets):
        results[chosen.name] = measure(chosen, asked.seeds, asked.pose_weights, asked.workers)
        print(table({chosen.name: results[chosen.name]}), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1))
    print(f"\nPoints of top-1 that each part is worth, {asked.seeds} seeds, 95 % intervals over groups:\n")
    print(table(results))


if __name__ == "__main__":
    main()
