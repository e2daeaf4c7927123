"""Convert torch networks to ONNX, for onnxruntime and OpenVINO.

A model consists of two networks: the `encoder` maps pictures to features; the `head` maps the features of
clips to calibrated probabilities and novelty (branches, members, fusion, temperature, distances). The numbers
of pictures, clips, views and steps are dynamic.

This uses torch's older exporter: it needs only `onnx`, and the newer one fixes the number of steps when a
bidirectional LSTM packs or flips (pytorch issue 191855).
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidlstm.config import SEQUENCE_STREAMS, SUMMARY_STREAMS, Precision
from vidlstm.errors import BackendError
from vidlstm.models.backends.openvino import OpenVinoEncoder, read_networks
from vidlstm.models.backends.torch import features_digest
from vidlstm.models.checkpoint import Model
from vidlstm.models.classifier import Classifier
from vidlstm.models.encoders import Encoder
from vidlstm.models.heads import RecurrentHead

_VERSION = 3  # of the cached networks; incremented when the conversion changes
_LOG = "_jit_onnx_log"
_OPSET = 17  # the first with LayerNormalization; onnxruntime 1.12 and OpenVINO 2022.2 support it


def convert_model(model: Model) -> dict[str, bytes]:
    """Return a model's networks: `head.onnx`, and `encoder.onnx` if it has an encoder.

    Args:
        model: On the CPU, in evaluation mode.

    Raises:
        BackendError: torch cannot convert it.
    """
    networks = {"head.onnx": convert_head(model)}
    if model.encoder is not None:
        networks["encoder.onnx"] = convert_encoder(
            model.encoder, model.config.encoder.size, model.config.encoder.channels
        )
    return networks


def convert_encoder(encoder: Encoder, size: int, channels: int) -> bytes:
    """Return an encoder as an ONNX file.

    It maps `pictures`, uint8 `(N, S, S, C)`, to `features`, float32 `(N, D)`; or `(N, R, D)` if a picture is
    read as R rows.

    Args:
        encoder: On the CPU.
        size: S.
        channels: C.

    Raises:
        BackendError: torch cannot convert it.
    """
    example = torch.zeros(2, size, size, channels, dtype=torch.uint8)
    return _to_onnx(
        EncoderNetwork(encoder),
        {"pictures": example},
        ("features",),
        {"pictures": {0: "pictures"}, "features": {0: "pictures"}},
    )


def convert_head(model: Model) -> bytes:
    """Return a head, which maps features to probabilities, as an ONNX file.

    Its inputs are named after the streams: `rgb` and `motion` are float32 `(B, V, T, D)` of B clips, V views
    and T steps, with bool masks `rgb_mask` and `motion_mask` `(B, T)`, True on real steps; T may differ
    between streams. `colour` and `texture` are float32 `(B, V, D)`. The outputs are `probabilities`, float32
    `(B, K)`, and `novelty`, float32 `(B,)`.

    Args:
        model: On the CPU, in evaluation mode.
    """
    network = HeadNetwork(model)
    clips, views, steps = 2, 3, 4  # not 1, which would become a constant
    examples: dict[str, Tensor] = {}
    free: dict[str, dict[int, str]] = {"probabilities": {0: "clips"}, "novelty": {0: "clips"}}
    for name in network.sequences:
        examples[name] = torch.zeros(clips, views, steps, model.widths[name])
        free[name] = {0: "clips", 1: "views", 2: f"{name}_steps"}
    for name in network.sequences:
        examples[f"{name}_mask"] = torch.ones(clips, steps, dtype=torch.bool)
        free[f"{name}_mask"] = {0: "clips", 1: f"{name}_steps"}
    for name in network.summaries:
        examples[name] = torch.zeros(clips, views, model.widths[name])
        free[name] = {0: "clips", 1: "views"}
    return _to_onnx(network, examples, ("probabilities", "novelty"), free)


def openvino_encoder(
    encoder: Encoder,
    size: int,
    channels: int,
    num_threads: int,
    precision: Precision = "float32",
    kept_in: Path | None = None,
) -> OpenVinoEncoder:
    """Return an encoder that runs in OpenVINO; it is converted on first use.

    Args:
        encoder: On the CPU.
        size: Side of its input.
        channels: Channels of its input.
        num_threads: Number of threads.
        precision: Precision of activations and products.
        kept_in: Folder to cache the compiled network in; None: no cache.
    """

    def network() -> Any:
        return read_networks({"encoder.onnx": convert_encoder(encoder, size, channels)})["encoder"]

    kept = None if kept_in is None else kept_in / _name(encoder, size) / "encoder"
    return OpenVinoEncoder(features_digest(encoder, precision), network, num_threads, precision, kept)


class EncoderNetwork(nn.Module):
    """An encoder whose input has the memory layout of pictures, `(N, S, S, C)`."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> Tensor:
        """Encode pictures `(N, S, S, C)`."""
        features: Tensor = self.encoder(pictures.permute(0, 3, 1, 2))
        return features


class HeadNetwork(nn.Module):
    """Map the views of clips, padded to the longest, to probabilities and novelty.

    Args:
        model: The model, which is copied.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.sequences: list[str] = [stream for stream in SEQUENCE_STREAMS if stream in model.config.streams]
        self.summaries: list[str] = [stream for stream in SUMMARY_STREAMS if stream in model.config.streams]
        self.classifier: Classifier = copy.deepcopy(model.classifier)
        for branch in self.classifier.branches:
            if isinstance(branch.head, RecurrentHead) and branch.head.bidirectional:
                branch.head = _BothWays(branch.head)  # type: ignore[assignment]

    def forward(self, *streams: Tensor) -> tuple[Tensor, Tensor]:
        """Map sequences `(B, V, T, D)`, masks `(B, T)`, summaries `(B, V, D)` to `(B, K)` and `(B,)`."""
        count = len(self.sequences)
        clips, views = streams[0].shape[:2]
        sequences = dict(zip(self.sequences, (x.flatten(0, 1) for x in streams), strict=False))
        masks = {
            name: mask.unsqueeze(1).expand(-1, views, -1).flatten(0, 1)
            for name, mask in zip(self.sequences, streams[count:], strict=False)
        }
        summaries = dict(zip(self.summaries, (x.flatten(0, 1) for x in streams[2 * count :]), strict=True))
        branches, vectors = self.classifier.read(sequences, masks, summaries)
        log_scores, *means = (
            x.view(x.shape[0], clips, views, x.shape[-1]).mean(2) for x in (branches, *vectors)
        )
        log_scores = log_scores.log_softmax(-1)
        return self.classifier.fuse(log_scores).softmax(-1), self.classifier.novelty(means)


class _BothWays(nn.Module):
    """A bidirectional head whose backward half reads reversed clips forwards.

    It computes the same function without packing. OpenVINO's bidirectional LSTM starts at the padding, even
    if it is given the lengths: probabilities were 2e-3 off. All members share the mask: with a mask for each
    of them, OpenVINO 2026.4 computed nothing, without an error, for fewer rows than members.
    """

    def __init__(self, head: RecurrentHead) -> None:
        super().__init__()
        self.head = head
        self.members = nn.ModuleList(
            nn.ModuleList(_one_way(rnn, name) for name in _directions(rnn)) for rnn in head.rnns
        )
        self.width = head.width

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Read `(M, B, T, D)` with `mask` `(1, B, T)` in order; return `(M, B, H)`."""
        order = torch.arange(mask.shape[-1])
        turned = torch.where(mask, mask.sum(-1, keepdim=True) - 1 - order, order)[0].unsqueeze(-1)
        outputs = []
        for layers, x in zip(self.members, steps, strict=True):
            assert isinstance(layers, nn.ModuleList)
            for ahead, back in zip(layers[::2], layers[1::2], strict=True):
                reversed_x = x.gather(1, turned.expand(-1, -1, x.shape[-1]))
                y = back(reversed_x)[0]
                x = torch.cat([ahead(x)[0], y.gather(1, turned.expand(-1, -1, y.shape[-1]))], dim=-1)
            outputs.append(x)
        return self.head.summarise(torch.stack(outputs), mask)


def _directions(rnn: nn.Module) -> list[str]:
    """Return the suffixes of the weights' names, by layer, forwards and backwards."""
    return [name.removeprefix("bias_ih") for name in rnn.state_dict() if name.startswith("bias_ih")]


def _one_way(rnn: nn.Module, end: str) -> nn.Module:
    """Return one direction of one layer of an RNN as a separate RNN."""
    assert isinstance(rnn, nn.LSTM | nn.GRU)
    state = {f"{n.removesuffix(end)}_l0": v for n, v in rnn.state_dict().items() if n.endswith(end)}
    single = type(rnn)(state["weight_ih_l0"].shape[1], rnn.hidden_size, batch_first=True)
    single.load_state_dict(state)
    return single.eval()


def _to_onnx(
    network: nn.Module,
    examples: Mapping[str, Tensor],
    outputs: Sequence[str],
    free: Mapping[str, Mapping[int, str]],
) -> bytes:
    """Return an ONNX file of a network.

    Args:
        network: On the CPU.
        examples: Example inputs, by name.
        outputs: Names of the outputs.
        free: For each input and output, its dynamic dimensions and their names.

    Raises:
        BackendError: torch cannot convert it.
    """
    with tempfile.TemporaryDirectory() as folder, _exporter(), torch.inference_mode():
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            network.eval(),
            tuple(examples.values()),
            file,
            input_names=list(examples),
            output_names=list(outputs),
            dynamic_axes=free,
            opset_version=_OPSET,
            dynamo=False,
        )
        return file.read_bytes()


@contextlib.contextmanager
def _exporter() -> Iterator[None]:
    """Prepare torch for the export, and turn its exceptions into a `BackendError`."""
    log, fast_attention = getattr(torch._C, _LOG, None), torch.backends.mha.get_fastpath_enabled()
    # If the old exporter fails, it prints the whole network on standard output: it always turns its log on.
    setattr(torch._C, _LOG, lambda *_: None)
    # The fast path of attention is a single operator, which ONNX does not have.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            # Warnings about shapes that become constants, as intended, and about the old exporter.
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # its errors have no common base class
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(
            f"torch cannot convert this model to ONNX ({reason}); use `backend=torch` instead"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
        setattr(torch._C, _LOG, log)


def _name(encoder: Encoder, size: int) -> str:
    versions = (_VERSION, version("openvino"), torch.__version__)
    parts = (*versions, features_digest(encoder, "float32"), size)
    normalisation = encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()
    text = repr((*parts, normalisation, repr(encoder)))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
