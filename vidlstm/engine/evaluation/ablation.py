"""The trainings of an ablation: which heads and streams a cross-validation compares."""

from __future__ import annotations

from dataclasses import replace

from vidlstm.config import SUMMARY_STREAMS, HeadKind, ModelConfig
from vidlstm.engine.evaluation.folds import Streams


def stream_subsets(streams: Streams) -> list[Streams]:
    """Return the subsets that one training can score: each sequence stream alone, then all of them.

    Summary streams are always included: they are part of a branch and cannot be removed after training.
    """
    summary = tuple(s for s in streams if s in SUMMARY_STREAMS)
    alone: list[Streams] = [(s, *summary) for s in streams if s not in SUMMARY_STREAMS]
    return alone if len(alone) == 1 else [*alone, streams]


def ablation_configs(config: ModelConfig) -> list[ModelConfig]:
    """Return the models that an ablation trains, the full model last.

    Videos: the heads `mean` (the baseline), `gru` and `lstm`. Pictures: the baseline on the regions alone,
    then the LSTM on the regions alone, with each summary stream, and with all of them.
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
    """Return the config with another head and nothing else changed."""
    return replace(config, head=replace(config.head, kind=head))
