"""Heads: the LSTM that reads a stream's vectors in order, and its baselines.

A head maps a padded batch and its mask to one summary vector per clip, for all members of a branch together
(see `vidlstm.models.members`). Padding has no effect: a clip's summary is the same alone and in a batch with
longer clips. No state is kept from one call to the next.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vidlstm.config import HeadConfig
from vidlstm.models.members import Linear, RowDropout


def masked_mean(steps: Tensor, mask: Tensor) -> Tensor:
    """Average `(M, B, T, D)` over the real steps of `mask` `(M, B, T)` to `(M, B, D)`."""
    weights = mask.to(steps.dtype)
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1)
    return torch.matmul(weights.unsqueeze(-2), steps).squeeze(-2)


class MeanHead(nn.Module):
    """The baseline: an average over the steps, which ignores their order."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Map `(M, B, T, D)` with `mask` `(M, B, T)` to `(M, B, D)`."""
        return masked_mean(steps, mask)


class RecurrentHead(nn.Module):
    """An LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000) or a GRU.

    The LSTM's step, for input x and the state h, c before it::

        i = sigmoid(W_i x + U_i h + b_i)     f = sigmoid(W_f x + U_f h + b_f)
        o = sigmoid(W_o x + U_o h + b_o)     g = tanh(W_g x + U_g h + b_g)
        c' = f * c + i * g                   h' = o * tanh(c')

    The forget gate's bias starts at 1 (Jozefowicz et al. 2015), recurrent weights orthogonal, gate
    by gate (Saxe et al. 2014), input weights by Glorot & Bengio (2010).
    """

    def __init__(self, members: int, inputs: int, config: HeadConfig) -> None:
        super().__init__()
        cell = nn.LSTM if config.kind == "lstm" else nn.GRU
        # PyTorch cannot batch several LSTMs, so here the members run one after another.
        self.rnns = nn.ModuleList(
            cell(
                inputs,
                config.hidden,
                config.layers,
                batch_first=True,
                bidirectional=config.bidirectional,
            )
            for _ in range(members)
        )
        self.between = RowDropout(config.dropout)  # PyTorch's own draws other numbers for parts of a step
        self.layers = config.layers
        self.bidirectional = config.bidirectional
        self.hidden = config.hidden
        self.summary = config.summary
        self.width = config.hidden * (2 if config.bidirectional else 1)
        self.attention = Linear(members, self.width, 1) if config.summary == "attention" else None
        for rnn in self.rnns:
            _initialise(rnn)

    def forward(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Read `(M, B, T, D)` with `mask` `(M, B, T)` in order; return `(M, B, H)`."""
        if self.layers == 1:
            return self.summarise(self._read([*self.rnns], steps, mask), mask)
        with warnings.catch_warnings():
            # On a GPU cuDNN moves the weights of a layer that is computed by itself, and copies those of all
            # layers whenever they are computed together again; they are small.
            warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
            return self.summarise(self._read_layers(steps, mask), mask)

    def _read_layers(self, steps: Tensor, mask: Tensor) -> Tensor:
        """Return the outputs of the last of several layers; in training with dropout between them."""
        if not self.training:
            return self._read([*self.rnns], steps, mask)
        for number in range(self.layers):
            x = self.between(steps) if number else steps
            steps = self._read([_layer(rnn, number) for rnn in self.rnns], x, mask)
        return steps

    def _read(self, rnns: Sequence[nn.Module], steps: Tensor, mask: Tensor) -> Tensor:
        # A forward LSTM reads padding after the real steps, so it needs no packing.
        packs = self.bidirectional and not bool(mask.all())
        return torch.stack(
            [
                _read_packed(rnn, x, real) if packs else rnn(x)[0]
                for rnn, x, real in zip(rnns, steps, mask.expand(steps.shape[:-1]), strict=True)
            ]
        )

    def summarise(self, outputs: Tensor, mask: Tensor) -> Tensor:
        """Reduce the outputs `(M, B, T, H)` with `mask` `(M, B, T)` to a summary `(M, B, H)`.

        A mask that all members share is not expanded: otherwise OpenVINO 2026.4 uses the wrong steps for a
        single clip.
        """
        if self.attention is not None:
            scores = self.attention(outputs).squeeze(-1).masked_fill(~mask, -torch.inf)
            weights: Tensor = scores.softmax(-1).unsqueeze(-1)
            return (outputs * weights).sum(-2)
        if self.summary == "mean":
            return masked_mean(outputs, mask)
        return self._last(outputs, mask)

    def _last(self, outputs: Tensor, mask: Tensor) -> Tensor:
        """Return the output of each direction after it has read the whole clip."""
        last = (mask.sum(-1, keepdim=True) - 1).clamp(min=0)
        at_end = masked_mean(outputs, torch.arange(mask.shape[-1], device=mask.device) == last)
        if not self.bidirectional:
            return at_end
        return torch.cat([at_end[..., : self.hidden], outputs[:, :, 0, self.hidden :]], dim=-1)


def _layer(rnn: nn.Module, number: int) -> nn.Module:
    """Return one layer of an RNN, with the same parameters, as a separate RNN."""
    assert isinstance(rnn, nn.LSTM | nn.GRU)
    inputs = rnn.input_size if number == 0 else rnn.hidden_size * (2 if rnn.bidirectional else 1)
    layer = type(rnn)(
        inputs, rnn.hidden_size, batch_first=True, bidirectional=rnn.bidirectional, device="meta"
    )
    for name, _ in [*layer.named_parameters()]:
        setattr(layer, name, getattr(rnn, name.replace("_l0", f"_l{number}")))
    return layer


def _read_packed(rnn: nn.Module, steps: Tensor, mask: Tensor) -> Tensor:
    lengths = mask.sum(1).clamp(min=1).cpu()
    packed = pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
    outputs, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=steps.shape[1])
    return outputs


def _initialise(rnn: nn.Module) -> None:
    assert isinstance(rnn, nn.LSTM | nn.GRU)
    hidden = rnn.hidden_size
    for name, parameter in rnn.named_parameters():
        if name.startswith("weight"):
            fill = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
            for gate in torch.split(parameter.data, hidden):
                fill(gate)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih") and isinstance(rnn, nn.LSTM):
                parameter.data[hidden : 2 * hidden] = 1  # the gates are in the order i, f, g, o


def build_head(members: int, inputs: int, config: HeadConfig) -> MeanHead | RecurrentHead:
    """Build the head that `config` names, for steps of width `inputs`."""
    return MeanHead(inputs) if config.kind == "mean" else RecurrentHead(members, inputs, config)
