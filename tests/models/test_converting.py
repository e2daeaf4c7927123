"""A whole model in OpenVINO's form gives the scores that torch gives, whatever its head and its clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models.test_classifier import CLASSES, WIDTHS, classifier
from vidlstm.config import SUMMARY_STREAMS, ModelConfig, StreamName
from vidlstm.models.backends.convert import convert_model
from vidlstm.models.backends.openvino import Networks, OpenVinoClassifier, is_installed, kept_or_converted
from vidlstm.models.checkpoint import Model

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs OpenVINO: pip install vidlstm[cpu]")

LOOKS = 2


def model(streams: tuple[StreamName, ...] = ("rgb", "motion"), **head: object) -> Model:
    base = ModelConfig("picture" if "colour" in streams else "video", CLASSES, streams, members=2)
    config = base.changed(head={"hidden": 5, "projection": 4, **head})
    network = classifier(config)
    vectors = [torch.randn(30, sum(branch.width for branch in network.branches)) for _ in range(4)]
    network.novelty.fit(vectors[:2], [torch.arange(30) % len(CLASSES)] * 2, vectors[2:])
    return Model(config, None, network, {name: WIDTHS[name] for name in streams}, {})


def expected(network: Model, streams: Mapping[str, NDArray[np.float32]]) -> tuple[NDArray[np.float32], float]:
    """Score one clip by torch: the mean over its looks, fused."""
    given = {name: torch.from_numpy(values) for name, values in streams.items()}
    sequences = {name: values for name, values in given.items() if values.ndim == 3}
    masks = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in sequences.items()}
    with torch.inference_mode():
        branches, vectors = network.classifier.read(sequences, masks, given)
        fused = network.classifier.fuse(branches.mean(1, keepdim=True).log_softmax(-1))
        novelty = network.classifier.novelty([own.mean(1, keepdim=True) for own in vectors])
    return fused.softmax(-1)[0].numpy(), float(novelty)


def looked_at(network: Model, length: int) -> dict[str, NDArray[np.float32]]:
    """Make the streams of one clip, as all looks at it see them."""
    rng = np.random.default_rng(length)
    shapes = {
        name: (LOOKS, network.widths[name])
        if name in SUMMARY_STREAMS
        else (LOOKS, length, network.widths[name])
        for name in network.config.streams
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "network",
    [
        model(),
        model(bidirectional=False),
        model(summary="mean", layers=2),
        model(summary="attention", projection=0),
        model(kind="gru", summary="last"),
        model(kind="mean"),
        model(("motion",), bidirectional=False, summary="attention"),
        model(("rgb", "colour", "texture")),
    ],
    ids=lambda network: f"{'+'.join(network.config.streams)} {network.config.head}",
)
def test_gives_the_scores_of_torch_for_clips_of_any_length(network: Model) -> None:
    compute = OpenVinoClassifier(convert_model(network, LOOKS)["classifier"])
    for length in (1, 7, 3):
        streams = looked_at(network, length)
        scores, novelty = compute(streams)
        assert scores.shape == (len(CLASSES),)
        np.testing.assert_allclose(scores, expected(network, streams)[0], atol=1e-5)
        assert novelty == pytest.approx(expected(network, streams)[1], abs=1e-4)


def test_is_kept_whole_and_read_again(tmp_path: Path) -> None:
    network = model(("motion",))
    streams = looked_at(network, 4)
    kept_or_converted(tmp_path / "a", ("classifier",), lambda: convert_model(network, LOOKS))
    again = kept_or_converted(tmp_path / "a", ("classifier",), dict)
    scores, _ = OpenVinoClassifier(again["classifier"])(streams)
    np.testing.assert_allclose(scores, expected(network, streams)[0], atol=1e-5)


@pytest.mark.parametrize("damage", ["weights", "text", "checksum", "no checksum"])
def test_a_damaged_network_is_made_again(tmp_path: Path, damage: str) -> None:
    network = model(("motion",))
    streams = looked_at(network, 4)
    kept_or_converted(tmp_path / "a", ("classifier",), lambda: convert_model(network, LOOKS))
    name = {"weights": "classifier.bin", "text": "classifier.xml"}.get(damage, "checksum")
    content = bytearray((tmp_path / "a" / name).read_bytes())
    content[len(content) // 2] ^= 64
    (tmp_path / "a" / name).write_bytes(content)
    if damage == "no checksum":
        (tmp_path / "a" / name).unlink()
    made = []

    def convert() -> Networks:
        made.append(network)
        return convert_model(network, LOOKS)

    for _ in range(2):
        again = kept_or_converted(tmp_path / "a", ("classifier",), convert)
        scores, _ = OpenVinoClassifier(again["classifier"])(streams)
        np.testing.assert_allclose(scores, expected(network, streams)[0], atol=1e-5)
    assert len(made) == 1
