"""Choice of device and backend: by what is available; a request is never silently ignored."""

from __future__ import annotations

import pytest
import torch

from vidlstm.config import Backend
from vidlstm.engine import devices
from vidlstm.engine.devices import choose_backend, choose_device
from vidlstm.errors import UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(params=[0, 2])
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine with this number of NVIDIA GPUs."""
    number: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return number


@pytest.mark.parametrize("gpus", [2], indirect=True)
class TestGpus:
    @pytest.mark.parametrize(
        ("name", "place", "chosen"),
        [
            ("auto", 0, "cuda:0"),
            ("cuda", 0, "cuda:0"),
            ("cuda", 1, "cuda:1"),
            ("cuda:1", 0, "cuda:1"),
            ("cpu", 1, "cpu"),
        ],
    )
    def test_a_gpu_is_named_by_its_number(self, name: str, place: int, chosen: str, gpus: int) -> None:
        assert choose_device(name, place, 2) == torch.device(chosen)

    @pytest.mark.parametrize("name", ["cuda:2", "cuda:", "cuda:x", "cuda:-1", "mps", "tpu", "CPU"])
    def test_a_missing_gpu_is_refused(self, name: str, gpus: int) -> None:
        with pytest.raises(UsageError, match=f"`device={name}`: not .*have only cuda:0, cuda:1, cpu"):
            choose_device(name)

    @pytest.mark.parametrize("place", [0, 2])
    def test_more_processes_than_gpus_are_refused_in_each_of_them(self, place: int, gpus: int) -> None:
        with pytest.raises(UsageError, match="3 processes need a GPU each, and this machine has 2"):
            choose_device("auto", place, 3)


@pytest.mark.parametrize("gpus", [0], indirect=True)
def test_without_a_gpu(gpus: int) -> None:
    assert choose_device("auto", 1, 2) == CPU
    with pytest.raises(
        UsageError, match="`device=cuda`: not available; this machine and this torch have only cpu"
    ):
        choose_device("cuda")


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
