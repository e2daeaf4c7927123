"""What a person may choose: frozen dataclasses in which None means "as suits the data".

The command line declares its options on top of these classes, `vidlstm.train(...)` takes their fields
as keywords, and an error names the field that it is about. Together with the data and, if there is
one, the run that goes on, they become the complete configs of `vidlstm.config`. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from vidlstm.config import (
    Backend,
    BatchBalance,
    HeadKind,
    Kind,
    ModelConfig,
    Precision,
    RegionOrder,
    SamplingMethod,
    SummaryKind,
    TrainConfig,
    parse_grid,
    parse_streams,
)
from vidlstm.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class DataSettings:
    """Which data, and how its groups and subsets are found.

    Args:
        data: Class folders, a folder with a `labels.csv`, a table or a list.
        kind: Take only videos, or only pictures.
        group_by: Regular expression that finds a clip's group in its path; `background`: clips with
            near-equal backgrounds are a group.
        group_column: Column of the table to take groups from.
        split_file: Official split file of UCF101 or HMDB51.
        class_list: Class names of a list of paths and class numbers.
        background: `auto`: time without a span in films is a class; `none`: it is left out.
    """

    data: Path
    kind: Kind | None = None
    group_by: str | None = None
    group_column: str | None = None
    split_file: Path | None = None
    class_list: Path | None = None
    background: Literal["auto", "none"] | None = None

    def sources(self) -> dict[str, Any]:
        """Return how samples and groups are found, as plain JSON values."""
        named = {f.name: getattr(self, f.name) for f in fields(DataSettings) if f.name != "data"}
        return {name: str(v) if isinstance(v, Path) else v for name, v in named.items()}

    def over(self, sources: dict[str, Any]) -> DataSettings:
        """Take from an earlier run's `sources` what is not given here."""
        own = {f.name: getattr(self, f.name) for f in fields(DataSettings)}
        paths = ("split_file", "class_list")
        missing: dict[str, Any] = {
            name: Path(value) if name in paths else value
            for name, value in sources.items()
            if value is not None and name in own and own[name] is None
        }
        return DataSettings(**{**own, **missing})


@dataclass(frozen=True)
class SplitSettings:
    """How the clips that score the model are held out.

    Args:
        val_share: Share of the clips; None: 0.2, or 0 if the data has a test set.
        allow_shared_groups: Accept a given split with one group in several subsets.
    """

    val_share: float | None = None
    allow_shared_groups: bool = False

    def over(self, sources: dict[str, Any]) -> SplitSettings:
        """Take from an earlier run's `sources` what is not given here."""
        return SplitSettings(
            self.val_share if self.val_share is not None else sources.get("val_share"),
            self.allow_shared_groups or bool(sources.get("allow_shared_groups")),
        )


@dataclass(frozen=True)
class ModelSettings:
    """What is read of a clip and what reads it; see `vidlstm.config` for what each does."""

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
        """Return the model that they ask for.

        Args:
            kind: Of the data.
            classes: Of the data.
            earlier: What was not given is as in this one; by default what suits kind and encoder.

        Raises:
            UsageError: They make no sense.
        """
        if earlier is None:
            base = ModelConfig.default(kind, classes, self.encoder)
        else:
            base = replace(earlier, kind=kind, classes=classes)
        streams = _given(streams=None if self.streams is None else parse_streams(self.streams))
        grid = parse_grid(self.grid) if self.grid is not None else {}
        if self.num_frames == 1 and (self.head or base.head.kind) != "mean":
            raise UsageError(
                "`num_frames=1`: one moment has no order to read; take 2 or more, or `head=mean`"
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
    """How a model is trained; see `vidlstm.config.TrainConfig` for what each does."""

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
        """Return the training that they ask for, over an earlier run's, else over what suits the model.

        Raises:
            UsageError: They make no sense.
        """
        named = {f.name: getattr(self, f.name) for f in fields(TrainingSettings)}
        return replace(earlier or TrainConfig.default(model), **_given(**named))


@dataclass(frozen=True)
class FineTuneSettings:
    """How an encoder is fine-tuned.

    Args:
        unfreeze: How many of its last stages are trained, or `all`.
        start: Run folder that training starts from: its encoder and head.
        encoder_learning_rate: Peak learning rate of the encoder.
        accumulate: Parts that a step's clips go through the encoder in.
        checkpointing: Compute the encoder's activations twice rather than keep them.
    """

    unfreeze: str | None = None
    start: Path | None = None
    encoder_learning_rate: float | None = None
    accumulate: int | None = None
    checkpointing: bool | None = None

    def configure(self, model: ModelConfig, members: int | None) -> ModelConfig:
        """Return the model with so much of its encoder unfrozen; one network, as they share the encoder.

        Args:
            model: As the other settings say.
            members: That were asked for.

        Raises:
            UsageError: It makes no sense.
        """
        if self.unfreeze is None:
            return model
        if self.unfreeze != "all" and not self.unfreeze.isdecimal():
            raise UsageError(f"`unfreeze={self.unfreeze}`: must be a number of stages or all")
        if "rgb" not in model.streams:
            raise UsageError(
                f"`unfreeze={self.unfreeze}`: the streams of this model need no encoder; add rgb to `streams`"
            )
        if model.encoder.keeps_pixels:
            raise UsageError(
                f"`unfreeze={self.unfreeze}`: leave it out: `encoder={model.encoder.name}` is always "
                "trained whole"
            )
        number = None if self.unfreeze == "all" else int(self.unfreeze)
        return model.changed(
            members=(members or 1) if number != 0 else model.members, encoder={"unfrozen": number}
        )

    def over(self, training: TrainConfig) -> TrainConfig:
        """Return the training with what is given here."""
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
    """Where it runs.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        backend: What computes a frozen encoder.
        precision: Of the encoder; None: `float32`, but `bfloat16` to fine-tune on a GPU.
        workers: Decoder processes; None: one a core, 8 at most.
        timeout: Seconds that one file may take.
    """

    device: str = "auto"
    backend: Backend = "auto"
    precision: Precision | None = None
    workers: int | None = None
    timeout: float = 120.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"`workers={self.workers}`: at least 1 is needed")
        if not self.timeout > 0:
            raise UsageError(f"`timeout={self.timeout:g}`: more than 0 seconds are needed")


@dataclass(frozen=True)
class OutputSettings:
    """Which run folder, and what happens to a run that is there.

    Args:
        out: Run folder; None: the next of `runs/1`, `runs/2`, ...
        overwrite: Replace the run in `out`.
        resume: Run folder of the run to resume.
        allow_changes: Resume even if data or settings have changed.
        tensorboard: Write events for TensorBoard as well.
    """

    out: Path | None = None
    overwrite: bool = False
    resume: Path | None = None
    allow_changes: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.resume is None and self.allow_changes:
            raise UsageError("`allow_changes=True` is only for a run that is resumed: add `resume`")
        if self.resume is not None and (self.overwrite or self.out not in (None, self.resume)):
            raise UsageError("`resume` continues a run in its own folder: leave out `out` and `overwrite`")


def _given(**settings: T | None) -> dict[str, Any]:
    """Return the settings that were given."""
    return {name: value for name, value in settings.items() if value is not None}
