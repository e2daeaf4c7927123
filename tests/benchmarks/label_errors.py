"""How many of the flipped labels are found, and how many of the found ones were flipped.

`python -m tests.benchmarks.label_errors DATA [--group-column NAME] [--seeds 3]` flips a tenth of the labels
at random, cross-validates, and prints the precision at a recall of 0.7, for this tool and for cleanlab on the
same scores.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import vidlstm.engine.evaluation.crossval as module
from vidlstm.data.samples import Dataset, find_dataset
from vidlstm.engine.evaluation.crossval import CrossvalRequest, CrossvalResult, crossval
from vidlstm.metrics.label_errors import find_label_errors
from vidlstm.settings import DataSettings, TrainingSettings

SHARE, RECALL = 0.1, 0.7


def flipped(dataset: Dataset, seed: int) -> tuple[Dataset, NDArray[np.int64]]:
    """Return the data with a tenth of its labels wrong, and which ones."""
    rng = np.random.default_rng(seed)
    wrong = np.sort(rng.permutation(len(dataset.samples))[: round(SHARE * len(dataset.samples))])
    samples = list(dataset.samples)
    for i in wrong:
        others = [name for name in dataset.classes if name != samples[i].label]
        samples[i] = replace(samples[i], label=str(rng.choice(others)))
    return replace(dataset, samples=tuple(samples)), wrong


def precision_at_recall(order: list[int], wrong: set[int]) -> float:
    """Return the precision of the shortest list that holds 70 % of the wrong labels; 0 if none does."""
    hits = np.cumsum([i in wrong for i in order])
    enough = np.flatnonzero(hits >= RECALL * len(wrong))
    return float(hits[enough[0]] / (enough[0] + 1)) if len(enough) else 0.0


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--group-column")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    from cleanlab.filter import find_label_issues

    settings = DataSettings(options.data, group_column=options.group_column)
    clean = find_dataset(settings)
    for seed in range(options.seeds):
        noisy, wrong = flipped(clean, seed)
        module.find_dataset = partial(_given, noisy)  # type: ignore[attr-defined]
        request = CrossvalRequest(settings, training=TrainingSettings(seed=seed), baseline=False)
        [result] = [event for event in crossval(request) if isinstance(event, CrossvalResult)]
        index = {str(sample.path): i for i, sample in enumerate(noisy.samples)}
        scored = [clip for clip in result.report.scored if not clip.failed]
        labels = np.array([result.report.classes.index(clip.label) for clip in scored])
        scores = np.array([clip.scores for clip in scored])
        at = [index[str(clip.path)] for clip in scored]
        ours = [at[e.index] for e in find_label_errors(labels, scores)]
        ranked = find_label_issues(labels, scores, return_indices_ranked_by="self_confidence", n_jobs=1)
        theirs = [at[i] for i in ranked]
        bad = set(wrong.tolist())
        print(f"seed {seed}: {len(wrong)} wrong labels, top-1 {result.report.top1:.3f}")
        for name, order in (("vidlstm", ours), ("cleanlab", theirs)):
            precision = precision_at_recall(order, bad)
            found = len(bad & set(order))
            print(
                f"  {name}: precision {precision:.3f} at recall {RECALL}, {found} in a list of {len(order)}"
            )


def _given(dataset: Dataset, _: DataSettings) -> Dataset:
    return dataset


if __name__ == "__main__":
    main()
