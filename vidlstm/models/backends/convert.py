"""Networks of torch brought into OpenVINO's form, and the names they are kept under."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, Precision
from vidlstm.models.backends.openvino import Networks, OpenVinoEncoder, as_openvino_errors, kept_or_converted
from vidlstm.models.backends.torch import features_digest
from vidlstm.models.checkpoint import Model
from vidlstm.models.classifier import Classifier
from vidlstm.models.encoders import Encoder

_VERSION = 1  # of what is kept; goes up when the same encoder is converted in another way


def openvino_encoder(
    encoder: Encoder,
    size: int,
    channels: int,
    num_threads: int,
    precision: Precision = "float32",
    kept_in: Path | None = None,
) -> OpenVinoEncoder:
    """Return an encoder that OpenVINO computes; it is converted when it is first needed.

    Args:
        encoder: On the CPU.
        size: Side of its input.
        channels: Of its input.
        num_threads: To compute with.
        precision: Of activations and products.
        kept_in: Folder where converted networks are kept; None keeps none.
    """
    network = partial(_encoder_network, encoder, (size, size, channels), kept_in)
    return OpenVinoEncoder(features_digest(encoder, precision), network, num_threads, precision)


def convert_model(model: Model, num_looks: int, kept_in: Path | None = None) -> Networks:
    """Convert all that a model labels with: the `classifier`, and the `encoder` if it has one.

    Args:
        model: On the CPU, in evaluation mode.
        num_looks: At each clip, whose scores are averaged.
        kept_in: Folder where the encoder may have been kept, which many models share.
    """
    networks: dict[str, Any] = {"classifier": _convert_classifier(model, num_looks)}
    if model.encoder is not None:
        side, channels = model.config.encoder.size, model.config.encoder.channels
        networks["encoder"] = _encoder_network(model.encoder, (side, side, channels), kept_in)
    return networks


def _encoder_network(encoder: Encoder, shape: tuple[int, int, int], kept_in: Path | None) -> Any:
    with as_openvino_errors() as library:
        folder = None if kept_in is None else kept_in / _name(library.__version__, encoder, shape)
    convert = partial(_convert_encoder, encoder, shape)
    return kept_or_converted(folder, ("encoder",), convert)["encoder"]


def _convert_encoder(encoder: Encoder, shape: tuple[int, int, int]) -> Networks:
    network = _convert(_FromPixels(encoder), [torch.zeros(1, *shape, dtype=torch.uint8)])
    network.reshape([-1, *shape])
    return {"encoder": network}


def _convert_classifier(model: Model, num_looks: int) -> Any:
    sequences = [stream for stream in SEQUENCE_STREAMS if stream in model.config.streams]
    summaries = [stream for stream in SUMMARY_STREAMS if stream in model.config.streams]
    examples = [torch.zeros(num_looks, 2, model.widths[stream]) for stream in sequences]
    examples += [torch.zeros(num_looks, model.widths[stream]) for stream in summaries]
    network = _convert(_FromLooks(model.classifier, sequences, summaries), examples)
    for given, stream, example in zip(network.inputs, [*sequences, *summaries], examples, strict=True):
        given.get_tensor().set_names({stream})
        length = [-1] if stream in sequences else []
        network.reshape({stream: [num_looks, *length, example.shape[-1]]})
    return network


def _convert(network: nn.Module, examples: Sequence[Tensor]) -> Any:
    with as_openvino_errors() as library, warnings.catch_warnings(), torch.inference_mode():
        # Of shapes that become constants, as they are meant to, and of torch.jit.
        warnings.simplefilter("ignore")
        return library.convert_model(network.eval(), example_input=tuple(examples))


class _FromPixels(nn.Module):
    """Take pictures as they lie in memory, `(N, S, S, C)`."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.encoder(pictures.permute(0, 3, 1, 2))
        return features


class _FromLooks(nn.Module):
    """Take all looks at one clip, none of which is padded; give its scores `(K,)` and its novelty `(1,)`."""

    def __init__(self, classifier: Classifier, sequences: Sequence[str], summaries: Sequence[str]) -> None:
        super().__init__()
        self.classifier = classifier
        self.sequences = sequences
        self.summaries = summaries

    def forward(self, *streams: Tensor) -> tuple[Tensor, Tensor]:
        sequences = dict(zip(self.sequences, streams, strict=False))
        summaries = dict(zip(self.summaries, streams[len(sequences) :], strict=True))
        masks = {name: torch.ones_like(steps[..., 0], dtype=torch.bool) for name, steps in sequences.items()}
        branches, vectors = self.classifier.read(sequences, masks, summaries)
        scores = self.classifier.fuse(branches.mean(1, keepdim=True).log_softmax(-1)).softmax(-1)[0]
        return scores, self.classifier.novelty([own.mean(1, keepdim=True) for own in vectors])


def _name(library: str, encoder: Encoder, shape: tuple[int, int, int]) -> str:
    parts = (_VERSION, library, torch.__version__, features_digest(encoder, "float32"), shape)
    normalisation = encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()
    text = repr((*parts, normalisation, repr(encoder)))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
