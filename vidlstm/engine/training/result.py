"""What a training ends with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidlstm.config import Kind
from vidlstm.data.layouts.folders import Subset
from vidlstm.records import SCHEMA, EpochReport, EvalReport
from vidlstm.report.findings import cautions


@dataclass(frozen=True)
class StartingRun:
    """The run that fine-tuning started from, and its top-1 on the same clips."""

    path: Path
    top1: float


@dataclass(frozen=True)
class TrainResult:
    """A training that is over; the last event of its session.

    Args:
        run: The run folder.
        checkpoint: The model in it.
        kind: What it labels.
        classes: In the order of the model's scores.
        num_train: Clips that were trained on: those that can be read.
        num_held_out: Clips in the subset that scores the model, unreadable ones included.
        subset: Which subset that is.
        epochs: All epochs, in order.
        num_epochs: How many were begun.
        best_epoch: The one whose weights were kept; 0 is the start of a fine-tuning.
        report: Of the held-out clips; None if there are none.
        branches: How much each branch counts in the sum of their scores.
        start: Of a fine-tuning that changed the model, where it was scored on the same clips.
        notes: What to know about the split.
        page: The report page; None if there is no report.
        seconds: That extraction and training took.
        interrupted: Ctrl-C ended it early.
    """

    run: Path
    checkpoint: Path
    kind: Kind
    classes: tuple[str, ...]
    num_train: int
    num_held_out: int
    subset: Subset
    epochs: tuple[EpochReport, ...]
    num_epochs: int
    best_epoch: int
    report: EvalReport | None
    branches: dict[str, float]
    start: StartingRun | None
    notes: tuple[str, ...]
    page: Path | None
    seconds: dict[str, float]
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """Return the object of `train --json`."""
        report = self.report
        held_out = report and {
            "top1": report.top1, "top5": report.top5,
            "mean_class_accuracy": report.mean_class_accuracy, "macro_f1": report.macro_f1,
            "ece": report.ece, "ece_uncalibrated": report.ece_uncalibrated, "baselines": report.baselines,
            "comparisons": [asdict(c) for c in report.comparisons],
        }  # fmt: skip
        return {
            "schema": SCHEMA,
            "run": str(self.run),
            "checkpoint": str(self.checkpoint),
            "classes": list(self.classes),
            # `val` was the name of what is held out, before validation inside training was told apart.
            "num_clips": {"train": self.num_train, "held_out": self.num_held_out, "val": self.num_held_out},
            "best_epoch": self.best_epoch,
            "held_out": held_out,
            "val": held_out,
            "cautions": [*self.notes, *(cautions(report) if report else ())],
            "seconds": self.seconds,
        }
