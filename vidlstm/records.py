"""Results: one record per input or epoch, and their JSON form.

Users' scripts read the output of `to_json`: fields are added, never renamed, and `schema` is incremented
when a field changes its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vidlstm.errors import FailureCode, InputError

SCHEMA = 1

Times = tuple[float, float]
"""Start and end of a part of a film, in seconds."""

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


def part_name(name: str, times: Times | None) -> str:
    """Return the name of a part of a film, with its times as a media fragment: `day.mp4#t=12.40,15.12`."""
    return name if times is None else f"{name}#t={times[0]:.2f},{times[1]:.2f}"


def read_part_name(name: str) -> tuple[str, Times | None]:
    """Return the name of the film and the times from what `part_name` gives."""
    match = re.fullmatch(r"(.*)#t=(\d+\.?\d*),(\d+\.?\d*)", name, re.DOTALL)
    return (name, None) if match is None else (match[1], (float(match[2]), float(match[3])))


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
