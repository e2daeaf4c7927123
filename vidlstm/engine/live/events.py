"""Events and status updates of a live source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from vidlstm.records import SCHEMA, Score


@dataclass(frozen=True)
class LiveEvent:
    """A span started or ended, or the source was lost or came back.

    Args:
        event: The kind of event.
        time: When it happened, in seconds since the epoch (1970) by this machine's clock.
        label: Label of the span; None for events of the source itself.
        score: Calibrated probability of the label over the span so far, 0 to 1.
        start: Start of the span, in seconds since the first frame.
        end: End of the span, in the same unit; None while the span is open.
        lag: Seconds since the last frame needed for this event was shown.
        delay: Seconds since `time`: the time that the windows need, plus the lag.
        dropped: Frames skipped so far because they arrived faster than they could be processed.
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
        """`time` in UTC as ISO 8601, to a tenth of a second."""
        tenths = round(self.time * 10)
        text = datetime.fromtimestamp(tenths // 10, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{text}.{tenths % 10}Z"

    def to_json(self) -> dict[str, Any]:
        """Return the event as a row of `watch --format jsonl`."""
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
    """Current status, reported each time the heads have run.

    Args:
        fps: Frames processed per second.
        lag: Seconds since the newest processed frame was shown.
        dropped: Frames skipped so far.
        top: Best classes of the windows that end now, best first; empty unless requested.
        label: Label of the open span; None if no span is open.
        is_lost: Whether the source is currently lost.
    """

    fps: float
    lag: float
    dropped: int
    top: tuple[Score, ...]
    label: str | None
    is_lost: bool
