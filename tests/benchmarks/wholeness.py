"""Check the files of a command: each can be read, and no clip is lost or moved without a row."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from vidlstm.models.checkpoint import load_model

ROWS = "rows.tsv"


def faults_of_folder(folder: Path) -> list[str]:
    """Return the incomplete files of a run or report folder, ignoring temporary files."""
    faults = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            _read(path)
        except Exception as error:
            faults.append(f"{path.name} of {path.stat().st_size} bytes: {type(error).__name__} {error}"[:200])
    return faults


def _read(path: Path) -> None:
    if path.suffix == ".jsonl":  # appended to, so the last line may be partial
        lines = path.read_bytes().split(b"\n")
        for line in lines[:-1]:
            json.loads(line)
        return
    if not path.stat().st_size:
        raise ValueError("is empty")
    if path.suffix == ".json":
        json.loads(path.read_bytes())
    elif path.suffix == ".csv":
        content = path.read_text()
        assert content.endswith("\n")
        assert len({len(row) for row in csv.reader(content.splitlines())}) == 1
    elif path.name == "model.safetensors":
        load_model(path)
    elif path.suffix == ".html":
        assert path.read_text().rstrip().endswith("</html>")
    elif path.suffix == ".png":
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


def faults_of_moving(folder: Path, names: list[str], *, is_done: bool) -> list[str]:
    """Return which of the clips moved from `in` to `out` are lost, duplicated, damaged or without a row.

    Args:
        folder: Folder with `in`, `out` and the rows.
        names: Names of the clips.
        is_done: The run has ended. Otherwise rows may be missing, but never for a moved clip.
    """
    lines = (folder / ROWS).read_bytes().split(b"\n")[:-1] if (folder / ROWS).exists() else []
    rows = [Path(line.split(b"\t")[0].decode()).name for line in lines]
    moved = [path for path in (folder / "out").rglob("*") if path.is_file() and not path.name.startswith(".")]
    left = [path for path in (folder / "in").rglob("*") if path.is_file() and not path.name.startswith(".")]
    whole = [path.name for path in moved if path.stat().st_size]
    faults = [f"{name}: no row, but moved" for name in whole if name not in rows]
    faults += [f"{name}: two rows" for name in names if rows.count(name) > 1]
    faults += [f"{name}: lost" for name in names if name not in whole and name not in [p.name for p in left]]
    faults += [f"{name}: twice in out" for name in names if whole.count(name) > 1]
    faults += [f"{path.name}: an invented name" for path in moved if path.name not in names]
    if is_done:
        faults += [f"{path.name}: not moved" for path in left]
        faults += [f"{name}: no row" for name in names if name not in rows]
    return faults
