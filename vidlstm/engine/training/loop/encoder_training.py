"""An encoder that is trained with the rest: what of it, from which pixels, and from which run on."""

from __future__ import annotations

from dataclasses import dataclass

from vidlstm.config import EncoderConfig, ModelConfig
from vidlstm.engine.extraction.clips import Clips
from vidlstm.engine.extraction.extractor import Extractor
from vidlstm.engine.extraction.pixels import PixelReader
from vidlstm.errors import UsageError
from vidlstm.models.checkpoint import Model, build_model
from vidlstm.models.encoders import Encoder


@dataclass(frozen=True)
class EncoderTraining:
    """How an encoder learns with the rest.

    Args:
        encoder: On the classifier's device; what of it learns is unfrozen.
        reader: Of the pixels; None where the clips' `rgb` features are pixels themselves.
        flips: Half of the clips are flipped left to right.
        warm_start: Encoder and classifier come from another training, whose end counts as epoch 0.
        bfloat16: The encoder computes in half precision.
    """

    encoder: Encoder
    reader: PixelReader | None = None
    flips: bool = False
    warm_start: bool = False
    bfloat16: bool = False


def kept_pixels(model: Model) -> EncoderTraining | None:
    """Return how an encoder learns from pixels that are kept; None where it is frozen."""
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
    """Return how an encoder learns from pixels that are read again each epoch.

    Args:
        model: On its device.
        extractor: Of `ReadRequest.for_pixels`, without an encoder and without a store.
        clips: All of the data.
        warm_start: The model comes from another training.
        bfloat16: Compute in half precision.
    """
    assert model.encoder is not None
    _unfreeze(model.encoder, model.config.encoder)
    reader = PixelReader(extractor, [s.path for s in clips.dataset.samples])
    # A picture's mirrored regions are read in another order, which the mirrored side of a reading has right.
    flips = model.config.mirror and model.config.kind == "video"
    return EncoderTraining(model.encoder, reader, flips=flips, warm_start=warm_start, bfloat16=bfloat16)


def start_from(earlier: Model, config: ModelConfig) -> Model:
    """Return a model of one network that begins where another model's first member ended.

    Raises:
        UsageError: The other model has other classes or another network.
    """
    one = earlier.config.changed(members=1, encoder={"unfrozen": config.encoder.unfrozen})
    for name in ("kind", "classes", "streams", "head", "encoder"):
        before, now = getattr(one, name), getattr(config, name)
        if before != now:
            raise UsageError(f"`start`: the {name} of that run is different ({before}, now {now})")
    assert earlier.encoder is not None
    model = build_model(config, earlier.widths, earlier.encoder)
    state = earlier.classifier.state_dict()
    own = model.classifier.state_dict()
    # Members stand in front: what there is of one member is the beginning of what there is of all.
    first = {name: state[name].flatten()[: value.numel()].view_as(value) for name, value in own.items()}
    model.classifier.load_state_dict(first)
    return model
