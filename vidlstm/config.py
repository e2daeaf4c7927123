"""The complete configuration of a model and its training, as frozen dataclasses.

They are stored in the checkpoint as a plain dict, see `vidlstm.config_dict`. Nothing here opens a file
or imports torch. Values are checked on construction, so every config object is valid.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from vidlstm.errors import UsageError

Kind = Literal["video", "picture"]
StreamName = Literal["rgb", "motion", "pose", "colour", "texture"]
SamplingMethod = Literal["uniform", "dense", "fps"]
HeadKind = Literal["lstm", "gru", "mean"]
SummaryKind = Literal["last", "mean", "attention"]
RegionOrder = Literal["raster", "serpentine"]
BatchBalance = Literal["none", "sampler", "loss"]
Backend = Literal["auto", "torch", "openvino"]
Precision = Literal["float32", "bfloat16"]
LabelPrecision = Literal["float32", "bfloat16", "int8"]
"""Precision of a trained model when labelling; features for training are never int8."""
ExportFormat = Literal["onnx", "openvino"]
ReviewFormat = Literal["html", "label-studio", "cvat"]
ExportPrecision = Literal["float32", "float16", "int8"]

SEQUENCE_STREAMS: tuple[StreamName, ...] = ("rgb", "motion", "pose")
"""Streams with one vector per step, `(T, D)`, read by the head."""
SUMMARY_STREAMS: tuple[StreamName, ...] = ("colour", "texture")
"""Streams with one vector per clip, `(D,)`, joined to the head's summary before the classifier."""
DEFAULT_STREAMS: dict[Kind, tuple[StreamName, ...]] = {
    "video": ("rgb", "motion"),
    "picture": ("rgb", "colour", "texture"),
}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _within(name: str, value: float, low: float, high: float) -> None:
    """Check a number. Upper limits are far above any useful value, and protect from hostile model files."""
    _require(value >= low, f"`{name}={value}`: must be at least {low}")
    _require(value <= high, f"`{name}={value}`: must be at most {high}")


@dataclass(frozen=True)
class Sampling:
    """Which moments of a clip are read.

    Args:
        method: `uniform` (one moment in each of `num_frames` equal segments), `dense` (`num_frames`
            frames, `stride` apart) or `fps` (`rate` moments per second).
        num_frames: Number of steps for `uniform` and `dense`; maximum number of steps for `fps`. The
            `rgb` stream of a video takes every second step: appearance changes more slowly than motion.
        stride: Distance between the moments of `dense`, in frames.
        rate: Moments per second of `fps`.
    """

    method: SamplingMethod = "uniform"
    num_frames: int = 16
    stride: int = 2
    rate: float = 4.0

    def __post_init__(self) -> None:
        _within("num_frames", self.num_frames, 1, 100_000)
        _within("stride", self.stride, 1, 100_000)
        _require(self.rate > 0, f"`rate={self.rate}`: must be more than 0")
        _within("rate", self.rate, 0, 1000)


@dataclass(frozen=True)
class Grid:
    """How a picture is cut into a sequence of regions.

    Args:
        rows: Rows of the grid.
        columns: Columns of the grid.
        overlap: Overlap of neighbouring regions, as a share of a region's side; 0 to below 1.
        order: `raster` reads every row left to right, `serpentine` alternates the direction.
        whole: Add the whole picture as the first region.
    """

    rows: int = 2
    columns: int = 2
    overlap: float = 0.75
    order: RegionOrder = "raster"
    whole: bool = True

    def __post_init__(self) -> None:
        grid = f"`grid={self.rows}x{self.columns}`"
        _require(self.rows >= 1 and self.columns >= 1, f"{grid}: must be at least 1x1")
        _require(max(self.rows, self.columns) <= 64, f"{grid}: must be at most 64x64")
        _require(0 <= self.overlap < 1, f"`overlap={self.overlap}`: must be at least 0 and below 1")


@dataclass(frozen=True)
class EncoderConfig:
    """The per-frame CNN.

    Args:
        name: `efficientnet_lite0` to `efficientnet_lite2`, `simple`, or a classification CNN of torchvision.
        weights: `default` (pretrained), `none` (from scratch) or the path of a state dict.
        size: Side of the square input, in pixels.
        channels: 3 for RGB, 1 for greyscale.
        rows: `simple` only: read a picture's feature map row by row, not as one vector.
        unfrozen: How many of the last stages are trained with the rest of the model; None: all of them.
            `simple` is always trained whole.
    """

    name: str = "efficientnet_lite0"
    weights: str = "default"
    size: int = 224
    channels: int = 3
    rows: bool = False
    unfrozen: int | None = 0

    @property
    def trainable(self) -> bool:
        """Whether any stage is trained, from pixels. Otherwise the whole encoder is frozen."""
        return self.unfrozen != 0 or self.keeps_pixels

    @property
    def keeps_pixels(self) -> bool:
        """Whether its input is so small that the pixels of all clips stay in memory during training."""
        return self.name == "simple"

    @property
    def from_scratch(self) -> bool:
        """Whether training starts from random weights."""
        return self.keeps_pixels or self.weights == "none"

    def __post_init__(self) -> None:
        _within("size", self.size, 8, 2048)
        _require(self.channels in (1, 3), f"{self.channels} channels: must be 1 or 3")
        _within("unfreeze", self.unfrozen or 0, 0, 1000)


@dataclass(frozen=True)
class HeadConfig:
    """The part of the model that reads a stream's vectors in order.

    Args:
        kind: `lstm`, `gru`, or `mean`, the baseline without frame order.
        hidden: Width of the recurrent state, per direction.
        layers: Number of recurrent layers.
        bidirectional: Read the sequence backwards as well.
        dropout: Dropout before the classifier and between recurrent layers; before the head half as much.
        summary: How the outputs are reduced to one vector: the `last` unpadded step, their `mean`, or
            `attention`.
        projection: Width of the linear layer before the head; 0: no such layer.
    """

    kind: HeadKind = "lstm"
    hidden: int = 64
    layers: int = 1
    bidirectional: bool = True
    dropout: float = 0.5
    summary: SummaryKind = "last"
    projection: int = 64

    def __post_init__(self) -> None:
        _within("hidden", self.hidden, 1, 16_384)
        _within("layers", self.layers, 1, 16)
        _within("projection", self.projection, 0, 16_384)
        _require(0 <= self.dropout < 1, f"`dropout={self.dropout}`: must be at least 0 and below 1")


@dataclass(frozen=True)
class SpanConfig:
    """How spans are found in films.

    Args:
        windows: Lengths of the scored windows in seconds, increasing; each a whole multiple of the first,
            so that all share one grid of moments.
        background: The class for time without an action; None if the model has no such class.
        switch_cost: Cost of a change of label on the best path through a film, in nats.
    """

    windows: tuple[float, ...]
    background: str | None = None
    switch_cost: float = 3.0

    def __post_init__(self) -> None:
        _require(bool(self.windows), "windows: at least one length is needed")
        _require(self.windows[0] > 0, f"windows {self.windows[0]}: must be more than 0 seconds")
        _require(len(self.windows) <= 1000, f"{len(self.windows)} windows: must be at most 1000")
        for window in self.windows:
            _within("window", window, 0, 86_400)
        _within("switch_cost", self.switch_cost, 0, 1e6)


@dataclass(frozen=True)
class ModelConfig:
    """Everything that prediction needs besides the weights.

    Args:
        kind: What the model labels.
        classes: Class names, in the order of the scores.
        streams: Names of the streams.
        sampling: Which moments of a clip are read.
        views: Temporal samples per clip; their scores are averaged.
        mirror: Mirrored clips have the same class: train on them, too, and average both at test time.
        members: Ensemble size; each member leaves out a different part of the groups.
        grid: How a picture is cut into regions.
        encoder: The CNN of the `rgb` stream.
        head: What reads the steps in order.
        people: Maximum number of people that the `pose` stream describes at each moment.
        spans: How spans are found in films; None for pictures, and for models without it.
    """

    kind: Kind
    classes: tuple[str, ...]
    streams: tuple[StreamName, ...]
    sampling: Sampling = field(default_factory=Sampling)
    views: int = 2
    mirror: bool = True
    members: int = 4
    grid: Grid = field(default_factory=Grid)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    people: int = 2
    spans: SpanConfig | None = None

    def __post_init__(self) -> None:
        _require(len(self.classes) >= 2, "a model needs at least two classes")
        _require(len(set(self.classes)) == len(self.classes), "two classes have the same name")
        _require(len(set(self.streams)) == len(self.streams), "a stream is named twice")
        _require(
            any(s in SEQUENCE_STREAMS for s in self.streams),
            f"`streams={'+'.join(self.streams)}`: at least one of {', '.join(SEQUENCE_STREAMS)} is needed",
        )
        _require(
            self.kind == "video" or "pose" not in self.streams,
            f"`streams={'+'.join(self.streams)}`: pose needs videos, but this model labels pictures",
        )
        _require(1 <= self.people <= 4, f"`people={self.people}`: must be from 1 to 4")
        _within("views", self.views, 1, 100)
        _within("members", self.members, 1, 100)
        _require(
            self.members == 1 or not self.encoder.trainable or "rgb" not in self.streams,
            f"`members={self.members}`: must be 1 to train the encoder: members share it, so the clips "
            "that one of them leaves out would reach it through the others",
        )

    @property
    def film_rate(self) -> float | None:
        """Moments per second of a film's grid; None if the model does not score windows of films."""
        if self.spans is None or self.sampling.method == "dense":
            return None
        if self.sampling.method == "fps":
            return self.sampling.rate
        return self.sampling.num_frames / self.spans.windows[0]

    @staticmethod
    def default(kind: Kind, classes: tuple[str, ...], encoder: str | None = None) -> ModelConfig:
        """Return the default model for a kind of input and an encoder.

        `simple` selects the article's network: its sizes, one LSTM of width 128, nothing else.
        """
        mirror = not names_sides(classes)
        if encoder == "simple":
            article = HeadConfig(hidden=128, bidirectional=False, dropout=0.3, projection=0)
            cnn = EncoderConfig("simple", size=32, rows=kind == "picture")
            whole = Grid(1, 1)
            return ModelConfig(
                kind, classes, ("rgb",), mirror=mirror, members=1, grid=whole, encoder=cnn, head=article
            )
        cnn = EncoderConfig(encoder or EncoderConfig.name, size=224 if kind == "video" else 160)
        return ModelConfig(kind, classes, DEFAULT_STREAMS[kind], mirror=mirror, encoder=cnn)

    def changed(self, **settings: Any) -> ModelConfig:
        """Return a copy with some settings changed; those of a part (`head`, ...) are given as a dict."""
        parts = {
            name: dataclasses.replace(getattr(self, name), **value) if isinstance(value, dict) else value
            for name, value in settings.items()
        }
        return dataclasses.replace(self, **parts)


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Args:
        epochs: Maximum number of epochs.
        batch_size: Clips per step.
        learning_rate: Peak learning rate, after the warm-up.
        weight_decay: Weight decay of AdamW.
        warmup_epochs: Epochs of linear warm-up.
        label_smoothing: Share of the target that is spread over all classes.
        mixup: Parameter of the Beta distribution of mixup; 0: no mixup.
        patience: Epochs without a better validation loss before training stops; 0: no early stopping.
        balance: How rare classes are weighted: not at all, by sampling, or in the loss.
        seed: Seed of all randomness.
        encoder_learning_rate: Peak learning rate of a pretrained encoder.
        accumulate: Number of parts in which a step's clips pass through the encoder.
        checkpointing: Recompute the encoder's activations in the backward pass instead of keeping them
            (Chen et al. 2016).
        auto_streams: Remove the `pose` stream after training unless it helps by more than chance.
    """

    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    warmup_epochs: int = 4
    label_smoothing: float = 0.1
    mixup: float = 0.2
    patience: int = 15
    balance: BatchBalance = "none"
    seed: int = 0
    encoder_learning_rate: float = 1e-4
    accumulate: int = 1
    checkpointing: bool = False
    auto_streams: bool = False

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, f"`epochs={self.epochs}`: must be at least 1")
        _require(self.batch_size >= 1, f"`batch_size={self.batch_size}`: must be at least 1")
        _require(self.learning_rate > 0, f"`learning_rate={self.learning_rate}`: must be more than 0")
        _require(self.patience >= 0, f"`patience={self.patience}`: must be at least 0")
        rate = self.encoder_learning_rate
        _require(rate > 0, f"`encoder_learning_rate={rate}`: must be more than 0")
        _require(self.accumulate >= 1, f"`accumulate={self.accumulate}`: must be at least 1")

    @staticmethod
    def default(model: ModelConfig) -> TrainConfig:
        """Return the defaults for a model: training an encoder needs smaller and more steps."""
        if model.encoder.name == "simple":
            return TrainConfig(
                epochs=80,
                batch_size=48,
                learning_rate=2e-3,
                weight_decay=0.05,
                warmup_epochs=9,
                mixup=0.0,
                patience=0,
            )
        if model.encoder.trainable:
            return TrainConfig(
                epochs=20, batch_size=16, learning_rate=1e-3, warmup_epochs=2, mixup=0.2, patience=6
            )
        if model.kind == "picture":
            return TrainConfig(epochs=30, batch_size=64, learning_rate=2e-3, warmup_epochs=3)
        return TrainConfig()


_SIDES = {"left", "right", "leftward", "rightward", "leftwards", "rightwards", "clockwise", "cw", "ccw"} | {
    "counterclockwise",
    "anticlockwise",
}


def names_sides(classes: tuple[str, ...]) -> bool:
    """Tell whether a class name mentions a side or a turn, so that mirroring would change the label."""
    return any(word in _SIDES for name in classes for word in re.findall("[a-z]+", name.lower()))
