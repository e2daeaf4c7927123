"""Options for device, backend, precision, decoder processes and the feature store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typer import Option

from vidlstm.cli.options.panels import MACHINE
from vidlstm.config import Backend, LabelPrecision, Precision
from vidlstm.settings import MachineSettings

DeviceOption = Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")]
BackendOption = Annotated[
    Backend,
    Option(
        help="Library that runs the networks. auto: OpenVINO on a CPU if installed, else torch.",
        rich_help_panel=MACHINE,
    ),
]
PrecisionOption = Annotated[
    Precision | None,
    Option(
        help="Precision of the encoder. bfloat16 is faster on some machines; scores differ a little.",
        show_default="float32; bfloat16 for fine-tuning on a GPU",
        rich_help_panel=MACHINE,
    ),
]
LabelPrecisionOption = Annotated[
    LabelPrecision | None,
    Option(
        help="Precision of the encoder. bfloat16 is faster on some machines, int8 (OpenVINO) on most; scores "
        "differ a little. int8 is refused if it changed labels of held-out clips.",
        show_default="float32; int8 with OpenVINO if at least 20 held-out clips kept their labels",
        rich_help_panel=MACHINE,
    ),
]


@dataclass(frozen=True)
class MachineOptions(MachineSettings):
    """Which hardware and libraries to use."""

    device: DeviceOption = "auto"
    backend: BackendOption = "auto"
    precision: PrecisionOption = None
    workers: Annotated[
        int | None,
        Option(
            min=1, help="Decoder processes.", show_default="one per core, at most 16", rich_help_panel=MACHINE
        ),
    ] = None
    timeout: Annotated[float, Option(min=0.1, help="Seconds allowed per file.", rich_help_panel=MACHINE)] = (
        120.0
    )


@dataclass(frozen=True)
class ClusterOptions(MachineOptions):
    """Which hardware and libraries to use, optionally on a Ray cluster."""

    ray: Annotated[
        str | None,
        Option(
            help="Read and encode on a Ray cluster: its address, auto, or local.",
            show_default="this machine",
            rich_help_panel=MACHINE,
        ),
    ] = None
    ray_cpus: Annotated[
        float | None,
        Option(
            help="CPUs per actor.",
            show_default="the smallest node's, at most 8",
            rich_help_panel=MACHINE,
        ),
    ] = None
    ray_gpus: Annotated[float, Option(help="GPUs per actor.", rich_help_panel=MACHINE)] = 0.0


@dataclass(frozen=True)
class LabellingOptions(ClusterOptions):
    """Which hardware and libraries to use, optionally on a Ray cluster, and in which precision to label."""

    precision: LabelPrecisionOption = None  # type: ignore[assignment]  # int8 is for labelling only


CacheOption = Annotated[
    bool,
    Option(
        "--cache/--no-cache",
        help="Keep features on disk, so that each clip is encoded only once.",
        rich_help_panel=MACHINE,
    ),
]
