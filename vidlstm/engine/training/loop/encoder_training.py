"""Training of the encoder: which stages, on which pixels, starting from which run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vidlstm.config import EncoderConfig, ModelConfig
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.engine.extraction.pixels import PixelReader
from vidlstm.errors import UsageError
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.models.encoders import Encoder


@dataclass(frozen=True)
class EncoderTraining:
    """How an encoder is trained together with the classifier.

    Args:
        encoder: On the classifier's device; the stages to train are unfrozen.
        reader: Reads the pixels; None if the clips' `rgb` features are the pixels themselves.
        flips: Flip half of the clips left to right.
        warm_start: Encoder and classifier come from another training, whose end counts as epoch 0.
        bfloat16: Run the encoder in bfloat16.
    """

    encoder: Encoder
    reader: PixelReader | None = None
    flips: bool = False
    warm_start: bool = False
    bfloat16: bool = False


def kept_pixels(model: Model) -> EncoderTraining | None:
    """Return how to train the encoder on pixels that stay in memory; None if it is frozen."""
    config = model.config
    if model.encoder is None or not config.encoder.trainable:
        return None
    _unfreeze(model.encoder, config.encoder)
    return EncoderTraining(model.encoder, flips=config.mirror)


def _unfreeze(encoder: Encoder, config: EncoderConfig) -> None:
    last = None if config.keeps_pixels else config.unfrozen
    encoder.unfreeze(last, keeps_statistics=not config.from_scratch)


def from_files(
    model: Model, extractor: Extractor, clips: Clips, *, warm_start: bool, bfloat16: bool
) -> EncoderTraining:
    """Return how to train the encoder on pixels that are read again in every epoch.

    Args:
        model: On its device.
        extractor: For `ReadRequest.for_pixels`, without an encoder and without a store.
        clips: All clips of the data set.
        warm_start: The model comes from another training.
        bfloat16: Run the encoder in bfloat16.
    """
    assert model.encoder is not None
    if model.encoder.mean.is_cuda:  # 15 steps per second instead of 12 (EfficientNet-Lite0, H200)
        model.encoder.to(memory_format=torch.channels_last)
    _unfreeze(model.encoder, model.config.encoder)
    reader = PixelReader(extractor, [s.path for s in clips.dataset.samples])
    # Mirroring a picture changes the order of its regions, which the reader's mirrored version accounts for.
    flips = model.config.mirror and model.config.kind == "video"
    return EncoderTraining(model.encoder, reader, flips=flips, warm_start=warm_start, bfloat16=bfloat16)


def start_from(earlier: Model, config: ModelConfig) -> Model:
    """Return a model with one member that starts from the first member of another model.

    Raises:
        UsageError: The other model has other classes or another architecture.
    """
    one = earlier.config.changed(members=1, encoder={"unfrozen": config.encoder.unfrozen})
    for name in ("kind", "classes", "streams", "head", "encoder"):
        before, now = getattr(one, name), getattr(config, name)
        if before != now:
            raise UsageError(f"`start`: the {name} of that run is different ({before}, now {now})")
    assert earlier.encoder is not None
    model = build_model(config, earlier.widths, earlier.encoder)
    model.classifier.load_state_dict(earlier.single(0).classifier.state_dict())
    return model
