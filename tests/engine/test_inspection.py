"""The data doctor searches for people: in which clips and frames, and its advice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.cli.conftest import write_clip
from vidlstm.cli.check_page import CheckPage
from vidlstm.engine.extraction import people, pose_networks
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.inspection.doctor import CheckedFile, CheckReport, PeopleFound
from vidlstm.engine.inspection.inspect import Facts, inspect_file, inspect_files
from vidlstm.errors import WeightsError
from vidlstm.media.file_types import Limits

NETWORKS = Path("networks")


class Counting:
    """Replaces a pool: does nothing, and records the files that are searched for people."""

    def __init__(self) -> None:
        self.asked: list[Path] = []

    def run(self, items: list[Any], job: Any) -> Iterator[tuple[Any, Facts]]:
        for item in items:
            path, _, _, networks = job(item).work.args
            self.asked += [] if networks is None else [path]
            yield item, Facts()


def asked_of(num_files: int, kind: str = "video", networks: Path | None = NETWORKS) -> list[int]:
    pool = Counting()
    files: Any = [(Path(str(number)), kind) for number in range(num_files)]
    assert len(list(inspect_files(files, cast("DecodePool", pool), Limits(), networks))) == num_files
    return [int(path.name) for path in pool.asked]


class TestWhereToLook:
    def test_in_every_clip_of_few(self) -> None:
        assert asked_of(7) == list(range(7))

    def test_in_fifty_clips_spread_over_many(self) -> None:
        asked = asked_of(1000)
        assert (len(asked), asked[0], asked[-1]) == (50, 0, 999)
        assert max(np.diff(asked)) <= 21

    def test_nowhere_in_pictures_or_without_networks(self) -> None:
        assert asked_of(7, kind="picture") == asked_of(7, networks=None) == asked_of(0) == []


@pytest.mark.parametrize(("seen", "number"), [([0, 0, 0, 2], 0), ([1, 0, 0, 2], 1), ([2, 1, 2, 3], 2)])
def test_people_in_half_of_the_frames_count(
    seen: list[int], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(pictures: NDArray[np.uint8], networks: Path) -> NDArray[np.int64]:
        assert pictures.shape == (4, 48, 64, 3)
        assert networks == NETWORKS
        return np.array(seen)

    monkeypatch.setattr(people, "count_people", count)
    clip = write_clip(tmp_path / "clip.avi", 20)
    assert inspect_file(clip, "video", Limits()).people is None
    assert inspect_file(clip, "video", Limits(), NETWORKS).people == number


def report_on(*numbers: int | None) -> CheckReport:
    files = [CheckedFile(Path(f"{n}.mp4"), "video", Facts(people=p)) for n, p in enumerate(numbers)]
    return CheckReport(Path("clips"), "files", tuple(files), (), "", (), ())


class TestAdvice:
    def test_none_without_a_search(self, capsys: pytest.CaptureFixture[str]) -> None:
        report = report_on(None, None)
        assert report.people is None
        assert report.to_json()["people"] is None
        CheckPage(report, everything=False).show()
        assert "People" not in capsys.readouterr().out

    def test_for_pose_if_most_clips_show_people(self, capsys: pytest.CaptureFixture[str]) -> None:
        report = report_on(2, 1, 0)
        assert report.people == PeopleFound(3, 2, 1)
        assert report.to_json()["people"] == {"num_clips": 3, "num_with_people": 2, "num_with_two": 1}
        CheckPage(report, everything=False).show()
        said = " ".join(capsys.readouterr().out.split())
        assert (
            "People: in 2 of 3 videos, two or more in 1; pose may help; --streams auto keeps it if it does"
            in said
        )

    def test_against_pose_if_few_clips_do(self, capsys: pytest.CaptureFixture[str]) -> None:
        CheckPage(report_on(1, 0, None), everything=False).show()
        said = " ".join(capsys.readouterr().out.split())
        assert (
            "People: in 1 of 2 sampled videos, two or more in 0; pose is not worth its time, "
            "as it reads nothing in most of them" in said
        )


class TestNetworks:
    def test_are_optional(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*_: object) -> None:
            raise WeightsError("not installed")

        monkeypatch.setattr(pose_networks, "find_pose_weights", missing)
        assert pose_networks.installed_networks() is None
        monkeypatch.setattr(pose_networks, "is_installed", lambda: False)
        assert pose_networks.installed_networks() is None
