"""Quantise a model's encoder to int8, and compare it with the model on held-out clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidlstm.engine.devices import one_thread
from vidlstm.engine.extraction.processes.pool import num_cores
from vidlstm.engine.precision.agreement import Agreement, agree
from vidlstm.engine.precision.clips import RunFiles, read_clips, run_files
from vidlstm.engine.scoring import scores_and_novelty
from vidlstm.models.backends.convert import convert_encoder
from vidlstm.models.backends.int8 import ConvInputs, quantised
from vidlstm.models.backends.openvino import OpenVinoEncoder, read_networks
from vidlstm.models.backends.torch import conv_inputs
from vidlstm.models.checkpoint import Model

_NUM_MEASURED = 24
"""Maximum number of training clips, or windows of films, on which the encoder's activations are measured."""
_NUM_COMPARED = 200
"""Maximum number of held-out clips, or windows of films, that are compared."""


def compare_int8(model: Model, run: Path) -> tuple[Agreement, ConvInputs]:
    """Measure what int8 needs on training clips, and compare its scores on held-out clips.

    It takes about 0.4 s per clip.

    Args:
        model: A trained model with an encoder, on the CPU, in evaluation mode.
        run: The run folder with the table of its clips, just trained; clips in stores are downloaded again.

    Returns:
        The agreement, and the inputs of the convolutions.

    Raises:
        BackendError: OpenVINO cannot run this encoder in int8.
    """
    assert model.encoder is not None
    with one_thread():
        inputs = measure_inputs(model, run_files(model, run, "train", in_stores=True))
        network = convert_encoder(model.encoder, model.config.encoder.size, model.config.encoder.channels)
        networks = read_networks({"encoder.onnx": quantised(network, inputs)})
        encoder = OpenVinoEncoder("int8", lambda: networks["encoder"], num_cores())
        held_out = run_files(model, run, "val", "test", in_stores=True)
        agreement = agree(
            model, encoder, lambda clip: scores_and_novelty(model, [clip]), held_out, _NUM_COMPARED
        )
    return agreement, inputs


def measure_inputs(model: Model, files: RunFiles) -> ConvInputs:
    """Return the inputs of the convolutions on the pictures of some of the clips or films."""
    assert model.encoder is not None
    return conv_inputs(model.encoder, pictures_of(model, files))


def pictures_of(model: Model, files: RunFiles) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures `(N, S, S, C)` of some of the clips, or of windows of the films."""
    for _, clip in read_clips(model, files, _NUM_MEASURED):
        if clip is not None:
            pixels = clip.sequences["rgb"].astype(np.uint8, copy=False)
            yield pixels.reshape(-1, *pixels.shape[3:])
