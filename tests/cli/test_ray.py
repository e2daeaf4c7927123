"""`--ray`: every command that reads many files gives the same results on a cluster as on one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import QUICK, learned, vidlstm
from tests.tiny import write_action

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # warnings of Ray


@pytest.fixture(scope="module")
def ray() -> Iterator[tuple[str, ...]]:
    """The options for a cluster of one node with one CPU."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'vidlstm[ray]'")
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes: Any = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield ("--ray", nodes.address)
        nodes.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of each of two classes. Read-only."""
    folder = tmp_path_factory.mktemp("data")
    for action in ("rise", "sink"):
        for number in range(10):
            write_action(folder / action / f"{number}.avi", action, number)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder trained without a cluster. Read-only."""
    folder = tmp_path_factory.mktemp("run") / "1"
    assert vidlstm("train", data, "--out", folder, *QUICK).status == 0
    return folder


def test_train(ray: tuple[str, ...], data: Path, run: Path, tmp_path: Path) -> None:
    ended = vidlstm("train", data, "--out", tmp_path / "run", "--no-cache", *QUICK, *ray)
    assert ended.status == 0, ended.err
    assert learned(tmp_path / "run") == learned(run)
    for name in ("split.csv", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_crossval(ray: tuple[str, ...], data: Path) -> None:
    command = ("crossval", data, "--folds", "2", "--json", "--no-cache", *QUICK)
    plain, ended = vidlstm(*command), vidlstm(*command, *ray)
    assert ended.status == 0, ended.err
    assert ended.out == plain.out


def test_eval(ray: tuple[str, ...], data: Path, run: Path) -> None:
    command = ("eval", data, "-c", run, "--split", "all", "--json", "--no-cache", "--workers", "1")
    plain, ended = vidlstm(*command), vidlstm(*command, *ray)
    assert ended.status == 0, ended.err
    assert ended.out == plain.out


def test_predict(ray: tuple[str, ...], data: Path, run: Path) -> None:
    command = ("predict", data, data / "missing.avi", "-c", run, "-f", "jsonl")
    plain, ended = vidlstm(*command), vidlstm(*command, *ray)
    assert (ended.status, len(ended.lines)) == (1, 21)
    assert ended.out == plain.out


def test_spans(ray: tuple[str, ...], films: Path, film_run: Path) -> None:
    command = ("spans", films.parent, "-c", film_run, "-f", "jsonl")
    plain, ended = vidlstm(*command), vidlstm(*command, *ray)
    assert ended.status == 0, ended.err
    assert ended.lines
    assert ended.out == plain.out


def test_train_on_films(ray: tuple[str, ...], films: Path, film_run: Path, tmp_path: Path) -> None:
    ended = vidlstm("train", films, "--out", tmp_path / "run", "--no-cache", *QUICK, *ray)
    assert ended.status == 0, ended.err
    assert learned(tmp_path / "run") == learned(film_run)
