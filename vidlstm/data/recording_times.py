"""Recording times in file names, as cameras and telephones write them: clips that were recorded together."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime

TOGETHER_SECONDS = 600
"""Clips whose names lie no further apart were probably recorded in one session."""
SHARE = 1 / 3
"""Share of clips recorded together from which on it is said."""
BY_DAY = r"(20\d\d[-_.]?\d\d[-_.]?\d\d)"
"""A regular expression that groups such names by day."""

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
    except ValueError:  # the digits are no date
        return None


def recorded_together(names: Sequence[str]) -> str | None:
    """Say that clips were recorded together, where the times in their names show it.

    Args:
        names: File names, at least one.

    Returns:
        A sentence with the way out; None if too few clips lie near another one in time.
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
        f"By the times in their names, {near} of {len(names)} clips were recorded within "
        f"{TOGETHER_SECONDS // 60} minutes of another one, so clips of one recording are probably in several "
        f"subsets, and the score is too good. {way_out}"
    )
