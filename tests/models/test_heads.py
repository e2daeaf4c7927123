"""The heads: the LSTM of the article; padding never matters."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from vidlstm.config import HeadConfig, HeadKind, SummaryKind
from vidlstm.models.heads import MeanHead, RecurrentHead, build_head, masked_mean

WIDTH = 5
KINDS: tuple[HeadKind, ...] = ("lstm", "gru")
RECURRENT = [
    HeadConfig(kind=kind, hidden=7, layers=layers, bidirectional=both, summary=summary)
    for kind, layers, both, summary in itertools.product(KINDS, (1, 2), (False, True), get_args(SummaryKind))
]
EVERY_HEAD = [HeadConfig(kind="mean"), *RECURRENT]


def name_of(config: HeadConfig) -> str:
    direction = "both" if config.bidirectional else "forwards"
    return f"{config.kind}-{config.layers}-{direction}-{config.summary}"


def build(config: HeadConfig) -> MeanHead | RecurrentHead:
    torch.manual_seed(3)
    return build_head(1, WIDTH, config).eval()


def read(head: nn.Module, clips: Tensor, mask: Tensor) -> Tensor:
    """Read `(B, T, D)` with a head of one member."""
    summary: Tensor = head(clips[None], mask[None])
    return summary.squeeze(0)


def lengths_to_mask(lengths: list[int], longest: int) -> Tensor:
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


every_head = pytest.mark.parametrize("config", EVERY_HEAD, ids=name_of)
recurrent = pytest.mark.parametrize("config", RECURRENT, ids=name_of)


class TestEquations:
    def test_our_lstm_follows_the_six_equations(self) -> None:
        """The article's equations, written out in plain tensor operations."""
        head = build(HeadConfig(hidden=7, bidirectional=False))
        assert isinstance(head, RecurrentHead)
        own = dict(head.rnns[0].named_parameters())
        with torch.no_grad():  # random biases instead of the initial ones
            for bias in (own["bias_ih_l0"], own["bias_hh_l0"]):
                bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
        w_i, w_f, w_g, w_o = torch.split(own["weight_ih_l0"], 7)
        u_i, u_f, u_g, u_o = torch.split(own["weight_hh_l0"], 7)
        b_i, b_f, b_g, b_o = torch.split(own["bias_ih_l0"] + own["bias_hh_l0"], 7)
        clips = torch.randn(4, 9, WIDTH, generator=torch.Generator().manual_seed(2))

        h = c = torch.zeros(4, 7)
        for x in clips.unbind(1):
            i = torch.sigmoid(x @ w_i.T + h @ u_i.T + b_i)
            f = torch.sigmoid(x @ w_f.T + h @ u_f.T + b_f)
            o = torch.sigmoid(x @ w_o.T + h @ u_o.T + b_o)
            g = torch.tanh(x @ w_g.T + h @ u_g.T + b_g)
            c = f * c + i * g
            h = o * torch.tanh(c)

        summary = read(head, clips, torch.ones(4, 9, dtype=torch.bool))
        torch.testing.assert_close(summary, h, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize("both", [False, True])
    def test_forget_gates_start_open_and_other_biases_at_zero(self, layers: int, both: bool) -> None:
        head = build(HeadConfig(hidden=7, layers=layers, bidirectional=both))
        assert isinstance(head, RecurrentHead)
        biases = {n: p for n, p in head.rnns[0].named_parameters() if n.startswith("bias")}
        assert len(biases) == 2 * layers * (1 + both)
        for end in sorted({n.removeprefix("bias_ih") for n in biases if n.startswith("bias_ih")}):
            i, f, g, o = torch.split(biases[f"bias_ih{end}"] + biases[f"bias_hh{end}"], 7)
            assert f.tolist() == [1] * 7
            assert torch.cat([i, g, o]).abs().max() == 0

    @recurrent
    def test_recurrent_weights_start_orthogonal_gate_by_gate(self, config: HeadConfig) -> None:
        head = build(config)
        assert isinstance(head, RecurrentHead)
        matrices = [p for n, p in head.rnns[0].named_parameters() if n.startswith("weight_hh")]
        assert len(matrices) == config.layers * (1 + config.bidirectional)
        for matrix in matrices:
            for gate in torch.split(matrix, 7):
                torch.testing.assert_close(gate @ gate.T, torch.eye(7), atol=1e-5, rtol=0)


class TestPadding:
    """Fault 4 of the peers: the last padded step is used as the clip's summary."""

    LENGTHS = (1, 2, 5, 8, 3)

    @every_head
    def test_a_clip_s_summary_is_the_same_alone_and_in_a_batch_with_longer_clips(
        self, config: HeadConfig
    ) -> None:
        head = build(config)
        generator = torch.Generator().manual_seed(4)
        clips = [torch.randn(n, WIDTH, generator=generator) for n in self.LENGTHS]
        alone = torch.cat([read(head, c[None], torch.ones(1, len(c), dtype=torch.bool)) for c in clips])
        for longest in (8, 13):
            for filler in (0.0, 1e4, -7.0):
                padded = torch.full((len(clips), longest, WIDTH), filler)
                for place, clip in zip(padded, clips, strict=True):
                    place[: len(clip)] = clip
                together = read(head, padded, lengths_to_mask(list(self.LENGTHS), longest))
                torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)

    @every_head
    def test_padding_gets_no_gradient(self, config: HeadConfig) -> None:
        head = build(config)
        steps = torch.randn(2, 6, WIDTH, generator=torch.Generator().manual_seed(5), requires_grad=True)
        read(head, steps, lengths_to_mask([2, 6], 6)).square().sum().backward()  # type: ignore[no-untyped-call]
        assert steps.grad is not None
        assert steps.grad[0, 2:].abs().max() == 0
        assert (steps.grad[1].abs().sum(-1) > 0).all() or config.summary == "last"

    def test_masked_mean_by_hand(self) -> None:
        steps = torch.tensor([[[1.0], [3.0], [99.0]], [[2.0], [4.0], [6.0]]])
        assert masked_mean(steps, lengths_to_mask([2, 3], 3)).tolist() == [[2.0], [4.0]]

    def test_each_direction_gives_its_output_after_the_whole_clip(self) -> None:
        head = build(HeadConfig(hidden=7, bidirectional=True))
        assert isinstance(head, RecurrentHead)
        clip = torch.randn(1, 4, WIDTH, generator=torch.Generator().manual_seed(6))
        _, (states, _) = head.rnns[0](clip)
        padded = torch.cat([clip, torch.ones(1, 3, WIDTH)], dim=1)
        torch.testing.assert_close(
            read(head, padded, lengths_to_mask([4], 7))[0], states.flatten(), atol=1e-6, rtol=1e-5
        )


def only(head: MeanHead | RecurrentHead, number: int) -> MeanHead | RecurrentHead:
    """Return one member of a head as a separate head."""
    alone = copy.deepcopy(head)
    if isinstance(alone, RecurrentHead):
        alone.rnns = nn.ModuleList([alone.rnns[number]])
        if alone.attention is not None:  # to one number: a bias for each member
            alone.attention.weight.data = alone.attention.weight.data[number : number + 1]
            alone.attention.bias.data = alone.attention.bias.data[number : number + 1]
    return alone


class TestMembers:
    LENGTHS = ([5, 2, 6], [6, 1, 3])

    @every_head
    @pytest.mark.parametrize("shared", [False, True])
    def test_each_reads_its_own_clips_independently(self, config: HeadConfig, shared: bool) -> None:
        torch.manual_seed(3)
        head = build_head(2, WIDTH, config).eval()
        clips = torch.randn(2, 3, 6, WIDTH, generator=torch.Generator().manual_seed(9))
        mask = torch.stack([lengths_to_mask(lengths, 6) for lengths in self.LENGTHS])
        mask = mask[:1] if shared else mask
        together = head(clips, mask)
        for number in range(2):
            expected = read(only(head, number), clips[number], mask[0 if shared else number])
            torch.testing.assert_close(together[number], expected)


class TestTraining:
    STEPS = torch.randn(2, 3, 6, WIDTH, generator=torch.Generator().manual_seed(8))
    MASK = lengths_to_mask([5, 2, 6], 6)[None]

    @recurrent
    def test_without_dropout_gives_the_outputs_and_gradients_of_evaluation(self, config: HeadConfig) -> None:
        head = build_head(2, WIDTH, dataclasses.replace(config, dropout=0.0))
        found = []
        for training in (True, False):
            head.train(training).zero_grad()
            outputs = head(self.STEPS, self.MASK)
            outputs.square().sum().backward()
            gradients = [p.grad.clone() for p in head.parameters() if p.grad is not None]
            found.append([outputs, *gradients])
        torch.testing.assert_close(*found)

    def test_units_are_dropped_between_layers(self) -> None:
        for layers in (1, 2):
            head = build(HeadConfig(hidden=7, layers=layers, dropout=0.5)).train()
            once, again = (head(self.STEPS[:1], self.MASK) for _ in range(2))
            assert torch.equal(once, again) == (layers == 1)


class TestState:
    @recurrent
    def test_none_is_carried_from_one_call_to_the_next(self, config: HeadConfig) -> None:
        """Fault 2 of the peers: the LSTM's state is carried from one clip or batch to the next."""
        head = build(config)
        generator = torch.Generator().manual_seed(7)
        clip, other = torch.randn(2, 1, 6, WIDTH, generator=generator).unbind()
        mask = torch.ones(1, 6, dtype=torch.bool)
        first = read(head, clip, mask)
        read(head, other, mask)
        assert torch.equal(read(head, clip, mask), first)


class TestOrder:
    STEPS = torch.randn(3, 6, WIDTH, generator=torch.Generator().manual_seed(8))
    MASK = torch.ones(3, 6, dtype=torch.bool)

    @recurrent
    def test_matters_to_recurrent_heads(self, config: HeadConfig) -> None:
        head = build(config)
        difference = read(head, self.STEPS, self.MASK) - read(head, self.STEPS.flip(1), self.MASK)
        assert difference.abs().max() > 1e-3

    def test_does_not_matter_to_the_mean(self) -> None:
        head = build(HeadConfig(kind="mean"))
        torch.testing.assert_close(
            read(head, self.STEPS, self.MASK), read(head, self.STEPS.flip(1), self.MASK)
        )


class TestShape:
    @every_head
    def test_width_is_that_of_the_output(self, config: HeadConfig) -> None:
        head = build(config)
        steps, mask = torch.zeros(2, 3, WIDTH), torch.ones(2, 3, dtype=torch.bool)
        assert read(head, steps, mask).shape == (2, head.width)

    @pytest.mark.parametrize(("kind", "cell"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
    def test_options_reach_the_network(self, kind: HeadKind, cell: type[nn.Module]) -> None:
        head = build(HeadConfig(kind=kind, hidden=9, layers=3, bidirectional=True, dropout=0.25))
        assert isinstance(head, RecurrentHead)
        rnn = head.rnns[0]
        assert isinstance(rnn, cell)
        assert isinstance(rnn, nn.RNNBase)
        assert (rnn.hidden_size, rnn.num_layers, rnn.bidirectional) == (9, 3, True)
        assert (head.between.share, head.width) == (0.25, 18)
