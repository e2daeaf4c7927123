"""Find clips whose label is probably wrong, by scores of models not trained on them or their group."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidlstm.data.samples import Dataset, find_dataset
from vidlstm.engine.evaluation.crossval import CrossvalRequest, CrossvalResult, crossval
from vidlstm.engine.events import Event
from vidlstm.engine.reporting import PREDICTIONS
from vidlstm.evaluations import Scored
from vidlstm.metrics.label_errors import find_label_errors
from vidlstm.records import part_name


@dataclass(frozen=True)
class SuspiciousLabel:
    """One clip whose label is probably wrong.

    Args:
        path: The clip.
        label: Its label.
        suggested: The label that is more likely.
        score: Out-of-fold probability of the suggested label, 0 to 1.
    """

    path: Path
    label: str
    suggested: str
    score: float

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `check --labels --json`."""
        return {**asdict(self), "path": str(self.path), "score": round(self.score, 6)}


@dataclass(frozen=True)
class LabelsInspected:
    """The result of an inspection of labels, the last event of its session.

    Args:
        suspicious: Suspicious labels, the most suspicious first.
        num_clips: Number of clips that were scored.
        scores: File that the scores were read from; None if they were computed.
    """

    suspicious: tuple[SuspiciousLabel, ...]
    num_clips: int
    scores: Path | None = None


def inspect_labels(
    request: CrossvalRequest, runs: Sequence[Path] = ()
) -> Generator[Event | LabelsInspected, None, None]:
    """Compare each clip's label with its out-of-fold scores; cross-validate if no folder has them.

    Args:
        request: The data, and how to cross-validate it.
        runs: Folders that `crossval --out` may have written; the first that fits the data is used.

    Yields:
        The events of the cross-validation, then the result.

    Raises:
        VidlstmError: The data or the settings cannot be used.
    """
    files = [run / PREDICTIONS for run in runs if (run / PREDICTIONS).is_file()]
    if files:
        dataset = find_dataset(request.data)
        for file in files:
            if (scored := read_scores(file, dataset)) is not None:
                yield LabelsInspected(*suspicious_labels(dataset.classes, scored), file)
                return
    for event in crossval(replace(request, baseline=False)):
        if isinstance(event, CrossvalResult):
            yield LabelsInspected(*suspicious_labels(event.report.classes, event.report.scored))
        else:
            yield event


def suspicious_labels(
    classes: Sequence[str], scored: Sequence[Scored]
) -> tuple[tuple[SuspiciousLabel, ...], int]:
    """Return the suspicious labels, the most suspicious first, and the number of clips with scores."""
    usable = [clip for clip in scored if not clip.failed]
    labels = np.array([classes.index(clip.label) for clip in usable], np.int64)
    scores = np.array([clip.scores for clip in usable]).reshape(len(usable), len(classes))
    found = tuple(
        SuspiciousLabel(usable[e.index].path, usable[e.index].label, classes[e.suggested], e.score)
        for e in find_label_errors(labels, scores)
    )
    return found, len(usable)


def read_scores(file: Path, dataset: Dataset) -> list[Scored] | None:
    """Read the scores in a `predictions.csv` of a cross-validation; None if they do not fit the data.

    They fit if the file has a fold for exactly the clips of the data, with their current labels and groups.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
        rows = {row["path"]: row for row in csv.DictReader(io.StringIO(text, newline=""), strict=True)}
        samples = {part_name(str(sample.path), sample.times): sample for sample in dataset.samples}
        if set(rows) != set(samples) or not all(row.get("fold") for row in rows.values()):
            return None
        scored = []
        for path, row in rows.items():
            sample = samples[path]
            if (row["label"], row["group"]) != (sample.label, sample.group):
                return None
            scores = () if row["error"] else tuple(float(row[f"score_{name}"]) for name in dataset.classes)
            scored.append(Scored(sample.path, sample.label, sample.group, scores, times=sample.times))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    return scored
