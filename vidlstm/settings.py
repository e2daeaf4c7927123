"""The user's settings: frozen dataclasses in which None means "the default for this data".

The command line builds its options on these classes, `vidlstm.train(...)` takes their fields as keywords,
and errors name the field. Combined with the data and, when resuming, the earlier run, they become the
complete configs of `vidlstm.config`. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from vidlstm.config import (
    SEQUENCE_STREAMS,
    SUMMARY_STREAMS,
    Backend,
    BatchBalance,
    HeadKind,
    Kind,
    ModelConfig,
    Precision,
    RegionOrder,
    SamplingMethod,
    StreamName,
    SummaryKind,
    TrainConfig,
)
from vidlstm.errors import UsageError

T = TypeVar("T")

AUTO = "auto"
"""`streams`: the default streams; for training, also `pose` if it helps."""


@dataclass(frozen=True)
class DataSettings:
    """The data set, and where its groups and subsets come from.

    Args:
        data: Class folders, a folder with a `labels.csv`, a table or a list.
        kind: Use only videos, or only pictures.
        group_by: Regular expression that matches a clip's group in its path; `background`: clips with
            nearly the same background form a group.
        group_column: Column of the table that holds the groups.
        split_file: Official split file of UCF101 or HMDB51.
        class_list: File of class names, for a list of paths and class numbers.
        background: `auto`: time outside the spans of films is a class of its own; `none`: it is left out.
    """

    data: Path
    kind: Kind | None = None
    group_by: str | None = None
    group_column: str | None = None
    split_file: Path | None = None
    class_list: Path | None = None
    background: Literal["auto", "none"] | None = None

    def sources(self) -> dict[str, Any]:
        """Return all settings but `data`, as plain JSON values."""
        named = {f.name: getattr(self, f.name) for f in fields(DataSettings) if f.name != "data"}
        return {name: str(v) if isinstance(v, Path) else v for name, v in named.items()}

    def over(self, sources: dict[str, Any]) -> DataSettings:
        """Fill in settings that are None from an earlier run's `sources`."""
        current = {f.name: getattr(self, f.name) for f in fields(DataSettings)}
        paths = ("split_file", "class_list")
        missing: dict[str, Any] = {
            name: Path(value) if name in paths else value
            for name, value in sources.items()
            if value is not None and name in current and current[name] is None
        }
        return DataSettings(**{**current, **missing})


@dataclass(frozen=True)
class SplitSettings:
    """How clips are held out to score the model.

    Args:
        val_share: Share of clips to hold out; None: 0.2, or 0 if the data has a test set.
        allow_shared_groups: Accept a given split with one group in several subsets.
    """

    val_share: float | None = None
    allow_shared_groups: bool = False

    def over(self, sources: dict[str, Any]) -> SplitSettings:
        """Fill in settings that were not given from an earlier run's `sources`."""
        return SplitSettings(
            self.val_share if self.val_share is not None else sources.get("val_share"),
            self.allow_shared_groups or bool(sources.get("allow_shared_groups")),
        )


@dataclass(frozen=True)
class ModelSettings:
    """What is read from a clip, and the network that reads it. `vidlstm.config` documents each field."""

    streams: str | None = None
    head: HeadKind | None = None
    num_frames: int | None = None
    sampling: SamplingMethod | None = None
    stride: int | None = None
    rate: float | None = None
    grid: str | None = None
    overlap: float | None = None
    order: RegionOrder | None = None
    encoder: str | None = None
    weights: str | None = None
    size: int | None = None
    grey: bool = False
    hidden: int | None = None
    layers: int | None = None
    bidirectional: bool | None = None
    dropout: float | None = None
    summary: SummaryKind | None = None
    views: int | None = None
    mirror: bool | None = None
    members: int | None = None
    people: int | None = None
    pose_weights: Path | None = None

    def configure(
        self, kind: Kind, classes: tuple[str, ...], earlier: ModelConfig | None = None
    ) -> ModelConfig:
        """Return the complete model config.

        Args:
            kind: Kind of the data.
            classes: Classes of the data.
            earlier: Source of the settings that were not given; None: the defaults for kind and encoder.

        Raises:
            UsageError: A value, or a combination of values, is invalid.
        """
        if earlier is None:
            base = ModelConfig.default(kind, classes, self.encoder)
        else:
            base = replace(earlier, kind=kind, classes=classes)
        named = None if self.streams in (None, AUTO) else self.streams
        streams = _given(streams=None if named is None else parse_streams(named))
        grid = parse_grid(self.grid) if self.grid is not None else {}
        if self.num_frames == 1 and (self.head or base.head.kind) != "mean":
            raise UsageError(
                "`num_frames=1`: a single moment has no order to read; use 2 or more, or `head=mean`"
            )
        return base.changed(
            sampling=_given(
                method=self.sampling, num_frames=self.num_frames, stride=self.stride, rate=self.rate
            ),
            grid={**grid, **_given(overlap=self.overlap, order=self.order)},
            encoder=_given(
                name=self.encoder, weights=self.weights, size=self.size, channels=1 if self.grey else None
            ),
            head=_given(
                kind=self.head,
                hidden=self.hidden,
                layers=self.layers,
                bidirectional=self.bidirectional,
                dropout=self.dropout,
                summary=self.summary,
            ),
            **streams,
            **_given(views=self.views, members=self.members, mirror=self.mirror, people=self.people),
        )


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained. `vidlstm.config.TrainConfig` documents each field."""

    seed: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    warmup_epochs: int | None = None
    label_smoothing: float | None = None
    mixup: float | None = None
    patience: int | None = None
    balance: BatchBalance | None = None

    def configure(self, model: ModelConfig, earlier: TrainConfig | None = None) -> TrainConfig:
        """Return the complete training config; what is None comes from `earlier` or the model's defaults.

        Raises:
            UsageError: A value is invalid.
        """
        named = {f.name: getattr(self, f.name) for f in fields(TrainingSettings)}
        return replace(earlier or TrainConfig.default(model), **_given(**named))


@dataclass(frozen=True)
class FineTuneSettings:
    """How an encoder is fine-tuned.

    Args:
        unfreeze: Number of last stages to train, or `all`.
        start: Run folder whose encoder and head training starts from.
        encoder_learning_rate: Peak learning rate of the encoder.
        accumulate: Number of parts in which a step's clips pass through the encoder.
        checkpointing: Recompute the encoder's activations in the backward pass instead of keeping them.
    """

    unfreeze: str | None = None
    start: Path | None = None
    encoder_learning_rate: float | None = None
    accumulate: int | None = None
    checkpointing: bool | None = None

    def configure(self, model: ModelConfig, members: int | None) -> ModelConfig:
        """Return the model with part of its encoder unfrozen, and one member: members share the encoder.

        Args:
            model: The model that the other settings describe.
            members: Ensemble size that the user gave, if any.

        Raises:
            UsageError: `unfreeze` is invalid, or does not fit the model.
        """
        if self.unfreeze is None:
            return model
        if self.unfreeze != "all" and not self.unfreeze.isdecimal():
            raise UsageError(f"`unfreeze={self.unfreeze}`: must be a number of stages or all")
        if "rgb" not in model.streams:
            raise UsageError(
                f"`unfreeze={self.unfreeze}`: this model's streams use no encoder; add rgb to `streams`"
            )
        if model.encoder.keeps_pixels:
            raise UsageError(
                f"`unfreeze={self.unfreeze}`: `encoder={model.encoder.name}` is always trained whole; "
                "leave out `unfreeze`"
            )
        number = None if self.unfreeze == "all" else int(self.unfreeze)
        return model.changed(
            members=(members or 1) if number != 0 else model.members, encoder={"unfrozen": number}
        )

    def over(self, training: TrainConfig) -> TrainConfig:
        """Return the training config with the settings given here."""
        return replace(
            training,
            **_given(
                encoder_learning_rate=self.encoder_learning_rate,
                accumulate=self.accumulate,
                checkpointing=self.checkpointing,
            ),
        )


@dataclass(frozen=True)
class MachineSettings:
    """Which hardware and libraries to use.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        backend: Library that runs a frozen encoder.
        precision: Precision of the encoder; None: `float32`, but `bfloat16` for fine-tuning on a GPU.
        workers: Decoder processes; None: one per core, at most 16.
        timeout: Seconds allowed per file.
        ray: Address of the Ray cluster that reads and encodes; `auto`: the one that this machine is part
            of; `local`: one on this machine only. None: no cluster.
        ray_cpus: CPUs of each actor; None: all of the smallest node's, 8 at most.
        ray_gpus: GPUs of each actor.
    """

    device: str = "auto"
    backend: Backend = "auto"
    precision: Precision | None = None
    workers: int | None = None
    timeout: float = 120.0
    ray: str | None = None
    ray_cpus: float | None = None
    ray_gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.ray is None and (self.ray_cpus is not None or self.ray_gpus):
            raise UsageError("`ray_cpus` and `ray_gpus` are for actors on a cluster: add `ray`")
        if self.ray_cpus is not None and not self.ray_cpus > 0:
            raise UsageError(f"`ray_cpus={self.ray_cpus:g}`: more than 0 are needed")
        if not self.ray_gpus >= 0:
            raise UsageError(f"`ray_gpus={self.ray_gpus:g}`: must be 0 or more")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"`workers={self.workers}`: must be at least 1")
        if not self.timeout > 0:
            raise UsageError(f"`timeout={self.timeout:g}`: must be more than 0 seconds")


@dataclass(frozen=True)
class OutputSettings:
    """The run folder, and what to do with an existing run.

    Args:
        out: Run folder; None: the next free one of `runs/1`, `runs/2`, ...
        overwrite: Replace the run in `out`.
        resume: Folder of the run to resume.
        allow_changes: Resume even if data or settings have changed.
        tensorboard: Also write event files for TensorBoard.
    """

    out: Path | None = None
    overwrite: bool = False
    resume: Path | None = None
    allow_changes: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.resume is None and self.allow_changes:
            raise UsageError("`allow_changes=True` needs `resume`")
        if self.resume is not None and (self.overwrite or self.out not in (None, self.resume)):
            raise UsageError("`resume` continues a run in its own folder: leave out `out` and `overwrite`")


def _given(**settings: T | None) -> dict[str, Any]:
    """Return the settings that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def parse_streams(text: str) -> tuple[StreamName, ...]:
    """Parse `rgb+motion` into stream names, in the order of `SEQUENCE_STREAMS` and `SUMMARY_STREAMS`.

    Raises:
        UsageError: A name is not a stream.
    """
    known = SEQUENCE_STREAMS + SUMMARY_STREAMS
    names = [name.strip() for name in text.split("+")]
    for name in names:
        if name not in known:
            raise UsageError(
                f"`streams={text}`: {name!r} is not one of {', '.join(known)}; join with +, as in rgb+motion"
            )
    return tuple(name for name in known if name in names)


def parse_grid(text: str) -> dict[str, int]:
    """Parse `4x4` into rows and columns.

    Raises:
        UsageError: The text has another form.
    """
    rows, _, columns = text.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise UsageError(f"`grid={text}`: must be rows x columns, as in 4x4")
    return {"rows": int(rows), "columns": int(columns)}
