"""`vidlstm cache`: location and size of the feature store, and how to clear it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import vidlstm
from tests.cli.shell import Ended, shell
from vidlstm.features.store import NETWORKS, FeatureStore, StreamFeatures
from vidlstm.records import ClipInfo


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    monkeypatch.setenv("VIDLSTM_CACHE_DIR", str(tmp_path / "store"))
    kept = FeatureStore()
    for number in range(3):
        values = np.zeros((1, 1, 4, 5), np.float16)
        kept.put(f"{number:032x}", StreamFeatures(values, ClipInfo(4, 1.0, 8, 8)))
    return kept


def test_shows_location_and_size(store: FeatureStore) -> None:
    entries, size = store.measure()
    said = json.loads(vidlstm("cache", "--json").out)
    assert said == {"schema": 1, "path": str(store.root), "entries": entries, "bytes": size}
    assert entries == 3
    ended = vidlstm("cache")
    assert (ended.out, ended.err) == (f"{store.root}: 3 entries, 0.0 MB\n", "")


def test_clear_removes_only_stored_features(store: FeatureStore) -> None:
    (store.root / "holiday.mp4").write_bytes(b"precious")
    for name in (f"{7:032x}", f".{7:032x}.killed"):
        network = store.root / NETWORKS / name / "encoder-0123abcd.blob"
        network.parent.mkdir(parents=True)
        network.write_text("compiled")
    assert "0 entries" in vidlstm("cache", "--clear").out
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == ["holiday.mp4"]


def test_an_empty_store(tmp_path: Path) -> None:
    place = tmp_path / "not yet"
    assert shell("cache", cwd=tmp_path, VIDLSTM_CACHE_DIR=str(place)) == Ended(
        0, f"{place}: 0 entries, 0.0 MB\n", ""
    )
    assert not place.exists()
