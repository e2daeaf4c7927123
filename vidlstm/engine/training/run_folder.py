"""A run folder: the files that a training writes, each of them atomically.

A run can be killed at any moment and resumed. After the first epoch, `last.pt` holds everything that the
next epoch depends on; before that, a resumed run starts from the beginning. A run that replaces another one
leaves it in place until then.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.config_dict import from_dict, to_dict
from vidlstm.data.samples import Dataset
from vidlstm.data.split_table import SPLIT, SplitRow, describe_changes, read_split_rows, write_split
from vidlstm.engine.reporting import PAGE, PLOTS, PREDICTIONS
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.errors import CheckpointError, UsageError
from vidlstm.files import make_folder, sync_folder, write_atomically
from vidlstm.models.checkpoint import Model, serialise
from vidlstm.models.header import FILE, read_header
from vidlstm.records import EpochReport

MODEL = FILE
LAST = "last.pt"
METRICS = "metrics.jsonl"
CONFIG = "config.json"


@dataclass(frozen=True)
class RunSettings:
    """The complete settings of a run, enough to repeat it.

    Args:
        data: The data set, as the user named it.
        sources: The options for finding samples, groups and subsets, the run it started from and the clips
            that its weights were trained on before, as plain JSON values.
        model: The model.
        training: How it is trained.
    """

    data: str
    sources: dict[str, Any]
    model: ModelConfig
    training: TrainConfig

    def changes(self, now: RunSettings) -> list[str]:
        """Describe each setting of model and training that has changed, in a few words."""
        before, after = (
            dict(_flat({"model": asdict(s.model), "training": asdict(s.training)})) for s in (self, now)
        )
        return [
            f"{name} {before.get(name)} is now {after.get(name)}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]


def _flat(plain: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in plain.items():
        dotted = f"{prefix}{name}"
        found += _flat(value, f"{dotted}.") if isinstance(value, Mapping) else [(dotted, value)]
    return found


class RunFolder:
    """One run's folder.

    Args:
        path: Created if it does not exist.

    Raises:
        UsageError: `path` is a file.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path}: is a file, but a run needs a folder; choose another `out`")
        self.path = path
        self.epochs: list[EpochReport] = []
        self.holds_earlier = False
        """Whether the files are still those of the run that this one replaces."""
        self._changed: tuple[RunSettings, Mapping[str, SplitRow]] | None = None

    @property
    def model(self) -> Path:
        """Path of the checkpoint."""
        return self.path / MODEL

    def require_free(self, *, overwrite: bool) -> None:
        """Raise unless the folder holds neither a run nor a report, or they may be overwritten.

        Raises:
            UsageError: The folder holds a run or a report.
        """
        can_resume = not self.model.exists() or find_unfinished(self.path) is not None
        if (self.path / LAST).exists() and can_resume and not overwrite:
            raise UsageError(
                f"{self.path}: holds an unfinished run; continue it with `resume={self.path}` in place of "
                "`out`, choose another `out`, or pass `overwrite=True`"
            )
        if self.model.exists() and not overwrite:
            raise UsageError(
                f"{self.path}: already holds a model; choose another `out`, or pass `overwrite=True`"
            )
        if (self.path / PAGE).exists() and not overwrite:
            raise UsageError(
                f"{self.path}: already holds a report; choose another `out`, or pass `overwrite=True`"
            )

    def create(self, settings: RunSettings, rows: Mapping[str, SplitRow], *, overwrite: bool) -> None:
        """Create the folder, and write the run's settings and clips.

        If the folder holds a run, this is done with the first epoch, and its files are removed then.

        Raises:
            UsageError: The folder holds a run, and `overwrite` is false.
        """
        self.require_free(overwrite=overwrite)
        make_folder(self.path)
        self.holds_earlier = any((self.path / name).exists() for name in (MODEL, LAST, PAGE))
        if self.holds_earlier:
            self._changed = (settings, rows)
        else:
            self._remove_results()
            self._note(settings, rows)

    def reopen(
        self, settings: RunSettings, rows: Mapping[str, SplitRow], *, allow_changes: bool
    ) -> dict[str, Any] | None:
        """Return the trainer's state after the newest epoch; None before the end of the first.

        Its `left_out` names the clips that each member left out, its `learned` all training clips.

        Changes are written with the next epoch or the model.

        Args:
            settings: The current settings.
            rows: The current clips.
            allow_changes: Resume even if settings or clips have changed.

        Raises:
            UsageError: Settings or clips have changed.
            CheckpointError: There is no run to resume, or it is damaged.
        """
        changes = [
            *self.settings().changes(settings),
            *describe_changes(read_split_rows(self.path / SPLIT), rows),
        ]
        if changes and not allow_changes:
            raise UsageError(
                f"`resume={self.path}`: data or settings have changed: {'; '.join(changes)}. "
                "Undo the changes, or pass `allow_changes=True` to resume anyway"
            )
        if changes:
            self._changed = (settings, rows)
        return self.last_state()

    def settings(self) -> RunSettings:
        """Read the run's settings.

        Raises:
            CheckpointError: There is no run here, or its file is damaged.
        """
        file = self.path / CONFIG
        try:
            plain = json.loads(file.read_text(encoding="utf-8", errors="surrogateescape"))
            sources = dict(plain["sources"])
            if not all(isinstance(content, str) for content in sources.get("learned_before") or ()):
                raise TypeError("learned_before must be a list of fingerprints")
            return RunSettings(
                plain["data"],
                sources,
                from_dict(ModelConfig, plain["model"]),
                from_dict(TrainConfig, plain["training"]),
            )
        except FileNotFoundError:
            raise CheckpointError(f"{file}: not found, so there is no run to resume") from None
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, UsageError) as error:
            raise CheckpointError(f"{file}: cannot be read as a run's settings ({error})") from None

    def write(self, name: str, text: str) -> None:
        """Write a text file."""
        write_atomically(self.path / name, text.encode("utf-8", "surrogateescape"))

    def write_epoch(self, report: EpochReport, trainer: Trainer, dataset: Dataset) -> None:
        """Write an epoch and everything needed to resume after it, also on data that has changed."""
        epochs = [*self.epochs, report]
        names = [sample.name(dataset.root) for sample in dataset.samples]
        left_out = [[names[i] for i in part.val] for part in trainer.parts]
        learned = sorted({names[i] for part in trainer.parts for i in (*part.train, *part.val)})
        saved = {
            "trainer": trainer.state(),
            "epochs": [e.to_json() for e in epochs],
            "left_out": left_out,
            "learned": learned,
        }
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        self._note_changes()
        write_atomically(self.path / LAST, buffer.getvalue())
        self.epochs = epochs  # only now: an epoch counts once the run can be resumed after it
        self.write(METRICS, "".join(json.dumps(e.to_json()) + "\n" for e in self.epochs))

    def write_model(self, model: Model) -> None:
        """Write the checkpoint."""
        content = serialise(model)
        self._note_changes()  # a finished run that is resumed writes no epoch
        write_atomically(self.model, content)

    def _note_changes(self) -> None:
        if self.holds_earlier:
            self._remove_results()
            self.holds_earlier = False
        if self._changed is not None:
            self._note(*self._changed)
            self._changed = None

    def _remove_results(self) -> None:
        """Remove an earlier run: it must not be resumed as this one, nor its model stay beside new clips."""
        for stale in (MODEL, LAST, METRICS, CONFIG, PAGE, PREDICTIONS, *PLOTS):
            (self.path / stale).unlink(missing_ok=True)

    def _note(self, settings: RunSettings, rows: Mapping[str, SplitRow]) -> None:
        """Write clips, then settings, as the settings file makes the folder a run."""
        write_split(self.path / SPLIT, rows)
        self.write(CONFIG, json.dumps(to_dict(settings), indent=2) + "\n")

    def _training_clips(self) -> list[str]:
        return [name for name, row in read_split_rows(self.path / SPLIT).items() if row.subset == "train"]

    def last_state(self) -> dict[str, Any] | None:
        """Return the trainer's state after the newest epoch, as `reopen` does; nothing in it can run code.

        Raises:
            CheckpointError: It is damaged.
        """
        file = self.path / LAST
        try:
            saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            epochs = [EpochReport.from_json(line) for line in saved["epochs"]]
            state: dict[str, Any] = saved["trainer"]
            state["epoch"]
            state["left_out"] = [{str(name) for name in part} for part in saved.get("left_out", ())]
            state["learned"] = {str(name) for name in saved.get("learned", self._training_clips())}
        except FileNotFoundError:
            return None
        except Exception as error:
            raise CheckpointError(
                f"{file}: damaged, so the run cannot be resumed; "
                f"start again with `out={self.path}` `overwrite=True`"
            ) from error
        self.epochs = epochs
        return state


@dataclass(frozen=True)
class Unfinished:
    """A run that has not been trained to its end.

    Args:
        data: The data set, as the user named it.
        epochs: Number of epochs that are done.
        planned: Number of epochs at most.
        has_model: Whether there is a model of the best epoch so far.
    """

    data: Path
    epochs: int
    planned: int
    has_model: bool


def find_unfinished(run: Path) -> Unfinished | None:
    """Return what is known of a run that `resume` would train further; None if it is finished, or is no run.

    A training is finished if its last epoch or `patience` was reached, or if it diverged, and its model was
    written after that.
    """
    try:
        settings = RunFolder(run).settings()
    except (CheckpointError, UsageError):
        return None
    epochs, has_model = read_epochs(run), (run / MODEL).exists()
    done = epochs[-1].epoch if epochs else 0
    if has_model:
        try:
            model_epochs = int(read_header(run / MODEL).training["epochs"])
        except (CheckpointError, KeyError, TypeError, ValueError):
            return None
        # The epoch that diverged is counted in the model, but not written.
        if model_epochs > done or (model_epochs == done and _is_over(settings.training, epochs)):
            return None
    return Unfinished(Path(settings.data), done, settings.training.epochs, has_model)


def _is_over(training: TrainConfig, epochs: list[EpochReport]) -> bool:
    last = epochs[-1] if epochs else None
    if last is None or last.epoch >= training.epochs:
        return last is not None
    best = max((report.epoch for report in epochs if report.is_best), default=0)
    return bool(training.patience and last.val_loss is not None and last.epoch - best >= training.patience)


def claim_run(root: Path) -> Path:
    """Create and return the next of `runs/1`, `runs/2`, ...; safe if several runs start at once.

    Raises:
        OSError: The folder cannot be created.
    """
    make_folder(root)
    while True:
        taken = [int(path.name) for path in root.glob("*") if path.name.isdecimal()]
        folder = root / str(max(taken, default=0) + 1)
        with contextlib.suppress(FileExistsError):  # another run has just created it
            folder.mkdir()
            sync_folder(root)
            return folder


def read_epochs(run: Path) -> list[EpochReport]:
    """Return the epochs in a run folder's `metrics.jsonl`; none if the file is missing or damaged."""
    try:
        lines = (run / METRICS).read_text(encoding="utf-8").splitlines()
        return [EpochReport.from_json(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return []
