"""Which model a command uses."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from vidlstm.cli.console import Console
from vidlstm.config import Kind
from vidlstm.data.layouts.folders import some
from vidlstm.errors import CheckpointError

_VARIABLE = "VIDLSTM_CHECKPOINT"
_SHOWN = 6  # classes named before "and N more"


def find_checkpoint(console: Console, given: Path | None) -> Path:
    """Return the checkpoint to use; report which one if the user did not name it.

    Raises:
        CheckpointError: No checkpoint was found.
    """
    from vidlstm.models.header import checkpoint_file, read_header

    if given is not None:
        return checkpoint_file(given)
    if named := os.environ.get(_VARIABLE):
        console.say(f"Model: {named} (${_VARIABLE})")
        return checkpoint_file(Path(named))
    runs = _runs()
    if not runs:
        raise CheckpointError(
            "no model found in runs/ in this folder; train one with `vidlstm train DATA`, "
            "or name one with `checkpoint`"
        )
    if len(runs) == 1:
        console.say(f"Model: {runs[0]} (the newest in runs/)")
    else:  # it may be the wrong one
        config = read_header(runs[0]).config
        labels = f"labels {config.kind}s: {some(config.classes, _SHOWN)}"
        console.say(f"Model: {runs[0]} (the newest of {len(runs)} in runs/; {labels})")
    return runs[0]


def suggest_checkpoint(console: Console, given: Path | None, kind: Kind) -> None:
    """Name the newest run that labels files of this kind; say nothing if the user has named a model."""
    from vidlstm.models.header import read_header

    if given is not None or os.environ.get(_VARIABLE):
        return
    for checkpoint in _runs():
        try:
            fits = read_header(checkpoint).config.kind == kind
        except CheckpointError:
            continue
        if fits:
            run = shlex.quote(checkpoint.parent.as_posix())
            console.warn(f"An earlier run labels {kind}s; to use it, add: --checkpoint {run}")
            return


def _runs() -> list[Path]:
    """Return the checkpoints in runs/, the newest first."""
    from vidlstm.models.header import FILE

    return sorted(Path("runs").glob(f"*/{FILE}"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
