"""Event files for TensorBoard in the run folder. Needs the extra `tensorboard`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vidlstm.errors import UsageError
from vidlstm.records import EpochReport

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Check that events can be written.

    Raises:
        UsageError: The package is not installed.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "`tensorboard=True`: the package is not installed; pip install 'vidlstm[tensorboard]'"
        )


class EventLog:
    """Writes the losses, top-1 and learning rate of every epoch.

    Args:
        run: The run folder; the events go to a folder in it.
        epochs: The run's epochs so far. Older events of later epochs are purged.
    """

    def __init__(self, run: Path, epochs: Sequence[EpochReport]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run / FOLDER
        num_logged = len(epochs) if folder.is_dir() else 0
        self._writer = SummaryWriter(str(folder), purge_step=num_logged + 1)
        for report in epochs[num_logged:]:
            self.write(report)

    def write(self, report: EpochReport) -> None:
        """Write an epoch and flush, so that TensorBoard shows it at once."""
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
