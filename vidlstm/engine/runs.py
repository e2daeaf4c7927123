"""A run folder: what training leaves on disk, every file written beside and renamed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from vidlstm.data.features import write_atomically
from vidlstm.engine.training import Trainer
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.models.checkpoint import Model, serialise
from vidlstm.records import EpochReport

MODEL = "model.safetensors"
LAST = "last.pt"
METRICS = "metrics.jsonl"
SPLIT = "split.csv"
CONFIG = "config.json"


class RunFolder:
    """One run's folder.

    Args:
        path: Made when it is not there.

    Raises:
        UsageError: There is something else of that name, or a run that would be lost.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path}: is a file, but a run needs a folder; name another with --out")
        self.path = path
        self.epochs: list[EpochReport] = []

    @property
    def model(self) -> Path:
        """The checkpoint that predict needs."""
        return self.path / MODEL

    def create(self, config: dict[str, Any], *, overwrite: bool) -> None:
        """Make the folder and note how the run was asked for.

        Raises:
            UsageError: A finished run is there, and nobody said it may go.
        """
        if self.model.exists() and not overwrite:
            raise UsageError(f"{self.path}: holds a model already; name another --out, or pass --overwrite")
        self.path.mkdir(parents=True, exist_ok=True)
        self.write(CONFIG, json.dumps(config, indent=2) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a text file."""
        write_atomically(self.path / name, text.encode("utf-8", "surrogateescape"))

    def write_epoch(self, report: EpochReport, trainer: Trainer) -> None:
        """Note an epoch, and everything that is needed to go on after it."""
        self.epochs.append(report)
        buffer = io.BytesIO()
        torch.save({"trainer": trainer.state(), "epochs": [e.to_json() for e in self.epochs]}, buffer)
        write_atomically(self.path / LAST, buffer.getvalue())
        self.write(METRICS, "".join(json.dumps(e.to_json()) + "\n" for e in self.epochs))

    def write_model(self, model: Model) -> None:
        """Write the checkpoint."""
        write_atomically(self.model, serialise(model))

    def read_last(self) -> dict[str, Any]:
        """Read what the newest epoch left; nothing in the file can run code.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        file = self.path / LAST
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            epochs = [EpochReport(**line) for line in state["epochs"]]
            state["trainer"]["epoch"]
        except FileNotFoundError:
            raise CheckpointError(f"{file}: there is nothing to resume") from None
        except Exception as error:
            raise CheckpointError(f"{file}: damaged, it cannot be resumed from") from error
        self.epochs = epochs
        return state


def next_run(root: Path) -> Path:
    """Return the first of `runs/1`, `runs/2`, ... that is not there."""
    taken = [int(p.name) for p in root.glob("*") if p.name.isdecimal()]
    return root / str(max(taken, default=0) + 1)
