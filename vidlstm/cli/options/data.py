"""Options for the data set, its groups, and the split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from vidlstm.cli.options.panels import LAYOUT, SPLIT
from vidlstm.config import Kind
from vidlstm.settings import DataSettings, SplitSettings
from vidlstm.stores import to_path


@dataclass(frozen=True)
class DataOptions(DataSettings):
    """The data set, and where its groups and splits come from."""

    data: Annotated[
        Path,
        Argument(
            parser=to_path,
            metavar="DATA",
            help="Class folders, a labels.csv or its folder, a table, a list, or annotated films.",
        ),
    ]
    kind: Annotated[
        Kind | None,
        Option(
            "--kind",
            help="Use only videos, or only pictures. Needed if DATA has both.",
            show_default="the kind in DATA",
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
            help="Films: time outside all spans. auto: class background; none: left out.",
            show_default="auto",
            rich_help_panel=LAYOUT,
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
class SplitOptions(SplitSettings):
    """How clips are held out to score the model."""

    val_share: ValShareOption = None
    allow_shared_groups: Annotated[
        bool,
        Option(
            "--allow-shared-groups",
            help="Accept a given split in which a group is in two subsets. Scores will be too high.",
            rich_help_panel=LAYOUT,
        ),
    ] = False
