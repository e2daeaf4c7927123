"""Test-time augmentation: the views of a clip whose scores a model averages. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from vidlstm.config import ModelConfig


@dataclass(frozen=True)
class View:
    """One temporal sample of a clip, as it is or mirrored left to right.

    Args:
        index: Of the temporal sample; None takes the middle one of those that are stored.
        mirrored: Take the mirrored clip.
    """

    index: int | None = None
    mirrored: bool = False


def views_of(config: ModelConfig) -> list[View]:
    """Return the views whose scores a model averages; with `mirror`, each one mirrored as well."""
    indices: list[int | None] = [None] if config.views == 1 else list(range(config.views))
    return [View(i, mirrored) for i in indices for mirrored in ((False, True) if config.mirror else (False,))]
