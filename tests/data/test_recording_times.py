"""Times in file names, and the caution about clips that were recorded together."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.data.trees import plant
from vidlstm.data.groups import by_regex
from vidlstm.data.recording_times import BY_DAY, recorded_together, recording_time
from vidlstm.data.samples import find_samples


@pytest.mark.parametrize(
    "name",
    [
        "20260131_175959.mp4",
        "VID_20260131_175959.mp4",
        "PXL_20260131_175959123.mp4",
        "2026-01-31 17.59.59.mp4",
        "2026-01-31T17:59:59.mp4",
        "Screen_2026-01-31_at_17-59-59.mov",
        "20260131175959.avi",
    ],
)
def test_names_from_cameras(name: str) -> None:
    assert recording_time(name) == datetime(2026, 1, 31, 17, 59, 59)


@pytest.mark.parametrize(
    "name", ["IMG_0001.avi", "120260131175959.avi", "20261331_175959.mp4", "2026-01-31.mp4"]
)
def test_names_without_a_time(name: str) -> None:
    assert recording_time(name) is None


def at(*times: str) -> list[str]:
    return [f"VID_{time}00.mp4" for time in times]


class TestTogether:
    def test_minutes_apart_on_several_days(self) -> None:
        said = recorded_together(at("20260131_1700", "20260131_1710", "20260201_0900", "20260201_0901"))
        assert said == (
            "4 of 4 clips were recorded within 10 minutes of another one, according to their file names. "
            "Clips of one recording are probably in several subsets, so the score is too high. "
            rf"To keep each of the 2 days together: `group_by={BY_DAY}`."
        )

    def test_on_one_day(self) -> None:
        said = recorded_together(at("20260131_1700", "20260131_1701"))
        assert said is not None
        assert said.endswith("Name the groups in a column named group.")

    def test_far_apart(self) -> None:
        assert recorded_together(at("20260131_1700", "20260131_1711", "20260201_1700")) is None

    def test_few_of_many(self) -> None:
        named = at("20260131_1700", "20260131_1701")
        assert recorded_together([*named, *(f"clip{i}.mp4" for i in range(4))]) is not None
        assert recorded_together([*named, *(f"clip{i}.mp4" for i in range(5))]) is None

    def test_the_way_out_groups_by_day(self) -> None:
        names = at("20260131_1700", "20260131_1710", "20260201_0900")
        assert by_regex(names, BY_DAY).names == ("20260131", "20260131", "20260201")


class TestDataset:
    NAMES = tuple(f"{label}/VID_2026013{day}_17000{i}.mp4" for label in "ab" for day in "01" for i in "01")

    def test_has_the_caution(self, tmp_path: Path) -> None:
        for number, name in enumerate(self.NAMES):
            plant(tmp_path, [name], bytes([number]))
        (caution,) = find_samples(tmp_path).cautions
        assert "8 of 8 clips were recorded within 10 minutes" in caution
        assert find_samples(tmp_path, group_by=BY_DAY).cautions == ()
