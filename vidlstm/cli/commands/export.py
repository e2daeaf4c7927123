"""`vidlstm export RUN`: write a model as ONNX or OpenVINO, in a self-contained folder."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from vidlstm.cli import options
from vidlstm.cli.checkpoint import find_checkpoint
from vidlstm.cli.console import Console, Exit, command
from vidlstm.config import ExportFormat, ExportPrecision
from vidlstm.data.layouts.folders import count

if TYPE_CHECKING:
    from vidlstm.engine.exporting.export import Export

EXAMPLES = (
    "vidlstm export runs/1",
    "vidlstm export runs/1 --format openvino -o model/",
    "vidlstm export runs/1 --precision int8 -o small/",
    "vidlstm predict -c runs/1/onnx clip.mp4",
)


@command
def export(
    console_options: options.ConsoleOptions,
    checkpoint: Annotated[
        Path | None,
        Argument(
            help="Model file or run folder.",
            show_default="$VIDLSTM_CHECKPOINT, else the newest model in runs/",
        ),
    ] = None,
    networks: Annotated[ExportFormat, Option("--format", "-f", help="Format of the networks.")] = "onnx",
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="Folder to write.",
            show_default="RUN/onnx, RUN/openvino, RUN/onnx-int8, ...",
        ),
    ] = None,
    precision: Annotated[
        ExportPrecision,
        Option(help="float16: half the size. int8: the encoder is a quarter of the size and faster."),
    ] = "float32",
) -> int:
    """Write a model as ONNX or OpenVINO, in a folder that predicts without torch.

    The folder is written only if its scores agree with the model's; with a lower precision, only if 99.5 %
    of the labels of held-out clips agree, and scores are within 0.02 on average.
    """
    console = Console.of(console_options)
    path = find_checkpoint(console, checkpoint)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # the exporter's warnings do not help users

    from vidlstm.engine.exporting.export import export as write
    from vidlstm.models.header import read_header

    name = networks if precision == "float32" else f"{networks}-{precision}"
    result = write(path, networks, output or path.parent / name, precision=precision)
    _say_comparison(console, result)
    if result.folder is None:
        what = "labels" if result.agreement else "scores"
        console.warn(f"the exported model's {what} differ from the model's, so nothing was written")
        return Exit.SOME_FAILED
    for name, size in result.sizes.items():
        console.detail(f"  {name}: {size / 1e6:.2f} MB")
    console.say(f"{sum(result.sizes.values()) / 1e6:.1f} MB in {len(result.sizes)} files.")
    noun = "CLIP" if read_header(path).config.kind == "video" else "PICTURE"
    again = shlex.join(["vidlstm", "predict", "--checkpoint", str(result.folder)])
    console.say(f"Next: {again} {noun}_OR_FOLDER")
    print(result.folder)
    return Exit.DONE


def _say_comparison(console: Console, result: Export) -> None:
    if (found := result.agreement) is not None:
        unread = f"; {found.unread} more cannot be read" if found.unread else ""
        console.say(f"Labels agree on {found.same_labels} of {found.clips} held-out clips{unread}.")
        console.say(
            f"Largest difference in probability: {found.mean:.1e} on average, {found.largest:.1e} overall."
        )
        return
    compared = f"{count(result.real_clips, 'clip')} of the run" if result.real_clips else "random clips"
    console.say(f"Compared on {compared}. Largest difference in probability:")
    for row in result.parity:
        batch = f"{count(row.clips, 'clip')}, {count(row.steps, 'step')}"
        console.say(f"  {batch}: {row.difference:.1e}{'' if row.same_labels else ', labels differ'}")
