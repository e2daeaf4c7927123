"""Options shared by several commands, declared once, in groups.

A command takes a group as one parameter (`data: DataOptions`); `console.command` expands its fields for
Typer. `--help` shows the common options, `--help-all` also the advanced panels. None means the default of
the configuration, which `show_default` states.
"""

from __future__ import annotations

from vidlstm.cli.options.console import ConsoleOptions, HelpAllOption, JsonOption
from vidlstm.cli.options.data import DataOptions, SplitOptions, ValShareOption
from vidlstm.cli.options.machine import (
    BackendOption,
    CacheOption,
    ClusterOptions,
    DeviceOption,
    LabellingOptions,
    LabelPrecisionOption,
    MachineOptions,
    PrecisionOption,
)
from vidlstm.cli.options.model import ModelOptions
from vidlstm.cli.options.panels import (
    ADVANCED,
    ALL,
    FILES,
    FINE_TUNING,
    LAYOUT,
    MACHINE,
    MODEL,
    OUTPUT,
    READING,
    SPLIT,
    TRAINING,
)
from vidlstm.cli.options.rows import (
    CheckpointOption,
    GlobOption,
    MaxGapOption,
    MaxSizeOption,
    MinDurationOption,
    MinScoreOption,
    NoveltyRateOption,
    NullOption,
    OutputOption,
    PathsArgument,
    ShardOption,
)
from vidlstm.cli.options.training import FineTuneOptions, OutputOptions, TrainingOptions

__all__ = [
    "ADVANCED",
    "ALL",
    "FILES",
    "FINE_TUNING",
    "LAYOUT",
    "MACHINE",
    "MODEL",
    "OUTPUT",
    "READING",
    "SPLIT",
    "TRAINING",
    "BackendOption",
    "CacheOption",
    "CheckpointOption",
    "ClusterOptions",
    "ConsoleOptions",
    "DataOptions",
    "DeviceOption",
    "FineTuneOptions",
    "GlobOption",
    "HelpAllOption",
    "JsonOption",
    "LabelPrecisionOption",
    "LabellingOptions",
    "MachineOptions",
    "MaxGapOption",
    "MaxSizeOption",
    "MinDurationOption",
    "MinScoreOption",
    "ModelOptions",
    "NoveltyRateOption",
    "NullOption",
    "OutputOption",
    "OutputOptions",
    "PathsArgument",
    "PrecisionOption",
    "ShardOption",
    "SplitOptions",
    "TrainingOptions",
    "ValShareOption",
]
