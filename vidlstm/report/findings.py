"""What a report points out: mistakes, doubtful hits, confused classes, and what the figures do not show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidlstm.records import EvalReport, Score, Scored

_SHOWN_CLASSES = 6
_BASELINES = {
    "majority": "always naming the commonest class",
    "mean": "the mean head, which knows no order",
}


@dataclass(frozen=True)
class Confusion:
    """One class taken for another."""

    true: str
    guess: str
    num_clips: int
    share: float


def top(report: EvalReport, clip: Scored, number: int) -> list[Score]:
    """Return the best classes of a clip that did not fail, best first."""
    order = np.argsort(-np.array(clip.scores), kind="stable")[:number]
    return [Score(report.classes[i], clip.scores[i]) for i in order]


def mistakes(report: EvalReport, number: int) -> list[Scored]:
    """Return the mistakes that the model was surest of, surest first."""
    wrong = [s for s in report.scored if not s.failed and top(report, s, 1)[0].label != s.label]
    return sorted(wrong, key=lambda s: -max(s.scores))[:number]


def doubtful_hits(report: EvalReport, number: int) -> list[Scored]:
    """Return the hits that the model was least sure of, least sure first."""
    right = [s for s in report.scored if not s.failed and top(report, s, 1)[0].label == s.label]
    return sorted(right, key=lambda s: max(s.scores))[:number]


def confusions(report: EvalReport, number: int) -> list[Confusion]:
    """Return which class was taken for which, commonest first."""
    found = [
        Confusion(report.classes[true], report.classes[guess], count, count / report.per_class[true].support)
        for true, row in enumerate(report.confusion)
        for guess, count in enumerate(row)
        if count and guess != true
    ]
    return sorted(found, key=lambda c: (-c.num_clips, -c.share))[:number]


def baselines(report: EvalReport) -> list[tuple[str, float]]:
    """Return what the model has to beat on these clips, in words, and its top-1."""
    return [(_BASELINES[name], top1) for name, top1 in report.baselines.items()]


def cautions(report: EvalReport) -> list[str]:
    """Say what the figures do not carry, in sentences."""
    found = []
    low, high = report.top1_interval.low, report.top1_interval.high
    if high - low > 0.2:
        found.append(
            f"The 95 % interval of top-1 is {100 * (high - low):.0f} points wide: {report.num_clips} clips "
            f"of {report.num_groups} groups are too few to say how good the model is."
        )
    if report.num_groups < 10:
        groups = "1 group" if report.num_groups == 1 else f"{report.num_groups} groups"
        found.append(
            f"The scored clips are of {groups} only: the interval, resampled over so few, is too narrow."
        )
    if report.top1 == 1.0:
        unseen = 1 - 0.025 ** (1 / report.num_clips)  # the exact binomial interval's end (Clopper & Pearson)
        found.append(
            f"No mistake among {report.num_clips} clips does not mean that there are none: even if all clips "
            f"were independent, up to {100 * unseen:.0f} % of mistakes would be no surprise."
        )
    if low <= report.majority:
        found.append(
            f"The interval reaches down to {low:.2f}, and always naming the commonest class gives "
            f"{report.majority:.2f}: these clips do not show that the model is better than that."
        )
    if report.baseline is not None and report.baseline.gain.low <= 0:
        gain = report.baseline.gain
        found.append(
            f"The mean head, which knows no order, gives {report.baseline.top1:.2f}; the model is above that "
            f"by {100 * gain.low:+.1f} to {100 * gain.high:+.1f} points (95 % interval): these clips do not "
            "show that order matters."
        )
    if few := [c.label for c in report.per_class if c.support < 5]:
        names = ", ".join(few[:_SHOWN_CLASSES])
        more = f" and {len(few) - _SHOWN_CLASSES} more" if len(few) > _SHOWN_CLASSES else ""
        found.append(f"Fewer than 5 clips each, so their own figures mean little: {names}{more}.")
    return found
