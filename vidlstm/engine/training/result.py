"""The result of a training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vidlstm.config import Kind
from vidlstm.data.layouts.folders import Subset
from vidlstm.data.split_table import SPLIT, read_split_rows
from vidlstm.engine.training.plan import Plan
from vidlstm.evaluations import EvalReport, PoseChoice, SpanReport
from vidlstm.models.checkpoint import Model
from vidlstm.records import SCHEMA, EpochReport
from vidlstm.report.findings import cautions


@dataclass(frozen=True)
class StartingRun:
    """The run that fine-tuning started from, and its top-1 on the same held-out clips."""

    path: Path
    top1: float

    @staticmethod
    def of(plan: Plan, start: Model) -> StartingRun | None:
        """Return the run that a plan starts from; None if its model was scored on other clips."""
        path, top1 = plan.start, start.training.get("top1")
        if path is None or top1 is None or read_split_rows(path / SPLIT) != plan.rows:
            return None
        return StartingRun(path, float(top1))


@dataclass(frozen=True)
class TrainResult:
    """The result of a training, the last event of its session.

    Args:
        run: The run folder.
        checkpoint: The model in it.
        kind: What the model labels.
        classes: In the order of the model's scores.
        num_train: Number of training clips, without unreadable ones.
        num_held_out: Number of held-out clips, unreadable ones included.
        num_unreadable: Number of clips that cannot be read, of all subsets.
        subset: The subset that is held out.
        epochs: All epochs, in order.
        num_epochs: Number of epochs that were started.
        best_epoch: The epoch whose weights were kept; 0 is the start of a fine-tuning.
        report: Report on the held-out clips; None if there are none.
        branches: Weight of each branch in the fused scores.
        start: The run that fine-tuning started from; None if nothing improved on it, or if it was scored on
            other clips.
        notes: Notes on the split.
        page: The report page; None if there is no report.
        seconds: Duration of extraction and of training.
        interrupted: Ctrl-C ended training early.
        on_films: The clips are parts of films.
        spans: Report on the spans of the held-out films, if there are any.
        pose: How `streams=auto` chose; None for named streams.
        folds: Folds with which these data and settings can be cross-validated; None: they cannot.
    """

    run: Path
    checkpoint: Path
    kind: Kind
    classes: tuple[str, ...]
    num_train: int
    num_held_out: int
    num_unreadable: int
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
    on_films: bool = False
    spans: SpanReport | None = None
    pose: PoseChoice | None = None
    folds: Literal[5, "group"] | None = None

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
            # `val`, here and below, is the older name of `held_out`, kept for existing scripts.
            "num_clips": {
                "train": self.num_train,
                "held_out": self.num_held_out,
                "val": self.num_held_out,
                "unreadable": self.num_unreadable,
            },
            "best_epoch": self.best_epoch,
            "held_out": held_out,
            "val": held_out,
            "spans": None if self.spans is None else self.spans.to_json(),
            "cautions": [*self.notes, *(cautions(report) if report else ())],
            "pose": None if self.pose is None else self.pose.to_json(),
            "seconds": self.seconds,
        }
