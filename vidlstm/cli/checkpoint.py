"""Which model a command uses."""

from __future__ import annotations

import os
from pathlib import Path

from vidlstm.cli.console import Console
from vidlstm.errors import CheckpointError


def find_checkpoint(console: Console, given: Path | None) -> Path:
    """Return the checkpoint to use; report which one if the user did not name it.

    Raises:
        CheckpointError: No checkpoint was found.
    """
    from vidlstm.models.header import FILE, checkpoint_file

    if given is not None:
        return checkpoint_file(given)
    if named := os.environ.get("VIDLSTM_CHECKPOINT"):
        console.say(f"Model: {named} ($VIDLSTM_CHECKPOINT)")
        return checkpoint_file(Path(named))
    runs = sorted(Path("runs").glob(f"*/{FILE}"), key=lambda f: f.stat().st_mtime_ns)
    if not runs:
        raise CheckpointError(
            "no model found in runs/ in this folder; train one with `vidlstm train DATA`, "
            "or name one with `checkpoint`"
        )
    console.say(f"Model: {runs[-1]} (the newest in runs/)")
    return runs[-1]
