"""How a model looks at a clip to score it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from vidlstm.config import ModelConfig


@dataclass(frozen=True)
class Look:
    """One way to look at a clip: a view, plain (side 0) or mirrored (side 1)."""

    view: int | None = None
    side: int = 0


def looks_of(config: ModelConfig) -> list[Look]:
    """Return the looks whose scores a model averages: its views, mirrored too where it may be.

    One view is the middle one of those that are stored.
    """
    views: list[int | None] = [None] if config.views == 1 else list(range(config.views))
    sides = (0, 1) if config.mirror else (0,)
    return [Look(view, side) for view in views for side in sides]
