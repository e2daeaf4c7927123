"""All backends and fast paths of an encoder give the features of the reference."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from vidlstm.config import EncoderConfig
from vidlstm.errors import BackendError
from vidlstm.models.backends import fused as fusing
from vidlstm.models.backends.convert import openvino_encoder
from vidlstm.models.backends.openvino import as_openvino_errors, is_installed
from vidlstm.models.backends.protocol import EncoderWithFallback, FrameEncoder, supported_precision
from vidlstm.models.backends.torch import TorchEncoder, has_bfloat16
from vidlstm.models.encoders import Encoder, build_encoder, for_inference

SIZE = 64
needs_openvino = pytest.mark.skipif(not is_installed(), reason="needs OpenVINO: pip install vidlstm[cpu]")


def pictures(count: int = 10, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def experienced(name: str) -> Encoder:
    """Build an encoder whose batch normalisations have non-trivial statistics."""
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(name, "default" if name == "efficientnet_lite0" else "none"))
    if name != "efficientnet_lite0":
        with torch.no_grad():
            encoder.train()(torch.from_numpy(pictures(8)).permute(0, 3, 1, 2))
    return encoder.eval()


@pytest.fixture(scope="module")
def lite0() -> Encoder:
    return experienced("efficientnet_lite0")


def reference(encoder: Encoder, given: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the features of the encoder itself, computed layer by layer."""
    with torch.inference_mode():
        features: NDArray[np.float32] = encoder(torch.from_numpy(given).permute(0, 3, 1, 2)).numpy()
    return features


def assert_close(features: NDArray[np.float16], expected: NDArray[np.float32], relative: float) -> None:
    """Compare relative to the norm of all features, as a relative error near zero is meaningless."""
    assert features.shape == expected.shape
    assert features.dtype == np.float16
    assert np.linalg.norm(features - expected) <= relative * np.linalg.norm(expected)


ROUNDING = 5e-4  # of float16, the type of stored features


class TestTorch:
    @pytest.mark.parametrize(
        "name", ["efficientnet_lite0", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "efficientnet_b0"]
    )
    def test_gives_the_features_of_the_plain_layers(self, name: str) -> None:
        encoder = experienced(name)
        assert_close(TorchEncoder(encoder, 2)(pictures()), reference(encoder, pictures()), ROUNDING)

    @pytest.mark.parametrize("size", [63, 64, 66, 97])
    def test_pads_like_the_plain_layers_at_any_size(self, lite0: Encoder, size: int) -> None:
        given = pictures(2, size)
        assert_close(TorchEncoder(lite0, 1)(given), reference(lite0, given), ROUNDING)

    def test_still_folds_without_fused_operators(
        self, lite0: Encoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("platform.machine", lambda: "another")
        quick = for_inference(lite0)
        assert not any(isinstance(m, (nn.BatchNorm2d, fusing.FusedConv2d)) for m in quick.modules())
        assert_close(TorchEncoder(lite0, 2)(pictures()), reference(lite0, pictures()), ROUNDING)

    @pytest.mark.skipif(not fusing.can_fuse_layers(torch.device("cpu")), reason="this CPU or torch cannot")
    def test_fuses_if_possible(self, lite0: Encoder) -> None:
        quick = for_inference(lite0)
        kinds = {type(m) for m in quick.modules()}
        assert fusing.FusedConv2d in kinds
        assert not kinds & {nn.BatchNorm2d, nn.ReLU6, nn.Conv2d}

    @pytest.mark.parametrize("fault", ["differs", "fails"])
    def test_checks_the_fused_layers_and_falls_back_to_plain_ones(
        self, lite0: Encoder, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        right = fusing.FusedConv2d.forward

        def wrong(layer: fusing.FusedConv2d, x: torch.Tensor) -> torch.Tensor:
            if fault == "fails":
                raise RuntimeError("no such instruction\nmore of it")
            return right(layer, x) * 1.01

        monkeypatch.setattr("vidlstm.models.encoders.can_fuse_layers", lambda _: True)
        monkeypatch.setattr(fusing.FusedConv2d, "forward", wrong)
        quick = for_inference(lite0)
        assert not any(isinstance(m, fusing.FusedConv2d) for m in quick.modules())
        assert any(isinstance(m, nn.ReLU6) for m in quick.modules())
        assert len(caplog.messages) == 1
        assert "fused layers are not used" in caplog.text
        assert_close(TorchEncoder(lite0, 2)(pictures()), reference(lite0, pictures()), ROUNDING)

    def test_does_not_change_the_encoder(self, lite0: Encoder) -> None:
        before = reference(lite0, pictures(2))
        TorchEncoder(lite0, 1)(pictures(2))
        np.testing.assert_array_equal(reference(lite0, pictures(2)), before)

    def test_rows_do_not_affect_each_other(self) -> None:
        encoder = build_encoder(EncoderConfig("simple", size=32, rows=True)).eval()
        given = pictures(6, 32)
        features = TorchEncoder(encoder, 2)(given)
        assert features.shape == (6, 8, 512)
        assert_close(features, reference(encoder, given), ROUNDING)

    def test_does_not_change_the_caller_s_number_of_threads(self, lite0: Encoder) -> None:
        before = torch.get_num_threads()
        TorchEncoder(lite0, 2)(pictures(2))
        assert torch.get_num_threads() == before


CPU = torch.device("cpu")
OLD_CPU = """
import numpy as np, torch
from vidlstm.config import EncoderConfig
from vidlstm.models.backends.torch import TorchEncoder, has_bfloat16
from vidlstm.models.encoders import build_encoder
encoder = build_encoder(EncoderConfig("efficientnet_lite0")).eval()
pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
one, other = (TorchEncoder(encoder, 1, p)(pictures).astype(float) for p in ("float32", "bfloat16"))
print(has_bfloat16(torch.device("cpu")), np.linalg.norm(one - other) < 0.15 * np.linalg.norm(one))
"""


def test_a_gpu_with_too_little_memory(lite0: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    encoder = TorchEncoder(lite0, 1)
    monkeypatch.setattr(Encoder, "forward", fails)
    with pytest.raises(BackendError, match=r"GPU has not enough free memory.*`device=cpu`"):
        encoder(pictures(1))


class TestPrecision:
    @pytest.mark.skipif(not has_bfloat16(CPU), reason="this CPU has no bfloat16")
    def test_bfloat16_is_near_but_not_the_same(self, lite0: Encoder) -> None:
        coarse = TorchEncoder(lite0, 1, "bfloat16")(pictures(4))
        exact = TorchEncoder(lite0, 1)(pictures(4))
        assert_close(coarse, exact.astype(np.float32), 0.15)
        assert not np.allclose(coarse, exact, atol=1e-3)

    def test_is_part_of_the_key_of_stored_features(self, lite0: Encoder) -> None:
        assert TorchEncoder(lite0, 1, "bfloat16").digest != TorchEncoder(lite0, 1).digest

    @pytest.mark.skipif(not fusing.can_fuse_layers(CPU), reason="not an x86 CPU, or a torch without oneDNN")
    def test_torch_works_on_a_cpu_without_avx_512(self) -> None:
        env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
        done = subprocess.run([sys.executable, "-c", OLD_CPU], env=env, capture_output=True, text=True)
        assert done.stdout == "False True\n", done.stderr

    @pytest.mark.skipif(not is_installed(), reason="needs OpenVINO")
    def test_the_limit_that_only_onednn_obeys_is_hidden_from_openvino(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
        with as_openvino_errors():
            assert "ONEDNN_MAX_CPU_ISA" not in os.environ
        assert os.environ["ONEDNN_MAX_CPU_ISA"] == "avx2"

    def test_without_onednn_there_is_no_bfloat16(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.ops, "mkldnn", object())
        assert not has_bfloat16(CPU)

    def test_float32_if_the_processor_has_no_bfloat16(self, caplog: pytest.LogCaptureFixture) -> None:
        assert supported_precision("bfloat16", lambda: True) == "bfloat16"
        assert supported_precision("float32", lambda: False) == "float32"
        assert not caplog.messages
        assert supported_precision("bfloat16", lambda: False) == "float32"
        assert caplog.messages == ["This processor has no bfloat16, so float32 is used"]

    def test_the_backend_is_not_part_of_the_key(self, lite0: Encoder) -> None:
        assert openvino_encoder(lite0, SIZE, 3, 1).digest == TorchEncoder(lite0, 1).digest


@pytest.fixture(scope="module")
def kept_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def openvino(lite0: Encoder, kept_in: Path) -> FrameEncoder:
    return openvino_encoder(lite0, SIZE, 3, 2, kept_in=kept_in)


@needs_openvino
class TestOpenVino:
    @pytest.mark.parametrize("count", [1, 4, 11])
    def test_gives_the_features_of_the_reference(
        self, openvino: FrameEncoder, lite0: Encoder, count: int
    ) -> None:
        assert_close(openvino(pictures(count)), reference(lite0, pictures(count)), ROUNDING)

    def test_keeps_the_compiled_network(
        self, openvino: FrameEncoder, lite0: Encoder, kept_in: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        openvino(pictures(1))
        assert len([*kept_in.glob("*/encoder-*.blob")]) == 1
        monkeypatch.setattr("vidlstm.models.backends.convert.convert_encoder", None)
        again = openvino_encoder(lite0, SIZE, 3, 1, kept_in=kept_in)
        assert_close(again(pictures(3)), reference(lite0, pictures(3)), ROUNDING)

    def test_works_without_a_cache(self, tmp_path: Path) -> None:
        encoder = build_encoder(EncoderConfig("simple", size=32, rows=True)).eval()
        (tmp_path / "file").write_text("no folder")
        for kept_in in (None, tmp_path / "file"):
            features = openvino_encoder(encoder, 32, 3, 1, kept_in=kept_in)(pictures(2, 32))
            assert_close(features, reference(encoder, pictures(2, 32)), ROUNDING)

    def test_distinguishes_encoders(self, kept_in: Path) -> None:
        one, other = experienced("mobilenet_v3_small"), experienced("regnet_y_400mf")
        for encoder in (one, other):
            features = openvino_encoder(encoder, SIZE, 3, 1, kept_in=kept_in)(pictures(2))
            assert_close(features, reference(encoder, pictures(2)), 2e-3)

    def test_makes_no_network_request(self, openvino: FrameEncoder) -> None:
        """OpenVINO sends telemetry on every import if its package for that is installed."""
        openvino(pictures(1))
        assert sys.modules["openvino_telemetry"] is None


class TestFallback:
    def test_is_permanent(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken:
            digest = "the same"

            def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
                raise BackendError("OpenVINO fails on this model")

        class Plain(Broken):
            def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
                return pictures.astype(np.float16)

        encoder = EncoderWithFallback(Broken(), Plain)
        assert encoder.digest == "the same"
        for _ in range(2):
            np.testing.assert_array_equal(encoder(np.ones((2, 3), np.uint8)), np.ones((2, 3)))
        assert caplog.messages == ["OpenVINO fails on this model"]

    def test_an_openvino_that_has_changed(self, lite0: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openvino", types.ModuleType("openvino"))
        with pytest.raises(BackendError, match=r"OpenVINO fails on this model .*'openvino' has no attribute"):
            openvino_encoder(lite0, SIZE, 3, 1)(pictures(1))
