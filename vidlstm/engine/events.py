"""Events of a running training, evaluation or cross-validation, as frozen dataclasses.

A session is a generator of events, and its last event is the result. The caller decides what to show: the
command line prints, `vidlstm.train(...)` passes them to `on_event` or drops them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vidlstm.evaluations import PoseChoice
from vidlstm.records import ClipInfo, EpochReport, Problem

if TYPE_CHECKING:
    from vidlstm.data.copies import Copies
    from vidlstm.data.samples import Dataset
    from vidlstm.data.splits import Split

Stage = Literal["extraction", "training", "baseline", "folds", "int8"]


@dataclass(frozen=True)
class DataFound:
    """The clips, classes and groups were found."""

    dataset: Dataset


@dataclass(frozen=True)
class CopiesFound:
    """Identical files are in several classes or groups.

    Args:
        data: The data set, as it was given.
        root: Folder that the samples' names are relative to.
        copies: The samples of such files.
    """

    data: Path
    root: Path
    copies: Copies


@dataclass(frozen=True)
class SplitMade:
    """The split was made."""

    split: Split


@dataclass(frozen=True)
class SubsetChosen:
    """The clips to score were chosen."""

    description: str


@dataclass(frozen=True)
class KnownClips:
    """The model was trained on some of the clips to be scored."""

    note: str


@dataclass(frozen=True)
class Progress:
    """Progress of a stage; the first event of a stage comes before its work starts.

    Args:
        stage: The stage.
        done: Finished clips, epochs or folds.
        total: Number of clips, epochs or folds.
        detail: Distinguishes several stages of the same name.
    """

    stage: Stage
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True)
class ClipProblem:
    """A clip that cannot be read, or only partly."""

    path: Path
    problem: Problem
    usable: bool


@dataclass(frozen=True)
class ClipsExtracted:
    """The features of all clips were extracted.

    Args:
        infos: Facts about each usable clip.
        problems: Clips that cannot be read, or only partly.
    """

    infos: tuple[ClipInfo, ...]
    problems: tuple[ClipProblem, ...]


@dataclass(frozen=True)
class FeaturesNotKept:
    """The feature store could not be written; the features are used without it."""

    store: Path
    reason: str


@dataclass(frozen=True)
class Resumed:
    """Training resumes after this epoch of an earlier run, or is over: only the scoring is repeated."""

    epoch: int
    num_epochs: int
    is_over: bool = False


@dataclass(frozen=True)
class EpochEnded:
    """An epoch ended and was written to the run folder."""

    report: EpochReport


@dataclass(frozen=True)
class Diverged:
    """The loss is not finite; the best epoch so far is kept."""

    epoch: int
    best_epoch: int
    learning_rate: float


@dataclass(frozen=True)
class Interrupted:
    """Ctrl-C ended training.

    Args:
        data: The data set, as it was given.
        run: Run folder, from which training can be resumed.
        epoch: The last epoch written there; 0 if there is none.
        best_epoch: The epoch whose weights become the model; None if there is none and the session ends.
        holds_earlier: The run folder still holds the run that this one was to replace.
    """

    data: Path
    run: Path
    epoch: int
    best_epoch: int | None
    holds_earlier: bool = False


@dataclass(frozen=True)
class BaselineTrained:
    """The baseline was trained, for comparison."""

    epochs: int


@dataclass(frozen=True)
class BaselineInterrupted:
    """Ctrl-C ended the training of the baseline; the model is saved without it."""


@dataclass(frozen=True)
class NotCalibrated:
    """No training clip can be held out for early stopping, calibration and novelty.

    Args:
        goes_on: The weights were trained on the clips, or on others of their groups, in an earlier run.
            Otherwise there are too few clips.
    """

    goes_on: bool


@dataclass(frozen=True)
class UnknownOff:
    """Some ensemble members hold out no clip any more, so novelty cannot be calibrated.

    Args:
        members: Number of these members.
        size: Number of members of the ensemble.
    """

    members: int
    size: int


@dataclass(frozen=True)
class StartKept:
    """Fine-tuning brought no improvement; the model is the one it started from."""

    start: Path


@dataclass(frozen=True)
class Saved:
    """The model was written to the run folder."""

    run: Path
    checkpoint: Path


@dataclass(frozen=True)
class Int8Compared:
    """The model was compared with itself in int8 on held-out clips.

    Args:
        clips: Number of clips that were compared.
        same_labels: Number of them with the same label.
        difference: Largest difference in probability of a clip, averaged over clips.
        kept: Whether the model can be used in int8.
        is_default: Whether it is, unless the user chooses another precision.
    """

    clips: int
    same_labels: int
    difference: float
    kept: bool
    is_default: bool


@dataclass(frozen=True)
class Int8Failed:
    """The model was saved, but could not be compared with itself in int8."""

    reason: str


@dataclass(frozen=True)
class PoseLeftOut:
    """`streams=auto` trains without the `pose` stream, for this reason."""

    reason: str


@dataclass(frozen=True)
class PoseCompared:
    """`streams=auto` compared the model with and without the `pose` stream."""

    choice: PoseChoice


Event = (
    DataFound | CopiesFound | SplitMade | SubsetChosen | KnownClips | Progress | ClipsExtracted
    | FeaturesNotKept | Resumed | EpochEnded | Diverged | Interrupted | BaselineTrained
    | BaselineInterrupted | NotCalibrated | UnknownOff | StartKept | Saved | Int8Compared | Int8Failed
    | PoseLeftOut | PoseCompared
)  # fmt: skip
