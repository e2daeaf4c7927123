"""What computes: chosen by what is there, never in silence against what was asked for."""

from __future__ import annotations

import pytest
import torch

from vidlstm.config import Backend
from vidlstm.engine import devices
from vidlstm.engine.devices import choose_backend
from vidlstm.errors import UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "installed", "chosen"),
    [
        ("auto", CPU, True, "openvino"),
        ("auto", CPU, False, "torch"),
        ("auto", GPU, True, "torch"),
        ("torch", CPU, True, "torch"),
        ("openvino", CPU, True, "openvino"),
    ],
)
def test_the_backend(
    asked: Backend, device: torch.device, installed: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "is_installed", lambda: installed)
    assert choose_backend(asked, device) == chosen


def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "is_installed", lambda: False)
    with pytest.raises(UsageError, match=r"`backend=openvino`: .*pip install 'vidlstm\[cpu\]'"):
        choose_backend("openvino", CPU)


def test_a_backend_for_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "is_installed", lambda: True)
    with pytest.raises(UsageError, match=r"`backend=openvino`: .*`device=cpu`"):
        choose_backend("openvino", GPU)
