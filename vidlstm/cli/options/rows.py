"""Options of the commands that write rows: `predict`, `spans` and `watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from vidlstm.cli.options.panels import FILES, MACHINE

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
NoveltyRateOption = Annotated[
    float, Option(min=0, max=1, help="Share of known clips that may be reported as unknown. 0: none.")
]
MinScoreOption = Annotated[float, Option(min=0, max=1, help="Leave out spans with a lower score.")]
MinDurationOption = Annotated[str, Option(help="Leave out shorter spans.")]
MaxGapOption = Annotated[str, Option(help="Merge spans of the same label with at most this gap.")]
GlobOption = Annotated[
    str | None, Option(help="Files to read in folders.", show_default="all videos", rich_help_panel=FILES)
]
NullOption = Annotated[
    bool,
    Option(
        "-0",
        "--null",
        help="Paths on standard input are separated by NUL, as from find -print0.",
        rich_help_panel=FILES,
    ),
]
ShardOption = Annotated[
    str | None,
    Option(
        help="i/n: read every n-th input, starting with the i-th. auto: i and n of this job array.",
        rich_help_panel=FILES,
    ),
]
OutputOption = Annotated[
    Path | None, Option("--output", "-o", help="Write the rows to this new file.", rich_help_panel=FILES)
]
MaxSizeOption = Annotated[str, Option(help="Skip larger files.", rich_help_panel=MACHINE)]
