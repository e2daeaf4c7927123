"""Results: one record per input, epoch or evaluation, and their JSON form.

Users' scripts read the output of `to_json`: fields are added, never renamed, and `schema` is incremented
when a field changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from vidlstm.errors import FailureCode, InputError

SCHEMA = 1

NOVELTY_RATE = 0.05
"""Default upper limit for the share of known clips that are reported as unknown."""
CATCH_ALL = ("background", "none", "other", "unknown")
"""Names, in lower case, of classes for everything else; a clip with such a label is unknown."""


def is_unknown(label: str, novelty: float, rate: float = NOVELTY_RATE) -> bool:
    """Tell whether a clip shows none of the model's classes.

    Args:
        label: The clip's best class.
        novelty: The clip's novelty, see `Prediction`.
        rate: Share of known clips that may be reported as unknown; 0 ignores the novelty.
    """
    return label.lower() in CATCH_ALL or novelty > 1 - rate


@dataclass(frozen=True)
class Problem:
    """Why an input has no result or only a partial one: a `FailureCode` and a sentence."""

    code: FailureCode
    message: str

    @staticmethod
    def of(error: InputError) -> Problem:
        """Return code and message of an `InputError`, without the path."""
        return Problem(error.code, error.message)

    def to_json(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"code": self.code.value, "message": self.message}


@dataclass(frozen=True)
class Score:
    """One class and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The label of one input.

    Args:
        path: The input, as the user gave it.
        label: The best class; None if the clip is unknown or the score is below the requested threshold.
        score: Calibrated probability of the best class, 0 to 1.
        top: The best classes, best first.
        frames: Number of moments that were read.
        seconds: Length of the clip; None for a picture, or if the file does not state it.
        problem: Set when the label comes from less than the whole file (`truncated`).
        novelty: Share of known clips that resemble the training clips more than this one does, 0 to 1; 0 if
            the model had no clips to estimate it from.
        unknown: The clip is unlike all training clips, or its best class stands for everything else.
        notes: Notes on the input, one sentence each: which track was read, lost frames.
    """

    path: str
    label: str | None
    score: float
    top: tuple[Score, ...]
    frames: int
    seconds: float | None
    problem: Problem | None = None
    novelty: float = 0.0
    unknown: bool = False
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the row of `--format jsonl`."""
        return {
            "schema": SCHEMA,
            "path": self.path,
            "label": self.label,
            "unknown": self.unknown,
            "score": round(self.score, 6),
            "novelty": round(self.novelty, 6),
            "top": [{"label": s.label, "score": round(s.score, 6)} for s in self.top],
            "frames": self.frames,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "error": None if self.problem is None else self.problem.to_json(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Failure:
    """An input that has no label, and why."""

    path: str
    problem: Problem

    def to_json(self) -> dict[str, Any]:
        """Return the row of `--format jsonl`, with the same keys as a prediction."""
        return {
            "schema": SCHEMA,
            "path": self.path,
            "label": None,
            "unknown": False,
            "score": None,
            "novelty": None,
            "top": [],
            "frames": 0,
            "seconds": None,
            "error": self.problem.to_json(),
            "notes": [],
        }


@dataclass(frozen=True)
class Span:
    """A labelled interval of a film, half-open `[start, end)`.

    Args:
        start: In seconds.
        end: In seconds.
        label: The class.
        score: Calibrated probability of the class over the span, 0 to 1.
    """

    start: float
    end: float
    label: str
    score: float = 1.0


@dataclass(frozen=True)
class FilmSpans:
    """The spans of one film.

    Args:
        path: The film, as the user gave it.
        spans: In order of time, without overlaps.
        seconds: Length of the film.
        frame_rate: Average frames per second.
        problem: Set when the spans come from less than the whole film (`truncated`).
    """

    path: str
    spans: tuple[Span, ...]
    seconds: float
    frame_rate: float
    problem: Problem | None = None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows of `spans --format jsonl`: one per span, or one of nulls if there are none."""
        shared = {
            "schema": SCHEMA,
            "path": self.path,
            "seconds": round(self.seconds, 3),
            "error": None if self.problem is None else self.problem.to_json(),
        }
        nothing = {"start": None, "end": None, "label": None, "score": None}
        return [
            {
                **shared,
                "start": round(s.start, 3),
                "end": round(s.end, 3),
                "label": s.label,
                "score": round(s.score, 6),
            }
            for s in self.spans
        ] or [{**shared, **nothing}]


@dataclass(frozen=True)
class ClipInfo:
    """Facts found while reading a clip; stored with its features.

    Args:
        num_frames: Frames in the file: counted if it was decoded to the end, otherwise as the file claims.
        seconds: Length; None for a picture, or if unknown.
        width: Width of the picture as displayed, in pixels.
        height: Height of the picture as displayed, in pixels.
        problem: `truncated` if only a part could be read.
        notes: Notes on the clip, one sentence each: which track was read, lost frames.
    """

    num_frames: int
    seconds: float | None
    width: int
    height: int
    problem: Problem | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EpochReport:
    """One epoch of training. Losses are means over clips; accuracies are 0 to 1."""

    epoch: int
    num_epochs: int
    train_loss: float
    val_loss: float | None
    val_top1: float | None
    learning_rate: float
    seconds: float
    is_best: bool

    def to_json(self) -> dict[str, Any]:
        """Return the line of `metrics.jsonl`."""
        plain = asdict(self)
        # The `val_` names are older than the distinction of validation (inside training) and held-out clips.
        return {**plain, "validation_loss": self.val_loss, "validation_top1": self.val_top1}

    @staticmethod
    def from_json(line: Mapping[str, Any]) -> EpochReport:
        """Build a report from such a line.

        Raises:
            TypeError: The line has other fields.
        """
        return EpochReport(
            **{name: value for name, value in line.items() if not name.startswith("validation_")}
        )


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
    """

    path: Path
    label: str
    group: str
    scores: tuple[float, ...]
    problem: Problem | None = None
    novelty: float | None = None

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
        p_value: Two-sided p-value of McNemar's exact test: how likely a difference at least this large is by
            chance.
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
        majority: Top-1 of always predicting the commonest class of the scored clips.
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
        intervals: 95 % intervals of frame accuracy, edit and F1 by name, resampled over groups.
        baselines: Metrics of `majority`, the commonest class everywhere, and `threshold`, the same scores
            without smoothing.
        per_class: F1@50 and number of true spans of each class.
        failed: Names of the films that could not be read; they count as films without predicted spans.
    """

    num_films: int
    num_groups: int
    num_spans: int
    scores: SpanScores
    intervals: dict[str, Interval]
    baselines: dict[str, SpanScores]
    per_class: dict[str, tuple[float, int]]
    failed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields that `eval --json` and `crossval --json` add for films."""
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
        }
