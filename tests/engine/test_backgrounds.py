"""Clips from one place are found by their colours if names do not give the groups."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from vidlstm.data.samples import Dataset
from vidlstm.engine.extraction import backgrounds
from vidlstm.engine.extraction.backgrounds import Vectors, cluster, find_grouped_dataset, near_share
from vidlstm.errors import DataError
from vidlstm.settings import DataSettings, MachineSettings

R = TypeVar("R")


def distances(points: np.ndarray) -> Vectors:
    found: Vectors = np.abs(points[:, None] - points).astype(np.float32)
    np.fill_diagonal(found, np.inf)
    return found


def joined_plainly(given: Vectors, threshold: float) -> set[tuple[int, ...]]:
    """Merge the two clusters with the smallest mean distance until it exceeds the threshold."""
    clusters: list[tuple[int, ...]] = [(i,) for i in range(len(given))]
    while len(clusters) > 1:
        pairs = {(a, b): float(given[np.ix_(a, b)].mean()) for a in clusters for b in clusters if a < b}
        (a, b), least = min(pairs.items(), key=lambda item: item[1])
        if least > threshold:
            break
        clusters = [c for c in clusters if c not in (a, b)] + [tuple(sorted((*a, *b)))]
    return set(clusters)


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.5, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clusters_equal_average_linkage(seed: int, threshold: float) -> None:
    given = distances(np.random.default_rng(seed).normal(size=25))
    assert set(cluster(given, threshold)) == joined_plainly(given, threshold)


def test_clusters_contain_every_clip_once_and_inputs_are_not_changed() -> None:
    given = distances(np.array([0.0, 5.0, 0.1, 9.0, 5.1]))
    before = given.copy()
    assert cluster(given, 0.5) == [(0, 2), (1, 4), (3,)]
    np.testing.assert_array_equal(given, before)
    assert cluster(given[:1, :1], 0.5) == [(0,)]


def test_near_is_a_share_of_the_median_distance() -> None:
    assert near_share(distances(np.array([0.0, 0.1, 1.0, 2.0]))) == 0.5


def plant(root: Path, num_places: int, *, rule: str = "") -> Path:
    """Make two pictures of each class at every place: a background colour and a small person."""
    rng = np.random.default_rng(0)
    for number, place in enumerate(rng.permuted(np.arange(num_places).repeat(4))):
        colour = np.random.default_rng(1000 + place).integers(0, 256, 3)
        picture = np.clip(colour + rng.normal(0, 3, (48, 64, 3)), 0, 255).astype(np.uint8)
        picture[20:30, 20 + number % 9 : 26 + number % 9] = 255 * (number % 2)
        file = root / ("a", "b")[number % 2] / f"{rule}{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file)
    return root


def found(root: Path, group_by: str | None = None) -> Dataset:
    session = find_grouped_dataset(
        DataSettings(root, group_by=group_by), MachineSettings(workers=1), cache=False
    )
    return last(session)


def last(session: Generator[object, None, R]) -> R:
    while True:
        try:
            next(session)
        except StopIteration as end:
            result: R = end.value
            return result


def test_clips_with_one_background_are_reported_and_can_be_groups(tmp_path: Path) -> None:
    root = plant(tmp_path, 6)
    plain = found(root)
    assert plain.num_groups == 24
    assert len(plain.cautions) == 1
    assert "100% of the clips have nearly the same background as another clip" in plain.cautions[0]
    assert "6 backgrounds, the most common in 4 clips" in plain.cautions[0]
    grouped = found(root, "background")
    assert grouped.num_groups == 6
    assert grouped.cautions == ()
    assert {s.group for s in grouped.samples} == {f"background_{n}" for n in range(1, 7)}
    assert "similar backgrounds" in grouped.group_rule


def test_clips_with_different_backgrounds_are_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = list(np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32))

    def describe(*_: object, **__: object) -> Generator[object, None, list[Vectors]]:
        yield from ()
        return vectors

    monkeypatch.setattr(backgrounds, "_describe", describe)
    assert found(plant(tmp_path, 15)).cautions == ()


def test_backgrounds_are_not_compared_if_names_give_the_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backgrounds, "_describe", None)
    data = found(plant(tmp_path, 3, rule="person01_"), r"person\d+")
    assert data.groups_known
    assert data.cautions == ()


def test_too_many_clips_to_compare_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backgrounds, "FEWEST_CLIPS", 2)
    monkeypatch.setattr(backgrounds, "MOST_CLIPS", 5)
    root = plant(tmp_path, 2)
    assert found(root).cautions == ()
    with pytest.raises(DataError, match="8 clips, but `group_by=background` compares at most 5"):
        found(root, "background")
