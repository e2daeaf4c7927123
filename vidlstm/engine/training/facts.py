"""Facts about a training that are stored in the checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from vidlstm.config_dict import to_dict
from vidlstm.data.splits import Split
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.training.run_folder import RunSettings
from vidlstm.evaluations import EvalReport
from vidlstm.models.checkpoint import Model
from vidlstm.version import __version__


def describe_training(
    model: Model,
    settings: RunSettings,
    clips: Clips,
    split: Split,
    prints: Sequence[str],
    trainer: Trainer,
    report: EvalReport | None,
    learned_before: Collection[str] = (),
) -> dict[str, Any]:
    """Return the facts to store in the checkpoint, as plain JSON values.

    None of them depends on time or speed, so the same run gives the same file.
    """
    return {
        "version": __version__,
        "data": settings.data,
        "settings": to_dict(settings.training),
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
        "reports_unknown": model.classifier.novelty.is_fitted,
        "epochs": trainer.epoch,
        "best_epoch": trainer.best_epoch,
        "top1": report.top1 if report else None,
        "top1_ci95": [report.top1_interval.low, report.top1_interval.high] if report else None,
        "left_out": sorted(prints[i] for i in trainer.parts[0].val),
        "learned_from": sorted({*learned_before, *(prints[i] for i in clips.usable(split.train))}),
    }
