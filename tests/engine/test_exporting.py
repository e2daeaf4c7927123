"""An exported folder gives the predictions of the model; if they differ, nothing is written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import vidlstm
from tests.cli.shell import TrainedRun, shell
from vidlstm.config import ExportFormat
from vidlstm.engine.exporting.clips import random_clips
from vidlstm.engine.exporting.export import Export, export
from vidlstm.engine.precision.clips import run_files
from vidlstm.errors import BackendError, CheckpointError, UsageError
from vidlstm.models.backends.convert import convert_model
from vidlstm.models.checkpoint import load_model
from vidlstm.records import Prediction

pytest.importorskip("onnx", reason="needs onnx: pip install vidlstm[onnx]")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install vidlstm[onnx]")


@pytest.fixture(scope="module")
def exported(trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The motion model of all tests, exported for onnxruntime. Read-only."""
    return export(trained_run.model, "onnx", tmp_path_factory.mktemp("exported") / "model")


def folder_of(exported: Export) -> Path:
    assert exported.folder is not None
    return exported.folder


def test_is_compared_on_the_clips_of_the_run(exported: Export) -> None:
    assert exported.real_clips == 3
    assert [(row.clips, row.steps) for row in exported.parity] == [
        (1, 1), (1, 7), (1, 16), (3, 1), (3, 7), (3, 16),
    ]  # fmt: skip
    assert all(row.passed for row in exported.parity)
    assert max(row.novelty for row in exported.parity) < 1e-3


def test_contains_the_listed_files(exported: Export) -> None:
    folder = folder_of(exported)
    names = {
        "README.md", "head.onnx", "model.json", "motion.py", "network.py", "predict.py", "resize.py",
        "sampling.py",
    }  # fmt: skip
    assert {file.name for file in folder.iterdir()} == names == set(exported.sizes)
    facts = json.loads((folder / "model.json").read_text())
    assert facts["config"]["classes"] == ["rise", "sink"]
    assert set(facts["sha256"]) == names - {"model.json"}
    readme = (folder / "README.md").read_text()
    assert len(readme.splitlines()) <= 16
    for command in ("vidlstm predict -c THIS_FOLDER clip.mp4", "python predict.py clip.mp4"):
        assert f"    {command}\n" in readme


def test_predicts_the_same_without_torch(exported: Export, trained_run: TrainedRun, tmp_path: Path) -> None:
    clips = sorted(trained_run.data.rglob("*.avi"))
    script = f"""
import json, sys, vidlstm
if __name__ == "__main__":
    with vidlstm.load({str(exported.folder)!r}, workers=1) as model:
        rows = [record.to_json() for record in model.predict({list(map(str, clips))!r})]
    print(json.dumps([rows, "torch" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    rows, imported_torch = json.loads(done.stdout)
    assert not imported_torch
    with vidlstm.load(trained_run.run, workers=1, device="cpu", backend="torch") as predictor:
        wanted = [r for r in predictor.predict(clips) if isinstance(r, Prediction)]
    assert [row["label"] for row in rows] == [r.label for r in wanted]
    assert [row["score"] for row in rows] == pytest.approx([r.score for r in wanted], abs=1e-4)


PROGRAM_ALONE = """
import runpy, sys
sys.modules.update(vidlstm=None, torch=None)  # importing them fails
sys.path.insert(0, sys.argv[1])
sys.argv[:2] = [sys.argv[1] + "/predict.py"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_program(folder: Path, *clips: str | Path) -> str:
    """Run the `predict.py` of an exported folder without vidlstm and torch; return its rows."""
    command = [sys.executable, "-c", PROGRAM_ALONE, folder, *clips]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_its_program_prints_the_rows_of_the_command(
    exported: Export, trained_run: TrainedRun, tmp_path: Path
) -> None:
    clips = sorted(map(str, trained_run.data.rglob("*.avi")))
    wanted = shell("predict", "-c", trained_run.run, *clips, cwd=tmp_path)
    assert wanted.status == 0, wanted.err
    assert run_program(folder_of(exported), *clips) == wanted.out


def test_its_program_fails_if_a_clip_fails(exported: Export, trained_run: TrainedRun, tmp_path: Path) -> None:
    (tmp_path / "bad.avi").touch()
    clips = ["bad.avi", str(next(trained_run.data.rglob("*.avi")))]
    command = [sys.executable, "-c", PROGRAM_ALONE, str(folder_of(exported).absolute()), *clips]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    bad, good = done.stdout.splitlines()
    assert (done.returncode, bad, good.startswith(clips[1])) == (1, "bad.avi\t\t\tno_frames", True)


def test_its_help_describes_the_output(exported: Export) -> None:
    usage, prints = run_program(folder_of(exported), "--help").splitlines()
    assert usage.startswith("usage: predict.py CLIP ...")
    assert prints.startswith("Prints path, label (empty: unknown) and score")


@pytest.mark.skipif(sys.platform == "win32", reason="telemetry of Windows is not in files")
def test_onnxruntime_sends_no_usage_data(exported: Export, trained_run: TrainedRun, tmp_path: Path) -> None:
    """If it did, it would first create an identifier in the home folder."""
    clip = str(next(trained_run.data.rglob("*.avi")))
    # It sends nothing from CI systems and tests.
    kept = ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    outside = {name: value for name, value in os.environ.items() if name not in kept}
    folder = str(folder_of(exported))
    for name, command in {
        "program": [sys.executable, f"{folder}/predict.py", clip],
        "command": [sys.executable, "-m", "vidlstm", "predict", "-c", folder, clip],
    }.items():
        home = tmp_path / name
        home.mkdir()
        environment = {**outside, "HOME": str(home), "VIDLSTM_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert [*home.rglob("deviceid")] == []


@pytest.mark.slow
def test_three_packages_are_enough_for_its_program(
    exported: Export, trained_run: TrainedRun, tmp_path: Path
) -> None:
    """In a virtual environment without vidlstm and torch: 333 MB instead of 6 GB."""
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=os.name != "nt")
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = ("numpy", "opencv-python-headless", "onnxruntime")
    quickly = ("--disable-pip-version-check", "--retries=0", "--timeout=15", "--no-compile")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *quickly, *packages]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    if "from versions: none" in installed.stderr or "No module named pip" in installed.stderr:
        pytest.skip("needs pip and a package index")
    assert installed.returncode == 0, installed.stderr
    clips = sorted(map(str, trained_run.data.rglob("*.avi")))
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), str(folder_of(exported) / "predict.py"), *clips]
    done = subprocess.run(command, capture_output=True, text=True, env=alone, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == shell("predict", "-c", trained_run.run, *clips, cwd=tmp_path).out
    size = sum(f.stat().st_size for f in environment.rglob("*") if f.is_file() and not f.is_symlink())
    assert size < 600e6


def test_its_program_is_short(exported: Export) -> None:
    lines = (folder_of(exported) / "predict.py").read_text().splitlines()
    assert len(list(filter(None, lines))) <= 75


def test_info_describes_it(exported: Export, trained_run: TrainedRun) -> None:
    paths = (folder_of(exported), trained_run.run)
    ours, theirs = (json.loads(shell("info", path, "--json", cwd=path).out) for path in paths)
    assert ours["model"] == theirs["model"]
    assert ours["num_parameters"] == theirs["num_parameters"]


def test_a_model_with_different_scores_is_not_written(
    trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: object) -> dict[str, bytes]:
        model = load_model(trained_run.model)
        model.classifier.temperature *= 1.01
        return convert_model(model)

    monkeypatch.setattr("vidlstm.engine.exporting.export.convert_model", wrong)
    result = export(trained_run.model, "onnx", tmp_path / "model")
    assert result.folder is None
    assert max(row.difference for row in result.parity) > 1e-4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_no_files(
    error: BaseException, trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("vidlstm.engine.exporting.export.compare", fail)
    with pytest.raises(type(error)):
        export(trained_run.model, "onnx", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_replaces_no_folder(trained_run: TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already exists"):
        export(trained_run.model, "onnx", tmp_path)


def test_an_exported_model_is_not_exported_again(exported: Export, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="an exported model only predicts"):
        export(folder_of(exported) / "model.json", "onnx", tmp_path / "model")


@pytest.mark.parametrize("networks", ["onnx", "openvino"])
def test_without_the_packages_it_says_how_to_get_them(
    networks: ExportFormat, trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    extra = {"onnx": "onnx", "openvino": "cpu"}[networks]
    with pytest.raises(UsageError, match=rf"pip install 'vidlstm\[{extra}\]'"):
        export(trained_run.model, networks, tmp_path / "model")


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def change(folder: Path, name: str, fact: str) -> None:
    """Replace a fact in the text of `model.json`."""
    file = folder / "model.json"
    text, number = re.subn(rf'"{name}": ("[^"]*"|[\w.-]+)', fact, file.read_text(), count=1)
    assert number == 1
    file.write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: damage(folder / "head.onnx"), "head.onnx: not the file that was exported"),
        (lambda folder: (folder / "head.onnx").unlink(), "head.onnx: is missing"),
        (lambda folder: (folder / "model.json").write_text("{"), "not a complete"),
        (lambda folder: (folder / "model.json").write_text("{}"), "not the model.json of an exported model"),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff\x00\x80"), "not a complete"),
        (lambda folder: (folder / "model.json").write_text("[" * 100_000), "not a complete"),
        (lambda folder: change(folder, "views", '"views": 1000000000000000000000'), "not a complete"),
        (lambda folder: change(folder, "num_parameters", '"num_parameters": NaN'), "not a complete"),
        (lambda folder: change(folder, "version", '"version": 1e999'), "not a complete"),
        (lambda folder: change(folder, "networks", '"networks": "../../onnx"'), "not the model.json"),
    ],
    ids=["damaged", "missing", "not JSON", "other", "bytes", "nested", "huge", "NaN", "infinite", "path"],
)
def test_a_damaged_folder_is_refused(
    spoil: Callable[[Path], object], message: str, exported: Export, tmp_path: Path
) -> None:
    for file in folder_of(exported).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        vidlstm.load(tmp_path, workers=1)


def test_a_head_of_other_classes_is_an_error(
    exported: Export, trained_run: TrainedRun, tmp_path: Path
) -> None:
    for file in folder_of(exported).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    facts = json.loads((tmp_path / "model.json").read_text())
    facts["config"]["classes"].append("zzz")
    (tmp_path / "model.json").write_text(json.dumps(facts))
    clips = sorted(trained_run.data.rglob("*.avi"))[:1]
    with vidlstm.load(tmp_path, workers=1) as model, pytest.raises(BackendError, match="does not fit the cl"):
        list(model.predict(clips))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "device=cuda.*exported for the CPU"),
        ({"backend": "torch"}, "backend=torch.*exported for onnx"),
        ({"precision": "bfloat16"}, "precision=bfloat16.*float32"),
    ],
)
def test_unsupported_models_are_refused(options: dict[str, str], message: str, exported: Export) -> None:
    with pytest.raises(UsageError, match=message):
        vidlstm.load(folder_of(exported), workers=1, **options)  # type: ignore[arg-type]


def test_float16_halves_the_weights_and_keeps_the_labels(
    exported: Export, trained_run: TrainedRun, tmp_path: Path
) -> None:
    half = export(trained_run.model, "onnx", tmp_path / "half", precision="float16")
    held_out = run_files(load_model(trained_run.model), trained_run.run, "val").paths
    agreement = half.agreement
    assert agreement is not None
    assert (agreement.clips, agreement.unread) == (len(held_out), 0)
    assert agreement.same_labels == len(held_out) > 0
    assert 0 < agreement.mean <= agreement.largest < 0.05
    assert half.sizes["head.onnx"] < 0.6 * exported.sizes["head.onnx"]
    assert json.loads((folder_of(half) / "model.json").read_text())["precision"] == "float16"
    with vidlstm.load(folder_of(half), workers=1) as predictor, vidlstm.load(trained_run.run) as original:
        found, wanted = (list(p.predict(held_out)) for p in (predictor, original))
    assert [r.label for r in found if isinstance(r, Prediction)] == [
        r.label for r in wanted if isinstance(r, Prediction)
    ]


def test_nothing_is_written_if_labels_do_not_agree(
    trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opposite(model: object) -> dict[str, bytes]:
        model = load_model(trained_run.model)
        model.classifier.temperature *= -1
        return convert_model(model)

    monkeypatch.setattr("vidlstm.engine.exporting.export.convert_model", opposite)
    result = export(trained_run.model, "onnx", tmp_path / "half", precision="float16")
    assert result.folder is None
    assert result.agreement is not None
    assert result.agreement.same_labels < result.agreement.clips
    assert list(tmp_path.iterdir()) == []


def test_a_lower_precision_needs_the_held_out_clips(trained_run: TrainedRun, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(trained_run.model.read_bytes())  # without the run's list of clips
    with pytest.raises(UsageError, match=r"precision=float16.*held-out clips.*precision=float32"):
        export(model, "onnx", tmp_path / "half", precision="float16")
    assert list(tmp_path.iterdir()) == [model]


def test_it_says_if_no_held_out_clip_can_be_read(
    trained_run: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidlstm.engine.precision.agreement.read_clips", lambda *_: iter([(Path("a"), None)]))
    with pytest.raises(UsageError, match=r"precision=float16.*held-out clips.* can be read; use .*float32"):
        export(trained_run.model, "onnx", tmp_path / "half", precision="float16")
    assert list(tmp_path.iterdir()) == []


def test_int8_also_needs_training_clips(trained_run: TrainedRun, tmp_path: Path) -> None:
    for name in ("model.safetensors", "split.csv"):
        (tmp_path / name).write_bytes((trained_run.run / name).read_bytes())
    held_out = "\n".join(
        line for line in (tmp_path / "split.csv").read_text().splitlines() if ",train," not in line
    )
    (tmp_path / "split.csv").write_text(held_out + "\n")
    with pytest.raises(UsageError, match="needs the training clips"):
        export(tmp_path / "model.safetensors", "onnx", tmp_path / "small", precision="int8")


def test_int8_needs_an_encoder(trained_run: TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"precision=int8.*rgb stream.*precision=float16"):
        export(trained_run.model, "onnx", tmp_path / "small", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_the_command_reports_the_agreement_of_labels(trained_run: TrainedRun, tmp_path: Path) -> None:
    model = tmp_path / "half of it"
    ended = shell("export", trained_run.run, "--precision", "float16", "-o", model, cwd=tmp_path)
    assert (ended.status, ended.out) == (0, f"{model}{os.linesep}")
    said = ended.err.splitlines()
    assert re.fullmatch(r"Labels agree on (\d+) of \1 held-out clips\.", said[0])
    assert re.fullmatch(r"Largest difference in probability: \S+ on average, \S+ overall\.", said[1])


def test_random_clips_replace_missing_clips(trained_run: TrainedRun) -> None:
    model = load_model(trained_run.model)
    clips = random_clips(model)
    assert [clip.sequences["motion"].shape for clip in clips] == [(2, 2, 16, 128)] * 3
    assert all(np.isfinite(clip.sequences["motion"]).all() for clip in clips)


def test_the_command(trained_run: TrainedRun, tmp_path: Path) -> None:
    ended = shell("export", trained_run.run, "-o", tmp_path / "model", cwd=tmp_path)
    assert (ended.status, ended.out) == (0, f"{tmp_path / 'model'}{os.linesep}")
    said = ended.err.splitlines()
    assert said[0] == "Compared on 3 clips of the run. Largest difference in probability:"
    assert len(said) == 9
    assert said[-2].endswith("in 8 files.")
    assert said[-1].startswith("Next: vidlstm predict")


def test_the_command_for_openvino(trained_run: TrainedRun, tmp_path: Path) -> None:
    if find_spec("openvino") is None:  # importing it here would send telemetry
        pytest.skip("needs OpenVINO: pip install vidlstm[cpu]")
    model, clip = tmp_path / "model", next(trained_run.data.rglob("*.avi"))
    ended = shell("export", trained_run.run, "-q", "--format", "openvino", "-o", model, cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    rows = [shell("predict", "-c", path, clip, cwd=tmp_path).out for path in (model, trained_run.run)]
    assert rows[0] == rows[1] == run_program(model, clip) != ""
