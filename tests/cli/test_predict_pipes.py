"""`predict` as a process: in pipelines, killed, interrupted, with decoders that crash and hang."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, ROOT, write_clip

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipelines of a Unix shell")

PIPELINES = {
    "vidlstm predict clips --format jsonl | jq -r 'select(.score > 0.5) | .path'": {"a.mp4", "b c.mp4"},
    "vidlstm predict clips | cut -f2 | sort | uniq -c": set(),
    "vidlstm predict clips | cut -f1 | xargs -d '\\n' ls -l": {"a.mp4", "b c.mp4"},
    "vidlstm predict clips | head -1": {"a.mp4"},
    "find clips -name '*.mp4' -print0 | vidlstm predict -0 -": {"a.mp4", "b c.mp4"},
}
"""Lines of the manual, and what their output must contain."""

DECODER = """
import ctypes, pathlib, time

real = pathlib.Path.open

def odd(path, *arguments, **options):
    if "crash" in path.name:
        ctypes.string_at(0)
    if "hang" in path.name:
        time.sleep(600)
    if "slow" in path.name:
        time.sleep(0.3)
    return real(path, *arguments, **options)

pathlib.Path.open = odd
"""
"""A `sitecustomize` module that makes decoder processes crash or hang on some files."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A folder with two clips, a `vidlstm` command, and a decoder that can crash."""
    place = tmp_path_factory.mktemp("place")
    for seed, name in enumerate(("a.mp4", "b c.mp4")):
        write_clip(place / "clips" / name, seed=seed)
    (place / "bin").mkdir()
    script = place / "bin/vidlstm"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vidlstm "$@"\n')
    script.chmod(0o755)
    (place / "odd").mkdir()
    (place / "odd/sitecustomize.py").write_text(DECODER)
    return place


@pytest.fixture
def surroundings(place: Path, model: Path) -> dict[str, str]:
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "VIDLSTM_CHECKPOINT": str(model), "PYTHONPATH": str(ROOT)}


def odd_decoder(surroundings: dict[str, str], place: Path) -> dict[str, str]:
    return {**surroundings, "PYTHONPATH": f"{place / 'odd'}{os.pathsep}{ROOT}"}


def plant(folder: Path, names: Sequence[str], place: Path) -> Path:
    folder.mkdir()
    for name in names:
        shutil.copy(place / "clips/a.mp4", folder / name)
    return folder


@pytest.mark.parametrize("line", PIPELINES)
def test_the_pipelines_of_the_manual_work(line: str, place: Path, surroundings: dict[str, str]) -> None:
    for program in ("bash", "jq", "xargs", "find"):
        if program in f"{line} bash" and shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=place, env=surroundings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert all(part in done.stdout for part in PIPELINES[line])
    assert done.stderr == f"Model: {surroundings['VIDLSTM_CHECKPOINT']} ($VIDLSTM_CHECKPOINT)\n"


def test_the_manual_shows_these_lines() -> None:
    page = (ROOT / "vidlstm/docs/predict.md").read_text(encoding="utf-8")
    assert [line for line in PIPELINES if line not in page] == []


def test_crashing_and_hanging_decoders_affect_one_row_each(
    place: Path, surroundings: dict[str, str], tmp_path: Path
) -> None:
    names = ["a.mp4", "crash1.mp4", "crash2.mp4", "d.mp4", "hang.mp4", "z.mp4"]
    folder = plant(tmp_path / "in", names, place)
    done = subprocess.run(
        [*COMMAND, "predict", "-f", "jsonl", "--timeout", "2", folder],
        env=odd_decoder(surroundings, place), capture_output=True, text=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == names
    codes = [row["error"] and row["error"]["code"] for row in rows]
    assert codes == [None, "decoder_crashed", "decoder_crashed", None, "timeout", None]
    assert done.returncode == 1
    assert "6 done, 3 of them with an error" in done.stderr


def test_killed_and_resumed_it_ends_with_one_row_per_file(
    place: Path, surroundings: dict[str, str], tmp_path: Path
) -> None:
    names = [f"slow{number:02}.mp4" for number in range(12)]
    folder, file, whole = (
        plant(tmp_path / "in", names, place),
        tmp_path / "rows.jsonl",
        tmp_path / "whole.jsonl",
    )
    quick = [*COMMAND, "predict", "--workers", "2", str(folder)]
    subprocess.run([*quick, "--output", whole], env=surroundings, check=True)
    with subprocess.Popen(
        [*quick, "--resume", file], env=odd_decoder(surroundings, place), start_new_session=True
    ) as process:
        while not file.exists() or file.read_bytes().count(b"\n") < 3:
            time.sleep(0.02)
            assert process.poll() is None
        process.kill()
    assert 3 <= file.read_bytes().count(b"\n") < 12
    with file.open("ab") as torn:
        torn.write(b'{"schema": 1, "path": "')
    subprocess.run([*quick, "--resume", file], env=surroundings, check=True)
    assert file.read_bytes() == whole.read_bytes()


def test_ctrl_c_finishes_the_current_row(place: Path, surroundings: dict[str, str], tmp_path: Path) -> None:
    folder = plant(tmp_path / "in", [f"slow{number:02}.mp4" for number in range(30)], place)
    with subprocess.Popen(
        [*COMMAND, "predict", "--workers", "1", folder], env=odd_decoder(surroundings, place),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        # As on a terminal, the workers get the signal, too. The next row may not have been started.
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        said = process.stderr.read()
    rows = (first + rest).splitlines()
    assert process.returncode == 130
    assert 1 <= len(rows) < 30
    assert [row for row in rows if row.count("\t") != 2] == []
    assert f"interrupted: {len(rows)} done" in said
    assert "Traceback" not in said


def test_a_closed_pipe_ends_it_even_while_it_waits(surroundings: dict[str, str], place: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "predict", "-"], env=surroundings, cwd=place,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"clips/a.mp4\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"clips/a.mp4\t")
        process.stdout.close()  # while more names are to come
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read().count(b"\n") == 1, "the model that was used, and no word more"


def test_two_concurrent_runs_do_not_affect_each_other(surroundings: dict[str, str], place: Path) -> None:
    runs = [
        subprocess.Popen([*COMMAND, "predict", "clips"], env=surroundings, cwd=place, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [(run.communicate()[0], run.returncode) for run in runs]
    assert results[0] == results[1]
    assert results[0][1] == 0
    assert results[0][0].count(b"\n") == 2
