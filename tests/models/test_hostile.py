"""Model files that were tampered with are refused with one sentence, before they cost memory or time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vidlstm.config import ModelConfig
from vidlstm.config_dict import to_dict
from vidlstm.errors import CheckpointError
from vidlstm.models.checkpoint import build_model, load_model, rgb_encoder, serialise

Tensors = dict[str, Tensor]
CONFIG = ModelConfig("video", ("sit", "wave"), ("rgb", "motion"), members=1).changed(
    head={"hidden": 5, "projection": 4}, encoder={"name": "simple", "size": 32}
)
WEIGHT = "classifier.temperature"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build_model(CONFIG, {"rgb": 64 * 8 * 8, "motion": 4}, rgb_encoder(CONFIG))
    model.training = {"num_clips": {"train": 3}, "settings": {"seed": 0}, "learned_from": ["ab"]}
    file = tmp_path_factory.mktemp("good") / "model.safetensors"
    file.write_bytes(serialise(model))
    load_model(file)
    return file


def tampered(good: Path, folder: Path, *, header: dict[str, str] | None = None, **tensors: Any) -> Path:
    with safe_open(good, "pt") as file:
        metadata = {**file.metadata(), **(header or {})}
        found: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for change in tensors.values():
        found = change(found)
    save_file(found, folder / "m.safetensors", metadata)
    return folder / "m.safetensors"


def at(path: str, value: Any) -> str:
    """Return the valid config as JSON with one value replaced; a text after `#` is inserted unchanged."""
    plain = to_dict(CONFIG)
    place = plain
    *parents, name = path.split(".")
    for parent in parents:
        place = place[parent]
    place[name] = value
    text = json.dumps(plain)
    return text.replace(json.dumps(value), value[1:]) if isinstance(value, str) and value[:1] == "#" else text


NUMBERS: tuple[Any, ...] = (
    "#Infinity",
    "#-Infinity",
    "#NaN",
    "#1e30",
    "#1e400",
    -1,
    0,
    10**9,
    10**30,
    0.5,
    "6",
    None,
    [],
    {},
    True,
)
PLACES = (
    "views",
    "members",
    "sampling.num_frames",
    "sampling.stride",
    "head.hidden",
    "head.layers",
    "encoder.size",
)
CONFIGS = [at(place, number) for place in PLACES for number in NUMBERS]
CONFIGS += [
    at("sampling.rate", "#Infinity"),
    at("sampling.rate", "#NaN"),
    at("sampling.rate", 0),
    at("sampling.rate", 1e30),
    at("head.dropout", 1),
    at("head.dropout", "#NaN"),
    at("head.projection", -1),
    at("head.projection", 10**9),
    at("grid.rows", 10**6),
    at("grid.overlap", 1),
    at("grid.overlap", "#NaN"),
    at("head.kind", "transformer"),
    at("kind", "sound"),
    at("streams", []),
    at("streams", ["rgb", "rgb"]),
    at("streams", ["sound"]),
    at("streams", "rgb"),
    at("classes", []),
    at("classes", ["one"]),
    at("classes", ["a", "a"]),
    at("classes", ["a", "\ud800"]),
    at("classes", [1, 2]),
    at("classes", "ab"),
    at("classes", {"a": 1}),
    at("encoder.name", "../../etc/passwd"),
    at("encoder.name", 5),
    at("encoder.channels", 2),
    at("spans", {"windows": [0]}),
    at("spans", {"windows": []}),
    at("spans", {"windows": [float("inf")]}),
    at("spans", {"windows": [1], "switch_cost": float("nan")}),
    at("unknown", 1),
    "",
    "null",
    "[]",
    "6",
    '"text"',
    "[" * 200_000,
    '{"a":' * 100_000,
    "{",
    "\ud800",
    "NaN",
]
HEADERS = [{"config": config} for config in CONFIGS if config != "\ud800"]
HEADERS += [
    {"widths": widths}
    for widths in (
        "{}",
        "[]",
        "6",
        '{"rgb": 4096}',
        '{"rgb": 4096, "motion": 0}',
        '{"rgb": 4096, "motion": -1}',
        "[" * 200_000,
        '{"rgb": 4096, "motion": 1e30}',
        '{"rgb": 4096, "motion": Infinity}',
        '{"rgb": 4096, "motion": 10000000000}',
        '{"rgb": 4096, "motion": "4"}',
        '{"rgb": 4096, "motion": 5}',
        '{"rgb": 4096, "motion": 4.5}',
    )
]
HEADERS += [
    {"training": training}
    for training in (
        "[]",
        "6",
        '"text"',
        '{"num_clips": 5}',
        '{"settings": []}',
        '{"learned_from": 5}',
        '{"learned_from": [["ab"]]}',
        '{"left_out": 5}',
        '{"top1": NaN}',
        '{"data": "\\ud800"}',
        '{"a":' * 100_000,
    )
]
HEADERS += [{"version": version} for version in ("", "x", "1e3", "-1", "999999999999999999999999")]


def test_a_config_that_needs_too_much_memory_is_refused_early() -> None:
    assert len(HEADERS) >= 90


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: f"{next(iter(header.items()))}"[:80])
def test_an_invalid_header_is_refused(good: Path, tmp_path: Path, header: dict[str, str]) -> None:
    with pytest.raises(CheckpointError, match=r"m\.safetensors: "):
        load_model(tampered(good, tmp_path, header=header))


def put(name: str, value: Callable[[Tensor], Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: value(tensors[name]).contiguous()}


@pytest.mark.parametrize(
    "change",
    [
        put(WEIGHT, lambda t: torch.full_like(t, float("nan"))),
        put(WEIGHT, lambda t: torch.full_like(t, float("inf"))),
        put(WEIGHT, lambda t: t.to(torch.int32)),
        put(WEIGHT, lambda t: t.to(torch.float64)),
        put(WEIGHT, lambda t: t.to(torch.float16)),
        put(WEIGHT, lambda t: t.reshape(1, 1, 1)),
        put(WEIGHT, lambda t: torch.zeros(0)),
        lambda tensors: {k: v for k, v in tensors.items() if k != WEIGHT},
        lambda tensors: {**tensors, "more": torch.zeros(3)},
        lambda tensors: {**tensors, "baseline.more": torch.zeros(3)},
        lambda tensors: {**tensors, "pose.detector": torch.zeros(3, dtype=torch.uint8)},
        lambda tensors: {k: v.to(torch.int8) for k, v in tensors.items()},
        lambda tensors: {},
    ],
)
def test_tensors_with_a_wrong_name_shape_or_type_or_invalid_content_are_refused(
    good: Path, tmp_path: Path, change: Callable[[Tensors], Tensors]
) -> None:
    file = tampered(good, tmp_path, change=change)
    with pytest.raises(CheckpointError, match=r"m\.safetensors: "):
        load_model(file, baseline=True)


def test_nothing_is_allocated_for_missing_tensors(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of 1 MB whose header announces an LSTM of width 9000 used to take 7 GB."""
    file = tampered(good, tmp_path, header={"config": at("head.hidden", 9000)})
    made: list[str] = []
    empty = torch.empty

    def recorded(*arguments: Any, **options: Any) -> Tensor:
        tensor = empty(*arguments, **options)
        if tensor.device.type != "meta" and tensor.numel() > 1e6:
            made.append(str(tensor.shape))
        return tensor

    monkeypatch.setattr(torch, "empty", recorded)
    with pytest.raises(CheckpointError, match=r"do not fit its header \(.* is F32 "):
        load_model(file)
    assert made == []


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9, 0.9999])
def test_a_truncated_model_file_is_refused(good: Path, tmp_path: Path, share: float) -> None:
    content = good.read_bytes()
    (tmp_path / "m.safetensors").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"m\.safetensors: "):
        load_model(tmp_path / "m.safetensors")


def test_flipped_bits_are_an_error_or_harmless(good: Path, tmp_path: Path) -> None:
    """Only in the header: a changed weight cannot be recognised."""
    content = bytearray(good.read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    for place in range(0, end, max(1, end // 150)):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        (tmp_path / "m.safetensors").write_bytes(changed)
        try:
            load_model(tmp_path / "m.safetensors")
        except CheckpointError:
            continue
