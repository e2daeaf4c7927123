"""Precision and recall of `check --labels` on flipped labels.

`python -m tests.benchmarks.label_errors DATA [--group-column NAME] [--seeds 3]` flips a tenth of the labels
at random, cross-validates, and prints the precision at a recall of 0.7, for this tool and for cleanlab on the
same scores.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from cleanlab.filter import find_label_issues

from vidlstm.data.samples import Dataset, find_dataset
from vidlstm.engine.evaluation.crossval import CrossvalRequest, CrossvalResult, crossval
from vidlstm.metrics.label_errors import find_label_errors
from vidlstm.settings import DataSettings, TrainingSettings

SHARE, RECALL = 0.1, 0.7


def write_flipped(dataset: Dataset, seed: int, table: Path) -> set[str]:
    """Write the data as a table in which a tenth of the labels are wrong; return the paths of these clips."""
    rng = np.random.default_rng(seed)
    number = len(dataset.samples)
    wrong = set(rng.permutation(number)[: round(SHARE * number)].tolist())
    with table.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "label", "group"])
        for i, sample in enumerate(dataset.samples):
            others = [name for name in dataset.classes if name != sample.label]
            label = str(rng.choice(others)) if i in wrong else sample.label
            lines.writerow([sample.path.absolute(), label, sample.group])
    return {str(dataset.samples[i].path.absolute()) for i in wrong}


def precision_at_recall(order: list[str], wrong: set[str]) -> float:
    """Return the precision of the shortest list with 70 % of the wrong labels; 0 if there is none."""
    hits = np.cumsum([path in wrong for path in order])
    enough = np.flatnonzero(hits >= RECALL * len(wrong))
    return float(hits[enough[0]] / (enough[0] + 1)) if len(enough) else 0.0


def measure(dataset: Dataset, seed: int, table: Path) -> None:
    """Flip labels with this seed, and print how many of them are found."""
    wrong = write_flipped(dataset, seed, table)
    request = CrossvalRequest(DataSettings(table), training=TrainingSettings(seed=seed), baseline=False)
    [result] = [event for event in crossval(request) if isinstance(event, CrossvalResult)]
    scored = [clip for clip in result.report.scored if not clip.failed]
    labels = np.array([result.report.classes.index(clip.label) for clip in scored])
    scores = np.array([clip.scores for clip in scored])
    ranked = find_label_issues(labels, scores, return_indices_ranked_by="self_confidence", n_jobs=1)
    print(f"seed {seed}: {len(wrong)} wrong labels, top-1 on the given labels {result.report.top1:.3f}")
    found = {"vidlstm": [error.index for error in find_label_errors(labels, scores)], "cleanlab": ranked}
    for name, order in found.items():
        paths = [str(scored[i].path) for i in order]
        precision, hits = precision_at_recall(paths, wrong), len(wrong & set(paths))
        print(f"  {name}: precision {precision:.3f} at recall {RECALL}, {hits} in {len(paths)}", flush=True)


def main() -> None:
    """Measure every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--group-column")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    dataset = find_dataset(DataSettings(options.data, group_column=options.group_column))
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            measure(dataset, seed, Path(folder) / "flipped.csv")


if __name__ == "__main__":
    main()
