"""A whole model as ONNX gives the scores of torch, in onnxruntime and in OpenVINO."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from tests.models.test_classifier import CLASSES, WIDTHS, classifier
from vidlstm.config import SUMMARY_STREAMS, EncoderConfig, ModelConfig, Precision, StreamName
from vidlstm.errors import BackendError, VidlstmError
from vidlstm.models.backends import onnx, openvino
from vidlstm.models.backends.convert import convert_encoder, convert_model, openvino_encoder
from vidlstm.models.backends.onnx import OnnxEncoder, OnnxHead
from vidlstm.models.backends.openvino import OpenVinoHead, read_networks
from vidlstm.models.backends.protocol import Head
from vidlstm.models.checkpoint import Model
from vidlstm.models.encoders import Encoder, build_encoder

pytest.importorskip("onnx", reason="needs onnx: pip install vidlstm[onnx]")

VIEWS = 2


def by_onnxruntime(file: bytes) -> Head:
    return OnnxHead(file)


def by_openvino(file: bytes) -> Head:
    return OpenVinoHead(lambda: read_networks({"head.onnx": file})["head"])


def converted(network: Model) -> openvino.Network:
    return read_networks(convert_model(network))["head"]


def never() -> openvino.Network:
    raise AssertionError("converted again")


RUNTIMES = [
    pytest.param(
        by_onnxruntime, marks=pytest.mark.skipif(not onnx.is_installed(), reason="needs onnxruntime")
    ),
    pytest.param(by_openvino, marks=pytest.mark.skipif(not openvino.is_installed(), reason="needs OpenVINO")),
]


def model(streams: tuple[StreamName, ...] = ("rgb", "motion"), members: int = 2, **head: object) -> Model:
    base = ModelConfig("picture" if "colour" in streams else "video", CLASSES, streams, members=members)
    config = base.changed(head={"hidden": 5, "projection": 4, **head})
    network = classifier(config)
    vectors = [torch.randn(30, sum(branch.width for branch in network.branches)) for _ in range(2 * members)]
    labels = [torch.arange(30) % len(CLASSES)] * members
    network.novelty.fit(vectors[:members], labels, vectors[members:])
    return Model(config, None, network, {name: WIDTHS[name] for name in streams}, {})


def expected(
    network: Model, streams: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Score each clip with torch, alone and without padding: the mean over its views, fused."""
    scores, novelty = [], []
    for clip in range(len(next(iter(streams.values())))):
        given = {
            name: torch.from_numpy(values[clip][:, streams[f"{name}_mask"][clip]])
            if f"{name}_mask" in streams
            else torch.from_numpy(values[clip])
            for name, values in streams.items()
            if not name.endswith("_mask")
        }
        sequences = {name: values for name, values in given.items() if values.ndim == 3}
        masks = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in sequences.items()}
        with torch.inference_mode():
            branches, vectors = network.classifier.read(sequences, masks, given)
            fused = network.classifier.fuse(branches.mean(1, keepdim=True).log_softmax(-1))
            scores.append(fused.softmax(-1).numpy())
            novelty.append(network.classifier.novelty([v.mean(1, keepdim=True) for v in vectors]).numpy())
    return np.concatenate(scores), np.concatenate(novelty)


def clips(network: Model, number: int, steps: int, views: int = VIEWS) -> dict[str, NDArray[Any]]:
    """Make the streams of clips; the first clip has the full length, the others are shorter."""
    rng = np.random.default_rng(steps)
    streams: dict[str, NDArray[Any]] = {}
    for name in network.config.streams:
        width = network.widths[name]
        length = () if name in SUMMARY_STREAMS else (steps,)
        streams[name] = rng.normal(size=(number, views, *length, width)).astype(np.float32)
        if name not in SUMMARY_STREAMS:
            lengths = rng.integers(1, steps + 1, size=number)
            lengths[0] = steps
            streams[f"{name}_mask"] = np.arange(steps) < lengths[:, None]
    return streams


def assert_same(found: tuple[NDArray[Any], NDArray[Any]], wanted: tuple[NDArray[Any], NDArray[Any]]) -> None:
    assert [part.shape for part in found] == [part.shape for part in wanted]
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "network",
    [
        model(),
        model(bidirectional=False),
        model(summary="mean", layers=2),
        model(summary="attention", projection=0),
        model(kind="gru", summary="last"),
        model(("motion",), members=4),  # more members than views
        model(kind="mean"),
        model(("motion",), bidirectional=False, summary="attention", members=1),
        model(("motion", "pose")),
        model(("rgb", "colour", "texture")),
    ],
    ids=lambda network: f"{'+'.join(network.config.streams)} {network.config.head}",
)
def test_gives_the_scores_of_torch_for_any_number_of_clips_steps_and_views(
    network: Model, runtime: Callable[[bytes], Head]
) -> None:
    compute = runtime(convert_model(network)["head.onnx"])
    for number in (1, 3):
        for steps in (1, 7, 16):
            for views in (1, VIEWS):
                streams = clips(network, number, steps, views)
                assert_same(compute(streams), expected(network, streams))


def with_attention() -> Encoder:
    torch.manual_seed(0)
    transformer = VisionTransformer(16, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=16)
    transformer.heads = nn.Sequential()
    return Encoder(nn.Sequential(transformer), (127.0,) * 3, (64.0,) * 3, 16).requires_grad_(False)


@pytest.mark.skipif(not onnx.is_installed(), reason="needs onnxruntime")
@pytest.mark.parametrize(
    "encoder",
    [
        build_encoder(EncoderConfig("simple", size=16)),
        build_encoder(EncoderConfig("simple", size=16, rows=True)),
        with_attention(),
    ],
    ids=["simple", "rows", "attention"],
)
def test_an_encoder_gives_the_features_of_torch(encoder: Encoder) -> None:
    encoder.eval()
    pictures = np.random.default_rng(0).integers(0, 256, size=(9, 16, 16, 3), dtype=np.uint8)
    with torch.inference_mode():
        wanted = encoder(torch.from_numpy(pictures).permute(0, 3, 1, 2)).numpy()
    features = OnnxEncoder("", convert_encoder(encoder, 16, 3), num_threads=2)(pictures)
    np.testing.assert_allclose(features, wanted, atol=2e-3)
    assert torch.backends.mha.get_fastpath_enabled()


def test_an_encoder_that_cannot_be_converted_is_an_error_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class NotInOnnx(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            value: Tensor = torch.special.bessel_j0(pictures)
            return value.mean((2, 3))

    encoder = Encoder(nn.Sequential(NotInOnnx()), (0.0,) * 3, (1.0,) * 3, 3).eval()
    with pytest.raises(BackendError, match=r"torch cannot convert .*bessel.*; use `backend=torch` instead"):
        convert_encoder(encoder, 16, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not openvino.is_installed(), reason="needs OpenVINO")
class TestCompiledNetworks:
    def test_are_kept_and_imported(self, tmp_path: Path) -> None:
        network = model(("motion",))
        streams = clips(network, 2, 4)
        first = OpenVinoHead(lambda: converted(network), tmp_path / "a" / "head")
        again = OpenVinoHead(never, tmp_path / "a" / "head")
        assert_same(again(streams), expected(network, streams))
        for one, other in zip(first(streams), again(streams), strict=True):
            np.testing.assert_array_equal(one, other)
        assert len([*(tmp_path / "a").iterdir()]) == 1

    @pytest.mark.parametrize("damage", ["a bit", "cut", "empty", "no network"])
    def test_are_made_again_if_damaged(self, tmp_path: Path, damage: str) -> None:
        network = model(("motion",))
        streams = clips(network, 2, 4)
        OpenVinoHead(lambda: converted(network), tmp_path / "head")
        (file,) = tmp_path.iterdir()
        content = file.read_bytes()
        middle, other = len(content) // 2, b"no network"
        damaged = {
            "a bit": content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :],
            "cut": content[:-1],
            "empty": b"",
            "no network": hashlib.blake2b(other, digest_size=16).digest() + other,
        }
        file.write_bytes(damaged[damage])
        made = []

        def convert() -> openvino.Network:
            made.append(network)
            return converted(network)

        for _ in range(2):
            assert_same(OpenVinoHead(convert, tmp_path / "head")(streams), expected(network, streams))
        assert len(made) == 1

    def test_of_an_encoder_are_separate_for_each_precision(self, tmp_path: Path) -> None:
        encoder = build_encoder(EncoderConfig("simple", size=16)).eval()
        pictures = np.random.default_rng(0).integers(0, 256, size=(9, 16, 16, 3), dtype=np.uint8)
        precisions: tuple[Precision, ...] = ("float32", "bfloat16")
        made, imported = (
            [
                openvino_encoder(encoder, 16, 3, threads, precision, tmp_path)(pictures)
                for precision in precisions
            ]
            for threads in (1, 2)
        )
        np.testing.assert_array_equal(made, imported)
        assert len([*tmp_path.rglob("encoder-*.blob")]) == 2

    def test_work_without_a_writable_cache(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        network = model(("motion",))
        streams = clips(network, 1, 4)
        head = OpenVinoHead(lambda: converted(network), tmp_path / "file" / "head")
        assert_same(head(streams), expected(network, streams))


@pytest.fixture
def refers_to_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A head as ONNX, whose weights are in the file `secret` of the current folder."""
    import onnx as library
    from onnx.external_data_helper import convert_model_to_external_data

    monkeypatch.chdir(tmp_path)
    proto = library.load_from_string(convert_model(model())["head.onnx"])
    convert_model_to_external_data(proto, location="secret", size_threshold=0)
    library.save(proto, "head.onnx")
    return Path("head.onnx").read_bytes()


def network_of(inputs: Mapping[str, list[str | int]], num_outputs: int) -> bytes:
    """Return a network that averages its first input, with any inputs and number of outputs."""
    from onnx import TensorProto, helper

    def value(name: str, shape: list[str | int]) -> Any:
        kind = TensorProto.BOOL if name.endswith("_mask") else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    axes = {"axes": [1, 2], "keepdims": 0}
    nodes = [
        helper.make_node("ReduceMean", [next(iter(inputs))], [f"y{i}"], **axes) for i in range(num_outputs)
    ]
    outputs = [value(f"y{i}", ["clips", "width"]) for i in range(num_outputs)]
    graph = helper.make_graph(nodes, "head", [value(*item) for item in inputs.items()], outputs)
    opset = helper.make_opsetid("", 17)
    content: bytes = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    return content


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("inputs", "num_outputs"),
    [
        ({"motion": ["b", "v", "t", 4], "motion_mask": ["b", "t"]}, 2),
        ({"motion": ["b", "v", "t", 5]}, 2),
        ({"motion": ["b", "v", "t", 5], "motion_mask": ["b", "t"], "rgb": ["b", "v", "t", 5]}, 2),
        ({"motion": ["b", "v", "t", 5], "motion_mask": ["b", "t"]}, 1),
    ],
    ids=["other width", "without a mask", "one more input", "one output"],
)
def test_a_head_with_other_inputs_or_outputs_is_an_error(
    inputs: dict[str, list[str | int]], num_outputs: int, runtime: Callable[[bytes], Head]
) -> None:
    compute = runtime(network_of(inputs, num_outputs))
    streams = {"motion": np.zeros((1, 2, 4, 5), np.float32), "motion_mask": np.ones((1, 4), bool)}
    with pytest.raises(BackendError, match="fails on this model"):
        compute(streams)


class TestNetworksThatReferToAnotherFile:
    @pytest.mark.skipif(not onnx.is_installed(), reason="needs onnxruntime")
    @pytest.mark.parametrize("length", [b"\x08", b"\x88\x00", b"\x88\x80\x80\x00"])
    def test_are_refused_however_it_is_written(self, refers_to_secret: bytes, length: bytes) -> None:
        with pytest.raises(VidlstmError, match="refers to another file"):
            OnnxHead(refers_to_secret.replace(b"\x0a\x08location", b"\x0a" + length + b"location"))

    @pytest.mark.skipif(not openvino.is_installed(), reason="needs OpenVINO")
    @pytest.mark.parametrize("start", [b"", b"\n\x02<?"])
    def test_are_refused_under_the_name_of_another_format(
        self, refers_to_secret: bytes, start: bytes
    ) -> None:
        with pytest.raises(BackendError, match=r"head\.xml: not an OpenVINO network"):
            read_networks({"head.xml": start + refers_to_secret, "head.bin": b""})


@pytest.mark.skipif(not onnx.is_installed(), reason="needs onnxruntime")
def test_other_files_are_refused_as_networks() -> None:
    with pytest.raises(VidlstmError, match="onnxruntime fails on this model"):
        OnnxHead(b"no network")
