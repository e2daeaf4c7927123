"""Everything that can go wrong for a user, as one tree.

    VidlstmError
    ├── UsageError          an option's value, or a combination of options, makes no sense
    ├── DataError           a data set as a whole cannot be used
    │   └── LeakError       one group stands on both sides of a given split
    ├── CheckpointError     a checkpoint is missing, damaged, foreign or from a newer version
    ├── WeightsError        an encoder's weights cannot be had
    ├── BackendError        the library that computes a model fails on it
    ├── DistributedError    a process that trained with this one has ended
    └── InputError          one input file cannot be used: it costs that file a row, not the run

The command line turns an `InputError` into a row with a reason (exit status 1 at the end) and
every other one into one or two lines on standard error (exit status 2). A message names the
file, the value and the way out.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path


class VidlstmError(Exception):
    """Base of every error that is the user's to solve."""


class UsageError(VidlstmError):
    """An option's value, or a combination of options, makes no sense."""


class DataError(VidlstmError):
    """A data set as a whole cannot be used."""


class LeakError(DataError):
    """One group stands on both sides of a split that the user gave."""


class CheckpointError(VidlstmError):
    """A checkpoint is missing, damaged, foreign or from a newer version."""


class WeightsError(VidlstmError):
    """An encoder's weights cannot be had."""


class BackendError(VidlstmError):
    """The library that computes a model cannot be loaded, or fails on this model."""


class DistributedError(VidlstmError):
    """A process that trained with this one has ended."""


class FailureCode(str, Enum):
    """Why one input has no (full) result. The closed set of codes that rows carry."""

    NOT_FOUND = "not_found"
    PERMISSION = "permission"
    NOT_A_FILE = "not_a_file"  # a device, a socket, a pipe
    EMPTY_FILE = "empty_file"
    NOT_A_VIDEO = "not_a_video"
    NOT_A_PICTURE = "not_a_picture"
    WRONG_KIND = "wrong_kind"  # a picture given to a video model, or the other way round
    NO_FRAMES = "no_frames"
    TRUNCATED = "truncated"  # some frames came, and the label is made from them
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    DECODER_CRASHED = "decoder_crashed"
    READ_ERROR = "read_error"


class InputError(VidlstmError):
    """One input file cannot be used.

    Args:
        path: The file, as the user gave it.
        code: One of the closed set.
        message: What is wrong and what to do, one sentence without the path.
    """

    def __init__(self, path: Path | str, code: FailureCode, message: str) -> None:
        # All three go to Exception, so that the error survives pickling from a worker.
        super().__init__(str(path), code, message)
        self.path = str(path)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
