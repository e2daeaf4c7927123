"""A model and its baseline, scored side by side on clips that neither has learned from.

The baseline is the same model with the head `mean`: it sees every step and knows no order. What it gives
as well, the LSTM need not be thanked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vidlstm.config import EncoderConfig, TrainConfig
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.scoring import score
from vidlstm.engine.training.loop.trainer import Trainer
from vidlstm.engine.training.prepare import make_trainer, start_model
from vidlstm.metrics.classification import summarise
from vidlstm.models.checkpoint import Model, baseline_config
from vidlstm.records import EvalReport, Scored


def baseline_trainer(model: Model, clips: Clips, train: Sequence[int], config: TrainConfig) -> Trainer | None:
    """Return a trainer of the model's baseline, None if it has none.

    It has the same clips, as features of the model's encoder, and as many members. Three quarters of the
    epochs do for it, as without an LSTM it learns faster: over folds and seeds, top-1 was that of all
    epochs (half of them were measured to cost it 0.025).
    """
    twin = baseline_config(model.config)
    if twin is None:
        return None
    if model.config.encoder.trainable:  # it has learned by now: to the baseline it is one more frozen encoder
        frozen = twin.changed(encoder={"name": EncoderConfig.name, "unfrozen": 0})
        config = replace(TrainConfig.default(frozen), seed=config.seed)
    manners = replace(config, epochs=-(-3 * config.epochs // 4))
    return make_trainer(start_model(twin, clips, None, config.seed), clips, train, manners)


def score_with_baseline(model: Model, clips: Clips, indices: Sequence[int], *, seed: int = 0) -> EvalReport:
    """Score clips by a model and, if it is at hand, by its baseline.

    Args:
        model: On its device.
        clips: With the features that it takes.
        indices: Of the clips to be scored, at least one.
        seed: Of the resampling.
    """
    return summarise(
        model.config.classes,
        score(model, clips, indices),
        seed=seed,
        temperature=float(model.classifier.temperature),
        floor=float(model.classifier.floor),
        baseline=score_baseline(model, clips, indices),
    )


def score_baseline(model: Model, clips: Clips, indices: Sequence[int]) -> list[Scored] | None:
    """Score samples by the model's baseline; None if it is not at hand."""
    twin = baseline_config(model.config)
    if twin is None or model.baseline is None:
        return None
    return score(Model(twin, None, model.baseline, model.widths, {}), clips, indices)
