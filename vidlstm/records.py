"""What comes out: one record for every input, epoch, evaluation; and their JSON form.

`to_json` of a record is what users' scripts read: fields are added, never renamed, and `schema`
grows when one changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vidlstm.errors import FailureCode, InputError

SCHEMA = 1

NOVELTY_RATE = 0.05
"""Share of known clips that is taken for unknown at most, unless another is asked for."""
CATCH_ALL = ("background", "none", "other", "unknown")
"""Names, in lower case, of classes that stand for everything else: such a label means unknown."""


def is_unknown(label: str, novelty: float, rate: float = NOVELTY_RATE) -> bool:
    """Tell whether a clip is none of what the model was trained to name.

    Args:
        label: Its best class.
        novelty: Of the clip, see `Prediction`.
        rate: Share of known clips that may be taken for unknown; 0 asks the novelty nothing.
    """
    return label.lower() in CATCH_ALL or novelty > 1 - rate


@dataclass(frozen=True)
class Problem:
    """Why an input has no result, or less of one: a code of the closed set and a sentence."""

    code: FailureCode
    message: str

    @staticmethod
    def of(error: InputError) -> Problem:
        """Return what an `InputError` says, without its path."""
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
        label: The best class; None when it is unknown or its score is below the threshold asked for.
        score: Calibrated probability of the best class, 0 to 1.
        top: The best classes, best first.
        frames: Moments that were read.
        seconds: Length of the clip; None when the file does not tell, or for a picture.
        problem: Set when the label comes from less than the whole file (`truncated`).
        novelty: Share of known clips that are more like the training clips than this one, 0 to 1; 0 where the
            model had no clips to find it out with.
        unknown: It is unlike all training clips, or its best class stands for everything else.
        notes: What else to know of the input, a sentence each: the track that was read, frames lost.
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
    """What happens from `start` to `end` of a film, in seconds, half-open `[start, end)`.

    Args:
        start: When it begins.
        end: When it ends.
        label: Its class.
        score: Calibrated probability of the class over the span, 0 to 1.
    """

    start: float
    end: float
    label: str
    score: float = 1.0


@dataclass(frozen=True)
class FilmSpans:
    """What happens in one film.

    Args:
        path: The film, as the user gave it.
        spans: In order of time; none overlap.
        seconds: Length of the film.
        frame_rate: Frames a second, on average.
        problem: Set when the spans come from less than the whole film (`truncated`).
    """

    path: str
    spans: tuple[Span, ...]
    seconds: float
    frame_rate: float
    problem: Problem | None = None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows of `spans --format jsonl`: one a span, or one that says that there is none."""
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
    """What reading a clip told of it: kept beside its features.

    Args:
        num_frames: Frames in the file: decoded to the end or, if reading stopped earlier, claimed.
        seconds: Length; None when unknown or for a picture.
        width: Of the picture as shown, in pixels.
        height: Of the picture as shown, in pixels.
        problem: `truncated`, when only a part could be read.
        notes: What else to know of the clip, a sentence each: the track that was read, frames lost.
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
        # `val` was the name before validation (inside training) and held-out clips were told apart.
        return {**plain, "validation_loss": self.val_loss, "validation_top1": self.val_top1}

    @staticmethod
    def from_json(line: Mapping[str, Any]) -> EpochReport:
        """Build one from such a line.

        Raises:
            TypeError: It is something else.
        """
        return EpochReport(
            **{name: value for name, value in line.items() if not name.startswith("validation_")}
        )


@dataclass(frozen=True)
class Scored:
    """One evaluated clip: what it is, and what was said of it.

    Args:
        path: Of the clip.
        label: The true class.
        group: Its group.
        scores: Probability of every class, in the model's order; empty when the clip failed.
        novelty: How unlike the training clips it is, see `Prediction`; None where nobody asked.
        problem: Why it failed, or what was wrong with it.
    """

    path: Path
    label: str
    group: str
    scores: tuple[float, ...]
    problem: Problem | None = None
    novelty: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the clip has no scores at all. It counts as a mistake."""
        return not self.scores


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class ClassReport:
    """Scores of one class, 0 to 1; `support` is its number of clips."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Baseline:
    """What the `mean` head, which knows no order, gives on the same clips.

    Args:
        top1: Share of clips whose best class is right.
        gain: 95 % interval of what the model's top-1 is above that, resampled over groups.
    """

    top1: float
    gain: Interval


@dataclass(frozen=True)
class Comparison:
    """The model against a baseline, clip by clip.

    Args:
        name: `majority` or `mean`.
        top1: Of the baseline.
        wins: Clips that only the model has right.
        losses: Clips that only the baseline has right.
        p_value: Of McNemar's exact test, two-sided: how likely so uneven a split is by chance.
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
        classes: In the model's order; `confusion` follows it.
        num_clips: Clips that were asked for, failed ones included.
        num_groups: Groups among them.
        top1: Share of clips whose best class is right.
        top1_interval: 95 % interval of `top1`, resampled over groups.
        top5: Share of clips whose class is among the best five.
        mean_class_accuracy: Mean of the classes' recalls.
        macro_f1: Mean of the classes' F1.
        ece: Expected calibration error, 15 equal bins.
        ece_uncalibrated: The same of the model without its temperature; None where that is not known.
        temperature: Of the model: what its logits are divided by; None where there is not one.
        floor: Of the model: the share of each score that is spread evenly over the classes.
        false_alarms: Share of the clips that `predict` takes for unknown by default, though the model
            has their class; None where their novelty is not known.
        majority: Top-1 of always naming the commonest class of the scored clips.
        baseline: What the model has to beat beside that; None where it has no baseline.
        comparisons: With each baseline, clip by clip.
        per_class: In the order of `classes`.
        confusion: `confusion[true][predicted]`, counts of the clips that did not fail.
        scored: Every clip.
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

    @property
    def baselines(self) -> dict[str, float]:
        """Top-1 of what a model has to beat, by name, on the same clips."""
        baseline = {} if self.baseline is None else {"mean": self.baseline.top1}
        return {"majority": self.majority, **baseline}

    @property
    def max_score(self) -> float | None:
        """The highest score that the model's calibration allows; None where one is not known."""
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
    """How well labelled spans agree with the truth; see `vidlstm.metrics.segments`.

    Args:
        frame_accuracy: Share of time with the right label, background included.
        edit: Mean edit score of the films.
        f1: By IoU threshold in percent, `10`, `25` and `50`.
        map: Mean average precision by IoU threshold, `0.3` to `0.7`; None where no film has a span.
    """

    frame_accuracy: float
    edit: float
    f1: dict[str, float]
    map: dict[str, float | None]


@dataclass(frozen=True)
class SpanReport:
    """How well a model finds spans in films that it was not trained on.

    Args:
        num_films: Films that were scored.
        num_groups: Groups among them.
        num_spans: True spans in them.
        scores: Of the model.
        intervals: 95 % intervals of frame accuracy, edit and F1 by name, resampled over groups.
        baselines: `majority`, the commonest class everywhere; `threshold`, the same scores without
            smoothing.
        per_class: F1@50 and true spans of each class.
        failed: Films that could not be read, by name. They have no spans found in them.
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
