"""Find clips that were recorded together, from the times that cameras and phones write into file names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime

TOGETHER_SECONDS = 600
"""Maximum gap between two clips of one recording session, in seconds."""
SHARE = 1 / 3
"""Minimum share of clips recorded together for a caution."""
BY_DAY = r"(20\d\d[-_.]?\d\d[-_.]?\d\d)"
"""Regular expression that groups such names by day."""

_TIME = re.compile(
    r"(?<!\d)(?P<year>20\d\d)(?P<dash>[-_.]?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
    r"(?:[-_ T.]|_at_| at )?"
    r"(?P<hour>\d\d)(?P<colon>[-_.:]?)(?P<minute>\d\d)(?P=colon)(?P<second>\d\d)"
)


def recording_time(name: str) -> datetime | None:
    """Return the time in a file name such as `VID_20260131_175959.mp4`; None if there is none."""
    match = _TIME.search(name)
    if match is None:
        return None
    try:
        return datetime.strptime(
            "".join(match.group("year", "month", "day", "hour", "minute", "second")), "%Y%m%d%H%M%S"
        )
    except ValueError:  # not a valid date
        return None


def recorded_together(names: Sequence[str]) -> str | None:
    """Return a caution if the times in file names show that clips were recorded together.

    Args:
        names: File names, at least one.

    Returns:
        The caution, with what to do; None if too few clips are near another one in time.
    """
    times = sorted(time for time in map(recording_time, names) if time is not None)
    gaps = [(b - a).total_seconds() <= TOGETHER_SECONDS for a, b in itertools.pairwise(times)]
    near = sum(a or b for a, b in zip([False, *gaps], [*gaps, False], strict=True)) if times else 0
    if near < SHARE * len(names):
        return None
    days = len({time.date() for time in times})
    way_out = (
        f"To keep each of the {days} days together: `group_by={BY_DAY}`."
        if days > 1
        else "Name the groups in a column named group."
    )
    return (
        f"{near} of {len(names)} clips were recorded within {TOGETHER_SECONDS // 60} minutes of another one, "
        "according to their file names. Clips of one recording are probably in several subsets, so the score "
        f"is too high. {way_out}"
    )
