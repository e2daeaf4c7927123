"""The command without a home folder, a complete encoding, an open stream or a terminal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, make_model, write_clip
from tests.cli.shell import TrainedRun, shell

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX only")

NO_SUCH_USER = """
import pwd

def unknown(*_):
    raise KeyError("uid not found")

pwd.getpwuid = unknown
"""


@posix
@pytest.mark.parametrize("home", ["", "/proc/self"], ids=["none", "read-only"])
def test_works_without_a_home_folder(trained_run: TrainedRun, tmp_path: Path, home: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_SUCH_USER)
    work = tmp_path / "work"
    work.mkdir()
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = {"PYTHONPATH": path, "VIDLSTM_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": home}
    arguments: list[str | Path] = ["cache", "--json"]
    if home:
        arguments = ["eval", trained_run.data, "-c", trained_run.run, "--split", "all", "--report", "r.html"]
    ended = shell(*arguments, cwd=work, **env)
    assert ended.status == 0, ended.err
    assert "Traceback" not in ended.err
    assert "matplotlib" not in ended.err.lower()
    assert "~" not in [path.name for path in work.iterdir()]


@pytest.fixture(scope="module")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders and a model whose class names no Western code page can encode."""
    root = tmp_path_factory.mktemp("emoji")
    for seed, label in enumerate(("wave 👋", "跳")):
        write_clip(root / "data" / label / "1.avi", 20, seed)
    make_model(root / "model.safetensors", ("wave 👋", "跳"))
    return root


@pytest.mark.parametrize("arguments", [("check", "data"), ("info", "model.safetensors")])
def test_an_encoding_without_the_characters_shows_their_codes(
    emoji: Path, arguments: tuple[str, ...]
) -> None:
    ended = shell(*arguments, cwd=emoji, PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert ended.status == 0, ended.err
    assert "wave \\U0001f44b" in ended.out
    assert "\\u8df3" in ended.out


@posix
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_does_no_harm(clips: Path, model: Path, tmp_path: Path, closed: str) -> None:
    rows = tmp_path / "rows.tsv"
    command = [*COMMAND, "predict", "-c", str(model), "--device", "cpu", "-o", str(rows), str(clips)]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        capture_output=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(rows.read_text().splitlines()) == 3
    assert b"Traceback" not in done.stderr


def test_nothing_is_truncated_in_a_pipe(tmp_path: Path) -> None:
    labels = [f"{'a long name of a class ' * 6}{number}" for number in (1, 2)]
    for seed, label in enumerate(labels):
        write_clip(tmp_path / label / "1.avi", 20, seed)
    out = shell("check", ".", cwd=tmp_path).out
    assert all(any(line.strip().startswith(label) for line in out.splitlines()) for label in labels)
