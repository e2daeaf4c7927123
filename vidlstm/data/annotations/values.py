"""Read untrusted files into plain values, checking sizes, nesting and numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from vidlstm.errors import DataError

MAX_BYTES = 256 * 2**20
"""Maximum size of an annotation file, in bytes; the spans of a whole day take a few megabytes."""


def read_bytes(file: Path) -> bytes:
    """Read a whole file.

    Raises:
        DataError: The file cannot be read, or is too large.
    """
    try:
        require_bearable(file)
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None


def require_bearable(file: Path) -> None:
    """Reject a file that is too large to read whole.

    Raises:
        DataError: The file is too large.
        OSError: The file cannot be accessed.
    """
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise DataError(f"{file}: has {size:,} bytes; an annotation file has at most {MAX_BYTES:,}")


def read_json(file: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: The file is not JSON, is nested too deeply, or holds NaN or infinity.
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(read_bytes(file).decode("utf-8-sig"), parse_constant=refuse)
    except RecursionError:
        raise DataError(f"{file}: is nested too deeply for an annotation file") from None
    except ValueError as error:
        raise DataError(f"{file}: not valid JSON ({error})") from None


def number_of(value: object) -> float | None:
    """Return a finite number from a number or text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def seconds_of(text: str) -> float | None:
    """Return the seconds in a cell of a table: `65.5`, `65,5` or `1:05.5`; None for anything else."""
    parts = [number_of(part) for part in text.replace(",", ".").split(":")]
    if len(parts) > 3 or any(part is None or (i and not 0 <= part < 60) for i, part in enumerate(parts)):
        return None
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + (part or 0.0)
    return seconds


def text_of(value: object) -> str | None:
    """Return a text that is not blank; None for anything else."""
    return value.strip() if isinstance(value, str) and value.strip() else None


def items_of(value: object) -> list[Any]:
    """Return a list unchanged; an empty list for anything else."""
    return value if isinstance(value, list) else []


def fields_of(value: object) -> dict[str, Any]:
    """Return an object unchanged; an empty object for anything else."""
    return value if isinstance(value, dict) else {}
