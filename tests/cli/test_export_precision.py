"""`export --precision`: a smaller model is written only if its labels agree; otherwise only figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.conftest import Outcome, vidlstm
from vidlstm.engine.precision.clips import run_files
from vidlstm.models.backends.convert import convert_model
from vidlstm.models.checkpoint import Model, load_model

pytest.importorskip("onnx", reason="needs onnx: pip install vidlstm[onnx]")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install vidlstm[onnx]")

pytestmark = pytest.mark.slow

COLOURS = {"blue": (220, 40, 30), "red": (30, 40, 220)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the `rgb` stream on clips that differ in colour. Read-only."""
    root = tmp_path_factory.mktemp("colours")
    for name, colour in COLOURS.items():
        for number in range(6):
            write_coloured(root / "data" / name / f"person{number:02}_{name}.avi", colour, number)
    quick = (
        "--size",
        "64",
        "--views",
        "1",
        "--no-mirror",
        "--members",
        "2",
        "--epochs",
        "15",
        "--workers",
        "1",
    )
    outcome = vidlstm("train", root / "data", "--streams", "rgb", "--out", root / "run", *quick)
    assert outcome.status == 0, outcome.err
    return root / "run"


def write_coloured(path: Path, colour: tuple[int, int, int], number: int) -> None:
    """Write a lossless clip of a coloured square that moves over a pattern."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([number, *colour])
    ground = cv2.resize(rng.integers(0, 120, (6, 8, 3), dtype=np.uint8), (64, 48))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 12, (64, 48))
    for step in range(12):
        frame = ground.copy()
        frame[8:40, 2 * step : 2 * step + 32] = colour
        writer.write(frame)
    writer.release()


def labels(model: Path, run: Path) -> list[object]:
    """Return the labels of the run's held-out clips."""
    clips = run_files(load_model(run / "model.safetensors"), run, "val").paths
    outcome = vidlstm("predict", "-c", model, *clips, "-f", "jsonl", "--workers", "1")
    assert outcome.status == 0, outcome.err
    return [(row["path"], row["label"]) for row in map(json.loads, outcome.lines)]


def export(run: Path, precision: str, folder: Path) -> Outcome:
    return vidlstm("export", run, "--precision", precision, "-o", folder)


@pytest.mark.parametrize(("precision", "share"), [("float16", 0.55), ("int8", 0.35)])
def test_is_smaller_and_gives_the_same_labels(
    precision: str, share: float, run: Path, tmp_path: Path
) -> None:
    outcome = export(run, precision, tmp_path / "model")
    assert outcome.status == 0, outcome.err
    assert re.search(r"^Labels agree on (\d+) of \1 held-out clips\.$", outcome.err, re.MULTILINE)
    assert outcome.lines == [str(tmp_path / "model")]
    whole, size = (
        sum(len(content) for content in networks)
        for networks in (
            convert_model(load_model(run / "model.safetensors")).values(),
            (file.read_bytes() for file in (tmp_path / "model").glob("*.onnx")),
        )
    )
    assert size < share * whole
    assert labels(tmp_path / "model", run) == labels(run, run)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_if_a_label_differs_only_figures_are_printed(
    precision: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opposite(model: Model) -> dict[str, bytes]:
        model = load_model(run / "model.safetensors")
        model.classifier.temperature *= -1
        return convert_model(model)

    monkeypatch.setattr("vidlstm.engine.exporting.export.convert_model", opposite)
    outcome = export(run, precision, tmp_path / "model")
    assert (outcome.status, outcome.lines) == (1, [])
    found = re.search(r"^Labels agree on (\d+) of (\d+) held-out clips\.$", outcome.err, re.MULTILINE)
    assert found is not None
    assert int(found[1]) < int(found[2])
    assert re.search(r"Largest difference in probability: \S+ on average, \S+ overall\.", outcome.err)
    assert "so nothing was written" in outcome.err
    assert list(tmp_path.iterdir()) == []
