"""Event files for TensorBoard, beside what a run folder holds anyway; an extra that has to be installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vidlstm.errors import UsageError
from vidlstm.records import EpochReport

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Find out early whether events can be written.

    Raises:
        UsageError: They cannot.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "`tensorboard=True`: the package is not installed; pip install 'vidlstm[tensorboard]'"
        )


class EventLog:
    """Writes every epoch's losses, top-1 and learning rate.

    Args:
        run: The run's folder; the events go to a folder in it.
        epochs: Of the run so far. What older events tell of later ones is no longer shown.
    """

    def __init__(self, run: Path, epochs: Sequence[EpochReport]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run / FOLDER
        told = len(epochs) if folder.is_dir() else 0
        self._writer = SummaryWriter(str(folder), purge_step=told + 1)
        for report in epochs[told:]:
            self.write(report)

    def write(self, report: EpochReport) -> None:
        """Write an epoch, for TensorBoard to show at once."""
        values = {
            "loss/training": report.train_loss,
            "loss/validation": report.val_loss,
            "top1/validation": report.val_top1,
            "learning_rate": report.learning_rate,
        }
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, report.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
