"""Results of an evaluation: the metrics, every scored clip, and their JSON form.

Users' scripts read the output of `to_json`: see `vidlstm.records`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from vidlstm.records import NOVELTY_RATE, SCHEMA, Problem, Span, Times, part_name


@dataclass(frozen=True)
class Scored:
    """One evaluated clip: its true label and the model's scores.

    Args:
        path: Path of the clip.
        label: The true class.
        group: The clip's group.
        scores: Probability of every class, in the model's order; empty if the clip failed.
        novelty: How unlike the training clips it is, see `Prediction`; None if not computed.
        problem: Why the clip failed, or what is wrong with it.
        times: Start and end in the film, in seconds; None for a whole file.
    """

    path: Path
    label: str
    group: str
    scores: tuple[float, ...]
    problem: Problem | None = None
    novelty: float | None = None
    times: Times | None = None

    @property
    def name(self) -> str:
        """The path and, for a part of a film, its times."""
        return part_name(str(self.path), self.times)

    @property
    def failed(self) -> bool:
        """Whether the clip has no scores. It then counts as a mistake."""
        return not self.scores


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class ClassReport:
    """Metrics of one class, 0 to 1; `support` is its number of clips."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Baseline:
    """The baseline without frame order (the `mean` head), on the same clips.

    Args:
        top1: Top-1 of the baseline.
        gain: 95 % interval of the model's top-1 minus the baseline's, resampled over groups.
    """

    top1: float
    gain: Interval


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of the model with a baseline.

    Args:
        name: `majority` or `mean`.
        top1: Top-1 of the baseline.
        wins: Clips that only the model gets right.
        losses: Clips that only the baseline gets right.
        p_value: Two-sided p-value of McNemar's exact test: the probability of a difference at least this
            large by chance.
    """

    name: str
    top1: float
    wins: int
    losses: int
    p_value: float


@dataclass(frozen=True)
class EvalReport:
    """How well a model does on labelled clips. A clip that failed counts as a mistake.

    Args:
        classes: In the model's order, which `confusion` follows.
        num_clips: Number of clips, failed ones included.
        num_groups: Number of groups among them.
        top1: Share of clips whose best class is right.
        top1_interval: 95 % interval of `top1`, resampled over groups.
        top5: Share of clips whose class is among the best five.
        mean_class_accuracy: Mean recall of the classes.
        macro_f1: Mean F1 of the classes.
        ece: Expected calibration error, 15 equal bins.
        ece_uncalibrated: The ECE without the model's temperature; None if unknown.
        temperature: The model's temperature, which divides its logits; None if it has no single one.
        floor: Share of each score that the model spreads evenly over the classes.
        false_alarms: Share of clips of known classes that `predict` reports as unknown by default; None if
            their novelty is unknown.
        majority: Top-1 of always predicting the most frequent class of the scored clips.
        baseline: The baseline without frame order; None if the model has none.
        comparisons: Paired comparison with each baseline.
        per_class: In the order of `classes`.
        confusion: `confusion[true][predicted]`, counts of the clips that did not fail.
        scored: Every clip.
        kind: Whether the clips are videos or pictures.
    """

    classes: tuple[str, ...]
    num_clips: int
    num_groups: int
    top1: float
    top1_interval: Interval
    top5: float
    mean_class_accuracy: float
    macro_f1: float
    ece: float
    ece_uncalibrated: float | None
    temperature: float | None
    floor: float
    false_alarms: float | None
    majority: float
    baseline: Baseline | None
    comparisons: tuple[Comparison, ...]
    per_class: tuple[ClassReport, ...]
    confusion: tuple[tuple[int, ...], ...]
    scored: tuple[Scored, ...] = field(repr=False)
    kind: Literal["video", "picture"] = "video"

    @property
    def baselines(self) -> dict[str, float]:
        """Top-1 of each baseline on the same clips, by name."""
        baseline = {} if self.baseline is None else {"mean": self.baseline.top1}
        return {"majority": self.majority, **baseline}

    @property
    def max_score(self) -> float | None:
        """The highest score that the model's calibration allows; None if unknown."""
        return None if self.temperature is None else 1 - self.floor * (1 - 1 / len(self.classes))

    @property
    def failed(self) -> tuple[Scored, ...]:
        """Clips without scores."""
        return tuple(s for s in self.scored if s.failed)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `eval --json`."""
        return {
            "schema": SCHEMA,
            "num_clips": self.num_clips,
            "num_failed": len(self.failed),
            "num_groups": self.num_groups,
            "top1": self.top1,
            "top1_ci95": [self.top1_interval.low, self.top1_interval.high],
            "top5": self.top5,
            "mean_class_accuracy": self.mean_class_accuracy,
            "macro_f1": self.macro_f1,
            "ece": self.ece,
            "ece_uncalibrated": self.ece_uncalibrated,
            "temperature": self.temperature,
            "max_score": self.max_score,
            "novelty_rate": NOVELTY_RATE,
            "false_alarms": self.false_alarms,
            "majority": self.majority,
            "baselines": self.baselines,
            "gain_ci95": None if self.baseline is None else [self.baseline.gain.low, self.baseline.gain.high],
            "comparisons": [asdict(c) for c in self.comparisons],
            "classes": list(self.classes),
            "per_class": [asdict(c) for c in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "failed": [
                {"path": str(s.path), "error": s.problem.to_json() if s.problem else None}
                for s in self.failed
            ],
        }


@dataclass(frozen=True)
class ScoredFilm:
    """A film with its true and its predicted spans.

    Args:
        name: Name of the film.
        group: Group of the film.
        seconds: Length of the film.
        truth: True spans.
        found: Spans found by the model.
        thresholded: Spans from thresholding the same scores, without smoothing.
        failed: Whether the film could not be read.
        unclear: Times in which nobody knows what happens, in order, without overlaps, outside the true spans.
            If this is the whole film, it cannot be scored.
    """

    name: str
    group: str
    seconds: float
    truth: Sequence[Span]
    found: Sequence[Span]
    thresholded: Sequence[Span]
    failed: bool = False
    unclear: Sequence[Times] = ()


@dataclass(frozen=True)
class SpanScores:
    """Metrics of labelled spans; see `vidlstm.metrics.segments`.

    Args:
        frame_accuracy: Share of time with the right label, background included.
        edit: Mean edit score of the films.
        f1: F1 by IoU threshold in percent: `10`, `25` and `50`.
        map: Mean average precision by IoU threshold, `0.3` to `0.7`; None if no film has a span.
    """

    frame_accuracy: float
    edit: float
    f1: dict[str, float]
    map: dict[str, float | None]


@dataclass(frozen=True)
class SpanReport:
    """How well a model finds spans in films that it was not trained on.

    Args:
        num_films: Number of films.
        num_groups: Number of groups among them.
        num_spans: Number of true spans in them.
        scores: Metrics of the model.
        intervals: 95 % intervals of frame accuracy, edit and F1 by name, resampled over groups; empty for one
            group.
        baselines: Metrics of `majority`, the most frequent class everywhere, and `threshold`, the same scores
            without smoothing.
        per_class: F1@50 and number of true spans of each class.
        films: The films. Those that could not be read count as films without predicted spans.
        not_scored: Names of further films, which cannot be scored: an annotation that is not used may be
            anywhere in them.
    """

    num_films: int
    num_groups: int
    num_spans: int
    scores: SpanScores
    intervals: dict[str, Interval]
    baselines: dict[str, SpanScores]
    per_class: dict[str, tuple[float, int]]
    films: tuple[ScoredFilm, ...] = ()
    not_scored: tuple[str, ...] = ()

    @property
    def unclear_seconds(self) -> float:
        """Time of the films that does not count, as nobody knows what happens there."""
        return sum(end - start for film in self.films for start, end in film.unclear)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the films that could not be read."""
        return tuple(film.name for film in self.films if film.failed)

    def to_json(self) -> dict[str, Any]:
        """Return `spans` of `train --json`, `eval --json` and `crossval --json`."""
        return {
            "num_films": self.num_films,
            "num_spans": self.num_spans,
            **asdict(self.scores),
            "ci95": {name: [i.low, i.high] for name, i in self.intervals.items()},
            "baselines": {name: asdict(scores) for name, scores in self.baselines.items()},
            "per_class": [
                {"label": label, "f1_50": f1, "support": support}
                for label, (f1, support) in self.per_class.items()
            ],
            "failed": list(self.failed),
            "not_scored": list(self.not_scored),
            "unclear_seconds": round(self.unclear_seconds, 2),
        }


@dataclass(frozen=True)
class PoseChoice:
    """The comparison of a model with and without the `pose` stream, on clips it was not trained on.

    Args:
        clips: Number of clips.
        right: Number of clips that are right with the stream.
        right_without: Number of clips that are right without it.
        loss: Log loss with the stream.
        loss_without: Log loss without it.
        p: Probability of a gain of this size or more by chance.
        kept: Whether the model keeps the stream.
    """

    clips: int
    right: int
    right_without: int
    loss: float
    loss_without: float
    p: float
    kept: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, rounded."""
        return {n: round(v, 4) if isinstance(v, float) else v for n, v in asdict(self).items()}
