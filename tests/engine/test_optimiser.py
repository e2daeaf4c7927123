"""AdamW: the same steps as PyTorch's, bit for bit, without importing its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from vidlstm.engine.training.loop.optimiser import AdamW, clip

RATES = (0.1, 0.03, 0.2, 0.01)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3))


def learn(net: nn.Sequential, layers: int) -> None:
    """Compute gradients of the first layers only."""
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    net[:layers](x).square().sum().backward()


def values(net: nn.Sequential) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class TestStep:
    def test_equals_pytorch_s_and_decays_neither_biases_nor_norms(self) -> None:
        ours, theirs = network(), network()
        optimiser = AdamW(ours.parameters(), weight_decay=0.1)
        reference = torch.optim.AdamW(
            [
                {"params": [p for p in theirs.parameters() if p.ndim > 1], "weight_decay": 0.1},
                {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
            ],
            fused=True,
        )
        for number, rate in enumerate(RATES):
            for net in (ours, theirs):
                learn(net, layers=1 + number % 3)  # so that their numbers of steps differ
            optimiser.step(rate)
            for group in reference.param_groups:
                group["lr"] = rate
            reference.step()
            reference.zero_grad()
        assert same(values(ours), values(theirs))
        assert not same(values(ours), values(network()))

    def test_skips_parameters_without_gradient_and_clears_the_others(self) -> None:
        net = network()
        before = values(net)
        optimiser = AdamW(net.parameters(), weight_decay=0.1)
        learn(net, layers=1)
        optimiser.step(0.1)
        assert [torch.equal(a, b) for a, b in zip(values(net), before, strict=True)] == [
            False, False, True, True, True, True,
        ]  # fmt: skip
        assert all(p.grad is None for p in net.parameters())

    def test_frozen_parameters_have_no_state(self) -> None:
        net = network()
        net[0].requires_grad_(False)
        assert len(AdamW(net.parameters(), weight_decay=0.1).state()) == 4


class TestState:
    def test_resumes_bit_for_bit(self) -> None:
        unbroken, broken = network(), network()
        first, second = AdamW(unbroken.parameters(), 0.1), AdamW(broken.parameters(), 0.1)
        for net, optimiser in ((unbroken, first), (broken, second)):
            learn(net, layers=3)
            optimiser.step(0.1)
        resumed = AdamW(broken.parameters(), 0.1)
        resumed.restore(second.state())
        for net, optimiser in ((unbroken, first), (broken, resumed)):
            learn(net, layers=3)
            optimiser.step(0.1)
        assert same(values(unbroken), values(broken))


class TestClip:
    @pytest.mark.parametrize("size", [0.01, 100.0])
    def test_equals_pytorch_s(self, size: float) -> None:
        ours, theirs = network(), network()
        for net in (ours, theirs):
            learn(net, layers=3)
            for parameter in net.parameters():
                assert parameter.grad is not None
                parameter.grad.mul_(size)
        gradients = [p.grad for p in ours.parameters() if p.grad is not None]
        clip(gradients, 1.0)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        for own, parameter in zip(gradients, theirs.parameters(), strict=True):
            torch.testing.assert_close(own, parameter.grad)

    def test_of_no_gradients_does_nothing(self) -> None:
        clip([], 1.0)


def test_does_not_load_the_compiler() -> None:
    """The compiler takes a second of every start, and is never used."""
    code = (
        "import sys, torch\n"
        "from vidlstm.engine.training.loop.optimiser import AdamW\n"
        "net = torch.nn.Linear(2, 2)\n"
        "optimiser = AdamW(net.parameters(), 0.1)\n"
        "net(torch.ones(1, 2)).sum().backward()\n"
        "optimiser.step(0.1)\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
