"""Options that mean the same in every command, declared once, in groups that a command takes whole.

A command names a group as a parameter (`data: DataOptions`); `console.command` spreads its fields
out for Typer. A newcomer needs few of them: the others stand in panels of their own in `--help`.
None means that the default of the configuration holds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from typer import Argument, Option

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

READING = "What is read of a clip or picture"
MODEL = "The model"
TRAINING = "Training"
FINE_TUNING = "Fine-tuning: the encoder learns, too"
SPLIT = "Layouts, groups and splits"
MACHINE = "The machine"
OUTPUT = "What is said"

T = TypeVar("T")


def given(**options: T | None) -> dict[str, Any]:
    """Return the options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class DataOptions:
    """Which data, and what its groups and sides are."""

    data: Annotated[
        Path, Argument(help="Class folders, a folder with labels.csv, a CSV/TSV of path,label, or a list.")
    ]
    kind: Annotated[
        Kind | None,
        Option(
            "--kind",
            help="Take only videos, or only pictures, of data that holds both.",
            rich_help_panel=SPLIT,
        ),
    ] = None
    group_by: Annotated[
        str | None,
        Option(
            help="Regular expression that finds a clip's group (recording, person) in its path.",
            rich_help_panel=SPLIT,
        ),
    ] = None
    group_column: Annotated[
        str | None, Option(help="Column of the table to take groups from.", rich_help_panel=SPLIT)
    ] = None
    split_file: Annotated[
        Path | None, Option(help="Official split file of UCF101 or HMDB51.", rich_help_panel=SPLIT)
    ] = None
    class_list: Annotated[
        Path | None, Option(help="Class names of a list of paths and class numbers.", rich_help_panel=SPLIT)
    ] = None

    def sources(self) -> dict[str, Any]:
        """Return how samples and groups are found, as plain JSON values."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "data"}
        return {name: str(v) if isinstance(v, Path) else v for name, v in named.items()}

    def over(self, sources: dict[str, Any]) -> DataOptions:
        """Take from an earlier run's `sources` what is not given here."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        paths = ("split_file", "class_list")
        missing: dict[str, Any] = {
            name: Path(value) if name in paths else value
            for name, value in sources.items()
            if value is not None and name in own and own[name] is None
        }
        return replace(self, **missing)


@dataclass(frozen=True)
class ModelOptions:
    """What is read of a clip and what reads it."""

    streams: Annotated[
        str | None,
        Option(
            help="What is looked at, joined by +: rgb, motion, colour, texture. "
            "Default: rgb+motion for video, rgb+colour+texture for pictures."
        ),
    ] = None
    head: Annotated[
        HeadKind | None,
        Option(help="What reads the frames in order: lstm (default), gru, or mean, which knows no order."),
    ] = None
    frames: Annotated[
        int | None,
        Option(help="Moments of a clip that are read (with fps: at most).", rich_help_panel=READING),
    ] = None
    sampling: Annotated[
        SamplingMethod | None,
        Option(
            help="uniform: spread over the clip; dense: a run of frames; fps: a rate (long clips give more).",
            rich_help_panel=READING,
        ),
    ] = None
    stride: Annotated[
        int | None, Option(help="Frames from one moment to the next (dense).", rich_help_panel=READING)
    ] = None
    rate: Annotated[float | None, Option(help="Moments a second (fps).", rich_help_panel=READING)] = None
    grid: Annotated[
        str | None, Option(help="Regions of a picture, rows x columns, such as 4x4.", rich_help_panel=READING)
    ] = None
    overlap: Annotated[
        float | None, Option(help="Share that neighbouring regions have in common.", rich_help_panel=READING)
    ] = None
    order: Annotated[
        RegionOrder | None, Option(help="In which order regions are read.", rich_help_panel=READING)
    ] = None
    encoder: Annotated[
        str | None,
        Option(
            help="efficientnet_lite0 (default), simple, or a classification CNN of torchvision by its name.",
            rich_help_panel=MODEL,
        ),
    ] = None
    weights: Annotated[
        str | None, Option(help="The encoder's weights: default, none or a file.", rich_help_panel=MODEL)
    ] = None
    size: Annotated[
        int | None, Option(help="Side of the encoder's input, in pixels.", rich_help_panel=MODEL)
    ] = None
    grey: Annotated[
        bool, Option("--grey", help="Read pictures in grey (encoder simple).", rich_help_panel=MODEL)
    ] = False
    hidden: Annotated[int | None, Option(help="Width of the LSTM's state.", rich_help_panel=MODEL)] = None
    layers: Annotated[int | None, Option(help="Layers of the LSTM.", rich_help_panel=MODEL)] = None
    bidirectional: Annotated[
        bool | None,
        Option("--bidirectional/--forward-only", help="Read backwards as well.", rich_help_panel=MODEL),
    ] = None
    dropout: Annotated[
        float | None, Option(help="Share of units dropped while training.", rich_help_panel=MODEL)
    ] = None
    summary: Annotated[
        SummaryKind | None,
        Option(
            help="What becomes of the LSTM's outputs: last real step, mean, attention.", rich_help_panel=MODEL
        ),
    ] = None
    views: Annotated[
        int | None,
        Option(help="Temporal samples of a clip whose scores are averaged.", rich_help_panel=READING),
    ] = None

    mirror: Annotated[
        bool | None,
        Option(
            "--mirror/--no-mirror",
            help="A clip flipped left to right is of the same class. "
            "Default: unless a class is named after a side or turn (left, right, clockwise, ...).",
            rich_help_panel=MODEL,
        ),
    ] = None
    members: Annotated[
        int | None,
        Option(help="Networks that are averaged, each trained on other groups.", rich_help_panel=MODEL),
    ] = None

    def configure(
        self, kind: Kind, classes: tuple[str, ...], earlier: ModelConfig | None = None
    ) -> ModelConfig:
        """Put the options together to what the model is.

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
        streams = given(streams=None if self.streams is None else parse_streams(self.streams))
        grid = parse_grid(self.grid) if self.grid is not None else {}
        return base.changed(
            sampling=given(method=self.sampling, num_frames=self.frames, stride=self.stride, rate=self.rate),
            grid={**grid, **given(overlap=self.overlap, order=self.order)},
            encoder=given(
                name=self.encoder, weights=self.weights, size=self.size, channels=1 if self.grey else None
            ),
            head=given(
                kind=self.head,
                hidden=self.hidden,
                layers=self.layers,
                bidirectional=self.bidirectional,
                dropout=self.dropout,
                summary=self.summary,
            ),
            **streams,
            **given(views=self.views, members=self.members, mirror=self.mirror),
        )


ValShareOption = Annotated[
    float | None,
    Option(
        help="Share of the data held out to score the model. Default: 0.2; 0 if there is a test side.",
        rich_help_panel=SPLIT,
    ),
]


@dataclass(frozen=True)
class TrainOptions:
    """How a model is trained."""

    seed: Annotated[
        int | None, Option(help="The same seed gives the same split, weights and figures. Default: 0.")
    ] = None
    epochs: Annotated[int | None, Option(help="Passes over the data, at most.", rich_help_panel=TRAINING)] = (
        None
    )
    batch_size: Annotated[int | None, Option(help="Clips of one step.", rich_help_panel=TRAINING)] = None
    learning_rate: Annotated[
        float | None, Option("--lr", help="Peak learning rate.", rich_help_panel=TRAINING)
    ] = None
    weight_decay: Annotated[float | None, Option(help="Of AdamW.", rich_help_panel=TRAINING)] = None
    warmup_epochs: Annotated[
        int | None, Option(help="Epochs until the peak rate.", rich_help_panel=TRAINING)
    ] = None
    label_smoothing: Annotated[
        float | None, Option(help="Share of the target spread over all classes.", rich_help_panel=TRAINING)
    ] = None
    mixup: Annotated[float | None, Option(help="Strength of mixup; 0: none.", rich_help_panel=TRAINING)] = (
        None
    )
    patience: Annotated[
        int | None,
        Option(
            help="Epochs without a better validation until training stops; 0: never.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    balance: Annotated[
        BatchBalance | None,
        Option(
            help="Rare classes: drawn more often, weighted more in the loss, or left.",
            rich_help_panel=TRAINING,
        ),
    ] = None
    val_share: ValShareOption = None

    def configure(self, model: ModelConfig, earlier: TrainConfig | None = None) -> TrainConfig:
        """Put the options together, over an earlier run's, else over what suits the model."""
        named = {f.name: getattr(self, f.name, None) for f in fields(TrainConfig)}
        return replace(earlier or TrainConfig.default(model), **given(**named))


@dataclass(frozen=True)
class FineTuneOptions:
    """How an encoder learns."""

    unfreeze: Annotated[
        str | None,
        Option(
            help="Let the encoder's last N stages, or all, learn too, from pixels.",
            rich_help_panel=FINE_TUNING,
        ),
    ] = None
    start: Annotated[
        Path | None,
        Option("--from", help="Start from a trained run: its encoder and head.", rich_help_panel=FINE_TUNING),
    ] = None
    encoder_lr: Annotated[
        float | None, Option(help="Peak learning rate of the encoder.", rich_help_panel=FINE_TUNING)
    ] = None
    accumulate: Annotated[
        int | None,
        Option(
            help="Pass a step's clips through in so many parts: less memory, the same result.",
            rich_help_panel=FINE_TUNING,
        ),
    ] = None
    checkpointing: Annotated[
        bool | None,
        Option(
            "--checkpointing/--no-checkpointing",
            help="Compute the encoder's activations twice rather than keep them: less memory, more time.",
            rich_help_panel=FINE_TUNING,
        ),
    ] = None

    def configure(self, model: ModelConfig, members: int | None) -> ModelConfig:
        """Return the model with so much of its encoder unfrozen; one network, as they share the encoder.

        Args:
            model: As the other options say.
            members: That were asked for.

        Raises:
            UsageError: It makes no sense.
        """
        if self.unfreeze is None:
            return model
        if self.unfreeze != "all" and not self.unfreeze.isdecimal():
            raise UsageError(f"--unfreeze {self.unfreeze}: a number of stages or all is needed")
        if "rgb" not in model.streams:
            raise UsageError(f"--unfreeze {self.unfreeze}: no encoder is needed without the rgb stream")
        if model.encoder.small:
            raise UsageError(
                f"--unfreeze {self.unfreeze}: --encoder {model.encoder.name} learns anyway, leave it out"
            )
        number = None if self.unfreeze == "all" else int(self.unfreeze)
        return model.changed(
            members=(members or 1) if number != 0 else model.members, encoder={"unfrozen": number}
        )

    def over(self, training: TrainConfig) -> TrainConfig:
        """Return the settings with what is given here."""
        return replace(
            training,
            **given(
                encoder_learning_rate=self.encoder_lr,
                accumulate=self.accumulate,
                checkpointing=self.checkpointing,
            ),
        )


@dataclass(frozen=True)
class MachineOptions:
    """Where it runs."""

    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=MACHINE)] = "auto"
    backend: Annotated[
        Backend,
        Option(
            help="What computes the encoder. auto: on a CPU openvino, where it is installed.",
            rich_help_panel=MACHINE,
        ),
    ] = "auto"
    precision: Annotated[
        Precision | None,
        Option(
            help="Of the encoder. bfloat16 is faster where the machine has it; its scores differ a little. "
            "Default: float32; bfloat16 while an encoder learns on a GPU.",
            rich_help_panel=MACHINE,
        ),
    ] = None
    workers: Annotated[
        int | None,
        Option(min=1, help="Decoder processes. Default: one a core, 8 at most.", rich_help_panel=MACHINE),
    ] = None
    timeout: Annotated[
        float, Option(min=0.1, help="Seconds that one file may take.", rich_help_panel=MACHINE)
    ] = 120.0


@dataclass(frozen=True)
class ConsoleOptions:
    """What is said on standard error."""

    quiet: Annotated[
        bool, Option("--quiet", "-q", help="Say only what went wrong.", rich_help_panel=OUTPUT)
    ] = False
    verbose: Annotated[bool, Option("--verbose", "-v", help="Say more.", rich_help_panel=OUTPUT)] = False


CheckpointOption = Annotated[
    Path | None,
    Option(
        "--checkpoint",
        "-c",
        help="Model. Default: $VIDLSTM_CHECKPOINT, else the newest runs/*/model.safetensors.",
    ),
]
JsonOption = Annotated[
    bool, Option("--json", help="One JSON object on standard output, for a machine to read.")
]
CacheOption = Annotated[
    bool,
    Option(
        "--cache/--no-cache", help="Keep features, so that a clip is encoded once.", rich_help_panel=MACHINE
    ),
]
SharedGroupsOption = Annotated[
    bool,
    Option(
        "--allow-shared-groups",
        help="Accept a given split with one group on both sides: scores will be too good.",
        rich_help_panel=SPLIT,
    ),
]
