"""What watching a live source gives: events, and how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from vidlstm.records import SCHEMA, Score


@dataclass(frozen=True)
class LiveEvent:
    """Something has begun or ended, or the source was lost or is back.

    Args:
        event: What happened.
        time: When, in seconds since 1970 by this machine's clock.
        label: Of what begins or ends; None for the source itself.
        score: Calibrated probability of the label over the span so far, 0 to 1.
        start: When it began, in seconds since the first frame.
        end: When it ended, likewise; None while it goes on.
        lag: Seconds since the last frame that had to be seen for this was shown.
        delay: Seconds since `time`: what the windows take, and the lag.
        dropped: Frames that came too fast to be looked at, since the beginning.
        reason: Why the source was lost.
    """

    event: Literal["start", "end", "lost", "back"]
    time: float
    label: str | None
    score: float | None
    start: float | None
    end: float | None
    lag: float
    delay: float
    dropped: int
    reason: str | None = None

    @property
    def clock(self) -> str:
        """When, in UTC by ISO 8601, to a tenth of a second."""
        tenths = round(self.time * 10)
        text = datetime.fromtimestamp(tenths // 10, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{text}.{tenths % 10}Z"

    def to_json(self) -> dict[str, Any]:
        """Return the row of `watch --format jsonl`."""
        return {
            "schema": SCHEMA,
            "time": self.clock,
            "event": self.event,
            "label": self.label,
            "score": None if self.score is None else round(self.score, 6),
            "start": None if self.start is None else round(self.start, 3),
            "end": None if self.end is None else round(self.end, 3),
            "lag": round(self.lag, 3),
            "delay": round(self.delay, 3),
            "dropped": self.dropped,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class LiveState:
    """How it goes, told each time the heads have run.

    Args:
        fps: Frames a second that were looked at.
        lag: Seconds since the newest of them was shown.
        dropped: Frames that were not looked at, since the beginning.
        top: The best classes of the windows that end now, best first; none where nobody asked for them.
        label: Of the span that is open; None where there is none.
        is_lost: The source is away.
    """

    fps: float
    lag: float
    dropped: int
    top: tuple[Score, ...]
    label: str | None
    is_lost: bool
