"""What a training, an evaluation and a cross-validation tell while they run: events, frozen and plain.

A session is a generator of these; its last event is its result. Whoever iterates over it decides what
to show: the command line prints, `vidlstm.train(...)` hands them to a function or drops them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vidlstm.records import ClipInfo, EpochReport, Problem

if TYPE_CHECKING:
    from vidlstm.data.samples import Dataset
    from vidlstm.data.splits import Split

Stage = Literal["extraction", "training", "baseline", "folds"]


@dataclass(frozen=True)
class DataFound:
    """The clips, their classes and groups are known."""

    dataset: Dataset


@dataclass(frozen=True)
class SplitMade:
    """Every clip is in a subset."""

    split: Split


@dataclass(frozen=True)
class SubsetChosen:
    """These clips are scored, described in words."""

    description: str


@dataclass(frozen=True)
class KnownClips:
    """The model was trained on some of the clips that are scored; a sentence says so."""

    note: str


@dataclass(frozen=True)
class Progress:
    """So much of a stage is done; the first of a stage comes before anything is.

    Args:
        stage: What is being done.
        done: Clips, epochs or folds.
        total: Likewise.
        detail: Which of several such stages it is.
    """

    stage: Stage
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True)
class ClipProblem:
    """A clip that cannot be read, or only in part."""

    path: Path
    problem: Problem
    usable: bool


@dataclass(frozen=True)
class ClipsExtracted:
    """The features of all clips are there.

    Args:
        infos: What reading told of each usable clip.
        problems: Clips that cannot be read, or only in part.
    """

    infos: tuple[ClipInfo, ...]
    problems: tuple[ClipProblem, ...]


@dataclass(frozen=True)
class FeaturesNotKept:
    """The feature store could not be written; the features are used all the same."""

    store: Path
    reason: str


@dataclass(frozen=True)
class Resumed:
    """Training goes on after this epoch of an earlier run."""

    epoch: int
    num_epochs: int


@dataclass(frozen=True)
class EpochEnded:
    """An epoch is over, and noted in the run folder."""

    report: EpochReport


@dataclass(frozen=True)
class Diverged:
    """The loss is no longer a number; the best epoch before is kept."""

    epoch: int
    best_epoch: int
    learning_rate: float


@dataclass(frozen=True)
class Interrupted:
    """Ctrl-C ended training.

    Args:
        run: Folder of the run, which can be resumed.
        epoch: The last one that is noted there, 0 before the first.
        best_epoch: The one that is kept as the model; None if none is, and the session ends.
    """

    run: Path
    epoch: int
    best_epoch: int | None


@dataclass(frozen=True)
class BaselineTrained:
    """The baseline is ready for comparison, after so many epochs."""

    epochs: int


@dataclass(frozen=True)
class BaselineInterrupted:
    """Ctrl-C ended the baseline's training: the model is saved without one."""


@dataclass(frozen=True)
class StartKept:
    """Fine-tuning improved nothing: the model is that of the run it started from."""

    start: Path


@dataclass(frozen=True)
class Saved:
    """The model is in the run folder."""

    run: Path
    checkpoint: Path


Event = (
    DataFound | SplitMade | SubsetChosen | KnownClips | Progress | ClipsExtracted | FeaturesNotKept
    | Resumed | EpochEnded | Diverged | Interrupted | BaselineTrained | BaselineInterrupted | StartKept
    | Saved
)  # fmt: skip
