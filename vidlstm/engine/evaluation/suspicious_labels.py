"""Clips whose label is probably wrong: scored by models that were not trained on them or their group."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidlstm.engine.evaluation.crossval import CrossvalRequest, CrossvalResult, crossval
from vidlstm.engine.events import Event
from vidlstm.metrics.label_errors import find_label_errors
from vidlstm.records import Scored


@dataclass(frozen=True)
class SuspiciousLabel:
    """One clip whose label is probably wrong.

    Args:
        path: The clip.
        label: The label that it has.
        suggested: The label that it should probably have.
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
    """All labels are inspected; the last event of the session.

    Args:
        suspicious: The most suspicious label first.
        num_clips: Number of clips that were scored.
    """

    suspicious: tuple[SuspiciousLabel, ...]
    num_clips: int


def inspect_labels(request: CrossvalRequest) -> Generator[Event | LabelsInspected, None, None]:
    """Cross-validate, and compare each clip's label with its out-of-fold scores.

    Yields:
        The events of the cross-validation, and at the end the result.

    Raises:
        VidlstmError: It cannot be done.
    """
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
