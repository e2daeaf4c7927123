"""The exception hierarchy: every error that a user can cause or solve.

    VidlstmError
    ├── UsageError          an option, or a combination of options, is invalid
    ├── DataError           a data set as a whole cannot be used
    │   └── LeakError       a group is in more than one subset of a given split
    ├── CheckpointError     a checkpoint is missing, damaged, not from vidlstm, or from a newer version
    ├── WeightsError        an encoder's weights are not available
    ├── BackendError        the library that runs a model fails on it
    ├── SourceError         a camera or stream cannot be opened, or gives no more frames
    ├── DistributedError    another process of a distributed training has ended
    └── InputError          one input file cannot be used; the run continues

The command line turns an `InputError` into a row with a code (exit status 1 at the end) and any other
error into one or two lines on standard error (exit status 2). A message names the file, the value and
the way out.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path


class VidlstmError(Exception):
    """Base class of all errors that the user can solve."""


class UsageError(VidlstmError):
    """An option, or a combination of options, is invalid."""


class DataError(VidlstmError):
    """A data set as a whole cannot be used."""


class LeakError(DataError):
    """A group is in more than one subset of a split that the user gave."""


class CheckpointError(VidlstmError):
    """A checkpoint is missing, damaged, not from vidlstm, or from a newer version."""


class WeightsError(VidlstmError):
    """An encoder's weights are not available."""


class BackendError(VidlstmError):
    """The library that runs a model cannot be loaded, or fails on this model."""


class SourceError(VidlstmError):
    """A camera or stream cannot be opened, or gives no more frames."""


class DistributedError(VidlstmError):
    """Another process of a distributed training has ended."""


class FailureCode(str, Enum):
    """Why an input has no result or only a partial one. Rows carry these codes and no others."""

    NOT_FOUND = "not_found"
    PERMISSION = "permission"
    NOT_A_FILE = "not_a_file"  # a device, a socket, a pipe
    EMPTY_FILE = "empty_file"
    NOT_A_VIDEO = "not_a_video"
    NOT_A_PICTURE = "not_a_picture"
    WRONG_KIND = "wrong_kind"  # a picture given to a video model, or vice versa
    NO_FRAMES = "no_frames"
    TRUNCATED = "truncated"  # the label comes from the frames before the damage
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    DECODER_CRASHED = "decoder_crashed"
    READ_ERROR = "read_error"


class InputError(VidlstmError):
    """One input file cannot be used.

    Args:
        path: The file, as the user gave it.
        code: The reason.
        message: What is wrong and what to do, in one sentence without the path.
    """

    def __init__(self, path: Path | str, code: FailureCode, message: str) -> None:
        # Pass all three to Exception, so that the error can be pickled in a worker.
        super().__init__(str(path), code, message)
        self.path = str(path)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
