"""Train, evaluate and cross-validate from Python, with the same code as the commands.

Settings are keywords, named as in `vidlstm.settings`. Nothing is printed; `on_event` is called with each
event (see `vidlstm.engine.events`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from vidlstm.config import (
    Backend,
    BatchBalance,
    HeadKind,
    Kind,
    Precision,
    RegionOrder,
    SamplingMethod,
    SummaryKind,
)
from vidlstm.settings import (
    DataSettings,
    FineTuneSettings,
    MachineSettings,
    ModelSettings,
    OutputSettings,
    SplitSettings,
    TrainingSettings,
)
from vidlstm.stores import to_path

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vidlstm.engine.evaluation.crossval import CrossvalResult, Folds
    from vidlstm.engine.evaluation.evaluate import EvaluateResult
    from vidlstm.engine.evaluation.subsets import Wanted
    from vidlstm.engine.events import Event
    from vidlstm.engine.training.result import TrainResult

FilePath = str | os.PathLike[str]
OnEvent = Callable[["Event"], object]
S = TypeVar("S")
R = TypeVar("R")


class DataKeywords(TypedDict, total=False):
    """The fields of `DataSettings` except `data`."""

    kind: Kind
    group_by: str
    group_column: str
    split_file: FilePath
    class_list: FilePath
    background: Literal["auto", "none"]


class MachineKeywords(TypedDict, total=False):
    """The fields of `MachineSettings`, and `cache`: whether to store features on disk."""

    device: str
    backend: Backend
    precision: Precision
    workers: int
    timeout: float
    ray: str
    ray_cpus: float
    ray_gpus: float
    cache: bool


class ModelKeywords(TypedDict, total=False):
    """The fields of `ModelSettings`."""

    streams: str
    head: HeadKind
    num_frames: int
    sampling: SamplingMethod
    stride: int
    rate: float
    grid: str
    overlap: float
    order: RegionOrder
    encoder: str
    weights: str
    size: int
    grey: bool
    hidden: int
    layers: int
    bidirectional: bool
    dropout: float
    summary: SummaryKind
    views: int
    mirror: bool
    members: int
    people: int
    pose_weights: FilePath


class TrainingKeywords(TypedDict, total=False):
    """The fields of `TrainingSettings`."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_epochs: int
    label_smoothing: float
    mixup: float
    patience: int
    balance: BatchBalance


class EvaluateKeywords(DataKeywords, MachineKeywords, total=False):
    """Keywords of `evaluate`."""


class CrossvalKeywords(DataKeywords, MachineKeywords, ModelKeywords, TrainingKeywords, total=False):
    """Keywords of `crossval`."""


class TrainKeywords(CrossvalKeywords, total=False):
    """Keywords of `train`: also the fields of `SplitSettings`, `FineTuneSettings` and `OutputSettings`."""

    val_share: float
    allow_shared_groups: bool
    unfreeze: str
    start: FilePath
    encoder_learning_rate: float
    accumulate: int
    checkpointing: bool
    out: FilePath
    overwrite: bool
    resume: FilePath
    allow_changes: bool
    tensorboard: bool


def train(
    data: FilePath, *, on_event: OnEvent | None = None, **settings: Unpack[TrainKeywords]
) -> TrainResult:
    """Train a model and write its run folder: `vidlstm.train("clips", epochs=20, out="runs/a").report.top1`.

    Ctrl-C ends training early and keeps the best epoch so far. Under torchrun, rank 0 returns the result
    and the other ranks raise SystemExit.

    Args:
        data: As for `vidlstm train`: class folders, a table or a list.
        on_event: Called with each event, such as the end of an epoch.
        settings: The options of `vidlstm train`, named as in `vidlstm.settings`.

    Raises:
        VidlstmError: The data, the settings or a file cannot be used; the message says which and why.
    """
    from vidlstm.engine.training.plan import TrainRequest
    from vidlstm.engine.training.result import TrainResult
    from vidlstm.engine.training.session import train as session

    given: dict[str, Any] = {**settings}
    request = TrainRequest(
        _take(DataSettings, given, data=to_path(os.fspath(data))),
        _take(SplitSettings, given),
        _take(ModelSettings, given),
        _take(TrainingSettings, given),
        _take(FineTuneSettings, given),
        _take(MachineSettings, given),
        _take(OutputSettings, given),
        **_last("train", given),
    )
    return _run(session(request), TrainResult, on_event)


def evaluate(
    data: FilePath,
    checkpoint: FilePath,
    *,
    subset: Wanted | None = None,
    page: FilePath | None = None,
    on_event: OnEvent | None = None,
    **settings: Unpack[EvaluateKeywords],
) -> EvaluateResult:
    """Score a model on labelled clips: `vidlstm.evaluate("clips", "runs/1").report.top1`.

    Args:
        data: As for `vidlstm eval`.
        checkpoint: A `model.safetensors`, or the run folder that holds one.
        subset: Which clips to score. None: the test set; if there is none, the clips that the run held out;
            otherwise all clips.
        page: Path of the HTML report; plots are written next to it.
        on_event: Called with each event.
        settings: The options of `vidlstm eval`, named as in `vidlstm.settings`.

    Raises:
        VidlstmError: The data, the model or a setting cannot be used; the message says which and why.
    """
    from vidlstm.engine.evaluation.evaluate import EvaluateRequest, EvaluateResult
    from vidlstm.engine.evaluation.evaluate import evaluate as session
    from vidlstm.models.header import checkpoint_file

    given: dict[str, Any] = {**settings}
    request = EvaluateRequest(
        _take(DataSettings, given, data=to_path(os.fspath(data))),
        checkpoint_file(Path(checkpoint)),
        subset,
        _take(MachineSettings, given),
        None if page is None else Path(page),
        **_last("evaluate", given),
    )
    return _run(session(request), EvaluateResult, on_event)


def crossval(
    data: FilePath,
    *,
    folds: Folds = 5,
    ablation: bool = False,
    repeat: int = 1,
    out: FilePath | None = None,
    overwrite: bool = False,
    on_event: OnEvent | None = None,
    **settings: Unpack[CrossvalKeywords],
) -> CrossvalResult:
    """Estimate accuracy by cross-validation: `vidlstm.crossval("clips", folds="group").report.top1`.

    Args:
        data: As for `vidlstm crossval`.
        folds: A number; `group`: one fold per group; `split`: the train and test sets of the data.
        ablation: Compare streams and heads.
        repeat: Number of seeds, counted up from `seed`.
        out: Folder for the report page, `predictions.csv` and plots.
        overwrite: Replace an existing report in `out`.
        on_event: Called with each event, such as the end of a fold.
        settings: The options of `vidlstm crossval`, named as in `vidlstm.settings`.

    Raises:
        VidlstmError: The data or a setting cannot be used; the message says which and why.
    """
    from vidlstm.engine.evaluation.crossval import CrossvalRequest, CrossvalResult
    from vidlstm.engine.evaluation.crossval import crossval as session

    given: dict[str, Any] = {**settings}
    request = CrossvalRequest(
        _take(DataSettings, given, data=to_path(os.fspath(data))),
        _take(ModelSettings, given),
        _take(TrainingSettings, given),
        _take(MachineSettings, given),
        folds,
        ablation,
        repeat,
        None if out is None else Path(out),
        overwrite,
        **_last("crossval", given),
    )
    return _run(session(request), CrossvalResult, on_event)


_PATHS = ("split_file", "class_list", "pose_weights", "start", "out", "resume")


def _take(group: type[S], given: dict[str, Any], **more: Any) -> S:
    """Build one group of settings, removing its keywords from `given`."""
    for field in fields(group):  # type: ignore[arg-type]
        if field.name in given:
            value = given.pop(field.name)
            more[field.name] = Path(value) if field.name in _PATHS and value is not None else value
    return group(**more)


def _last(function: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the remaining keywords, which belong to the request itself.

    Raises:
        TypeError: A keyword is unknown.
    """
    if unknown := sorted(set(given) - {"cache"}):
        raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}")
    return given


def _run(session: Iterable[Any], result: type[R], on_event: OnEvent | None) -> R:
    """Run a session to its end and return its last event, the result."""
    last = None
    for last in session:
        if on_event is not None and not isinstance(last, result):
            on_event(last)
    if not isinstance(last, result):
        raise SystemExit  # not rank 0, see `train`
    return last
