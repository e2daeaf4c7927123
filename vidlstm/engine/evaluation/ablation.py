"""The trainings of an ablation: which heads and streams a cross-validation compares."""

from __future__ import annotations

from dataclasses import replace

from vidlstm.config import SUMMARY_STREAMS, HeadKind, ModelConfig
from vidlstm.engine.evaluation.folds import Streams


def stream_subsets(streams: Streams) -> list[Streams]:
    """Return the subsets that one training tells of: each sequence stream alone, then all of them.

    Summary streams stay, as they join a branch and cannot be taken from it after training.
    """
    summary = tuple(s for s in streams if s in SUMMARY_STREAMS)
    alone: list[Streams] = [(s, *summary) for s in streams if s not in SUMMARY_STREAMS]
    return alone if len(alone) == 1 else [*alone, streams]


def ablation_configs(config: ModelConfig) -> list[ModelConfig]:
    """Return the trainings of an ablation, the whole model last.

    Videos: the baseline `mean`, then `gru` and `lstm`. Pictures: the baseline on the regions alone, the
    LSTM on them, with each summary stream, and with all.
    """
    if config.kind == "video":
        heads: tuple[HeadKind, ...] = ("mean", "gru", "lstm")
        return [with_head(config, head) for head in heads]
    sequence = tuple(s for s in config.streams if s not in SUMMARY_STREAMS)
    summary = [s for s in config.streams if s in SUMMARY_STREAMS]
    lstm = with_head(config, "lstm")
    sets = [sequence, *((*sequence, s) for s in summary if len(summary) > 1), config.streams]
    return [replace(with_head(config, "mean"), streams=sequence), *(replace(lstm, streams=s) for s in sets)]


def with_head(config: ModelConfig, head: HeadKind) -> ModelConfig:
    """Return the config with another head and all else equal."""
    return replace(config, head=replace(config.head, kind=head))
