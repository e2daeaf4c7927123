"""Options for training, fine-tuning and the run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from vidlstm.cli.options.panels import FINE_TUNING, OUTPUT, TRAINING
from vidlstm.config import BatchBalance, TrainConfig
from vidlstm.settings import FineTuneSettings, OutputSettings, TrainingSettings

_TRAIN = TrainConfig()


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
            help="Stop after this many epochs without improvement. 0: no early stopping.",
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
class FineTuneOptions(FineTuneSettings):
    """How the encoder is fine-tuned."""

    unfreeze: Annotated[
        str | None,
        Option(
            help="Train the encoder's last N stages as well, or all. Other training defaults apply.",
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
class OutputOptions(OutputSettings):
    """The run folder, and what to do with an existing run."""

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
