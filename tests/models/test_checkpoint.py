"""One safe, self-describing file: its contents, and refused files with a one-sentence message."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vidlstm.config import ModelConfig, StreamName
from vidlstm.config_dict import to_dict
from vidlstm.errors import CheckpointError
from vidlstm.models.checkpoint import (
    VERSION,
    Model,
    build_model,
    load_model,
    read_header,
    rgb_encoder,
    serialise,
)
from vidlstm.models.encoders import weights_digest
from vidlstm.models.header import read_pose_weights
from vidlstm.models.pose_weights import PoseWeights

WIDTHS = {"rgb": 64 * 8 * 8, "motion": 4, "colour": 3, "pose": 5}


def make(*streams: StreamName) -> Model:
    torch.manual_seed(0)
    config = ModelConfig("video", ("Überholen", "b, c", "d"), streams, members=1).changed(
        head={"hidden": 5, "projection": 4},
        encoder={"name": "simple", "size": 32},
        sampling={"method": "fps", "rate": 2.5},
    )
    model = build_model(config, WIDTHS, rgb_encoder(config))
    model.classifier.fusion.copy_(torch.linspace(0.1, 0.9, len(model.classifier.fusion)))
    model.classifier.temperature.fill_(1.7)
    model.training = {"data": "clips/ä", "seed": 3, "top1": None, "learned_from": ["ab", "cd"]}
    return model


def written(path: Path, model: Model) -> Path:
    path.write_bytes(serialise(model))
    return path


def rewritten(path: Path, **changes: str | None) -> Path:
    """Change the header of a valid checkpoint; None removes an entry."""
    with safe_open(path, "pt") as file:
        metadata = {**file.metadata(), **changes}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {k: v for k, v in metadata.items() if v is not None})
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return written(tmp_path / "model.safetensors", make("rgb", "motion", "colour"))


def refusal(path: Path) -> str:
    """Return the message for a refused file, the same when its header and when the model is read."""
    said = []
    for read in (read_header, load_model):
        with pytest.raises(CheckpointError) as caught:
            read(path)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert said[0].startswith(f"{path}: ")
    assert "\n" not in said[0]
    return said[0]


@pytest.mark.parametrize("member", range(3))
def test_a_single_member_scores_as_in_the_ensemble(member: int) -> None:
    config = replace(make("motion", "colour", "pose").config, members=3)
    model = build_model(config, WIDTHS, None)
    for parameter in model.classifier.parameters():
        torch.nn.init.normal_(parameter)  # members differ
    batch = (
        {name: torch.randn(2, 6, WIDTHS[name]) for name in ("motion", "pose")},
        {name: torch.ones(2, 6, dtype=torch.bool) for name in ("motion", "pose")},
        {"colour": torch.randn(2, 3)},
    )
    shared = [{name: x[None] for name, x in part.items()} for part in batch]
    alone = model.single(member).classifier.eval()
    wanted = model.classifier.eval().logits(*shared)[:, [member]]
    assert torch.allclose(alone.logits(*shared), wanted, atol=1e-5)
    assert not torch.allclose(wanted, model.classifier.logits(*shared)[:, [(member + 1) % 3]], atol=1e-2)


class TestRoundTrip:
    @pytest.mark.parametrize(
        "streams", [("rgb", "motion", "colour"), ("rgb",), ("motion",), ("motion", "colour")], ids="+".join
    )
    def test_everything_needed_for_prediction_is_stored(
        self, streams: tuple[StreamName, ...], tmp_path: Path
    ) -> None:
        model = make(*streams)
        loaded = load_model(written(tmp_path / "m.safetensors", model))
        assert loaded.config == model.config  # classes in their order, sampling, sizes, streams
        assert loaded.widths == model.widths
        assert loaded.training == model.training
        assert (loaded.encoder is None) == ("rgb" not in streams)
        ours, theirs = model.modules().state_dict(), loaded.modules().state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert float(loaded.classifier.temperature) == pytest.approx(1.7)

    def test_scores_are_the_same_bit_for_bit(self, good: Path) -> None:
        model = make("rgb", "motion", "colour")
        model.modules().eval()
        pixels = 255 * torch.rand(2, 3, 32, 32)
        assert model.encoder is not None
        steps = {"rgb": model.encoder(pixels).unsqueeze(1), "motion": torch.randn(2, 9, 4)}
        masks = {s: torch.ones(x.shape[:2], dtype=torch.bool) for s, x in steps.items()}
        summaries = {"colour": torch.randn(2, 3)}
        scores = [m.classifier.fuse(m.classifier(steps, masks, summaries)) for m in (model, load_model(good))]
        assert torch.equal(*scores)

    def test_it_is_loaded_in_evaluation_mode(self, good: Path) -> None:
        model = load_model(good)
        assert not any(module.training for module in model.classifier.modules())

    def test_the_rgb_encoder_is_stored_whole_and_loaded_in_evaluation_mode(self, tmp_path: Path) -> None:
        config = make("rgb").config.changed(encoder={"name": "mobilenet_v3_small", "weights": "none"})
        model = build_model(config, {"rgb": 1024}, rgb_encoder(config))
        loaded = load_model(written(tmp_path / "m.safetensors", model))
        assert model.encoder is not None
        assert loaded.encoder is not None
        assert weights_digest(loaded.encoder) == weights_digest(model.encoder)
        assert not any(module.training for module in loaded.encoder.modules())

    def test_the_header_has_the_same_facts(self, good: Path) -> None:
        header, model = read_header(good), load_model(good)
        assert (header.config, header.widths, header.training) == (
            model.config, model.widths, model.training,
        )  # fmt: skip
        assert header.num_parameters == sum(t.numel() for t in model.modules().state_dict().values())

    def test_encoder_weights_are_not_downloaded_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = make("rgb")
        model.config = model.config.changed(encoder={"weights": "/gone/since/training.pt"})
        loaded = load_model(written(tmp_path / "m.safetensors", model))
        assert loaded.config.encoder.weights == "/gone/since/training.pt"


class TestRefused:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        assert "no such checkpoint; train one with `vidlstm train DATA`" in refusal(tmp_path / "gone")
        assert "train one with" in refusal(tmp_path / "onnx"), "its folder is no run"

    @pytest.mark.parametrize("name", ["onnx", "openvino", "onnx-int8"])
    def test_a_run_that_is_not_exported_yet(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "model.safetensors").touch()
        assert f"no such checkpoint; export it with `vidlstm export {tmp_path}`" in refusal(tmp_path / name)

    def test_a_folder(self, tmp_path: Path) -> None:
        refusal(tmp_path)

    @pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.9, 0.9999])
    def test_a_truncated_file(self, good: Path, share: float) -> None:
        content = good.read_bytes()
        good.write_bytes(content[: int(len(content) * share)])
        assert "not a complete vidlstm checkpoint" in refusal(good)

    @pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(100), b"{}", b"\xff" * 64])
    def test_another_kind_of_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x").write_bytes(content)
        assert "not a complete vidlstm checkpoint" in refusal(tmp_path / "x")

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "other", "version": "1"}])
    def test_a_foreign_safetensors_file(self, tmp_path: Path, metadata: dict[str, str] | None) -> None:
        save_file({"weight": torch.zeros(3)}, tmp_path / "x.safetensors", metadata)
        assert "a safetensors file, but not a vidlstm checkpoint" in refusal(tmp_path / "x.safetensors")

    def test_a_newer_version_with_the_way_out(self, good: Path) -> None:
        said = refusal(rewritten(good, version=str(VERSION + 1), config="whatever it may be by then"))
        assert f"newer vidlstm (format {VERSION + 1}, this one reads {VERSION})" in said
        assert "pip install --upgrade vidlstm" in said

    def test_an_older_version_with_the_way_out(self, good: Path) -> None:
        said = refusal(rewritten(good, version=str(VERSION - 1), config="whatever it was then"))
        assert (
            f"older vidlstm (format {VERSION - 1}, this one reads {VERSION}); `vidlstm train` it again"
            in said
        )

    @pytest.mark.parametrize(
        "changes",
        [
            {"version": None}, {"version": "one"}, {"config": None}, {"widths": None}, {"training": None},
            {"config": "{"}, {"config": "[]"}, {"config": "{}"}, {"config": "null"},
            {"widths": "[1]"}, {"widths": '{"rgb": "wide"}'}, {"widths": '{"rgb": null}'},
        ],
        ids=str,
    )  # fmt: skip
    def test_an_invalid_header(self, good: Path, changes: dict[str, str | None]) -> None:
        assert "not a complete vidlstm checkpoint" in refusal(rewritten(good, **changes))

    @pytest.mark.parametrize(
        ("setting", "value"),
        [("classes", ["a"]), ("streams", ["smell"]), ("views", "two"), ("mind", 1), ("kind", "song")],
    )
    def test_a_config_that_no_vidlstm_wrote(self, good: Path, setting: str, value: object) -> None:
        plain: dict[str, Any] = {**to_dict(make("rgb").config), setting: value}
        assert "not a complete vidlstm checkpoint" in refusal(rewritten(good, config=json.dumps(plain)))

    @pytest.mark.parametrize("width", [5, 400])
    def test_tensors_that_do_not_fit_the_header(self, good: Path, width: int) -> None:
        rewritten(good, widths=json.dumps({**WIDTHS, "motion": width}))
        with pytest.raises(CheckpointError, match=r"its tensors do not fit its header"):
            load_model(good)

    def test_a_config_of_another_encoder(self, good: Path) -> None:
        plain = to_dict(make("rgb").config)
        for name in ("resnet18", "none_of_that_name"):
            plain["encoder"]["name"] = name
            rewritten(good, config=json.dumps(plain))
            with pytest.raises(CheckpointError, match="its tensors do not fit") as caught:
                load_model(good)
            assert "\n" not in str(caught.value)

    def test_a_pickle_whose_code_does_not_run(self, tmp_path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.mkdir, (str(tmp_path / "exploded"),)

        (tmp_path / "a.safetensors").write_bytes(pickle.dumps(Bomb()))
        torch.save({"weight": Bomb()}, tmp_path / "b.safetensors")
        for name in ("a.safetensors", "b.safetensors"):
            assert "not a complete vidlstm checkpoint" in refusal(tmp_path / name)
        assert not (tmp_path / "exploded").exists()

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, good: Path) -> None:
        good.chmod(0)
        assert "no permission" in refusal(good)


def test_loading_reads_no_pickle_at_all(good: Path) -> None:
    script = f"""
import pickle, torch
def never(*_, **__): raise SystemExit("a pickle was read")
torch.load = pickle.load = pickle.loads = pickle.Unpickler = never
from pathlib import Path
from vidlstm.models.checkpoint import load_model
load_model(Path({str(good)!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class TestPose:
    def test_the_networks_that_find_people_are_stored_with_the_model(self, tmp_path: Path) -> None:
        model = make("motion", "pose")
        model.pose = PoseWeights(b"TFL3 a", b"TFL3 bc")
        file = written(tmp_path / "m", model)
        assert load_model(file).pose == model.pose == read_pose_weights(file)

    def test_are_not_parameters(self, tmp_path: Path) -> None:
        model = make("motion", "pose")
        model.pose = PoseWeights(b"TFL3 a", b"TFL3 bc")
        own = sum(value.numel() for value in model.modules().state_dict().values())
        assert read_header(written(tmp_path / "m", model)).num_parameters == own

    def test_a_checkpoint_that_lacks_them_is_refused(self, tmp_path: Path) -> None:
        file = written(tmp_path / "m", make("motion", "pose"))
        for load in (load_model, read_pose_weights):
            with pytest.raises(CheckpointError):
                load(file)

    @pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32, torch.int8])
    def test_a_checkpoint_with_numbers_instead_of_bytes_is_refused(
        self, tmp_path: Path, kind: torch.dtype
    ) -> None:
        model = make("motion", "pose")
        model.pose = PoseWeights(b"TFL3 a", b"TFL3 bc")
        file = written(tmp_path / "m", model)
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        save_file({**tensors, "pose.detector": torch.zeros(3, dtype=kind)}, file, metadata)
        with pytest.raises(CheckpointError, match=r"pose\.detector is \w+, not U8"):
            load_model(file)
