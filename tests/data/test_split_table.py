"""The table of a run's clips: it is read back as written, and shows what has changed since."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from tests.data.test_splits import singles
from tests.data.trees import dataset, plant
from vidlstm.data.fingerprints import fingerprints
from vidlstm.data.samples import Dataset, find_samples
from vidlstm.data.split_table import (
    SplitRow,
    describe_changes,
    read_split,
    read_split_rows,
    split_rows,
    write_split,
)
from vidlstm.data.splits import Split, make_split
from vidlstm.errors import DataError


def rows_of(data: Dataset, split: Split) -> dict[str, SplitRow]:
    return split_rows(data, split, fingerprints(sample.path for sample in data.samples))


class TestTable:
    def test_is_read_back_as_written(self, tmp_path: Path) -> None:
        names = [
            f"{c}/{n}.mp4" for c in ("hug", 'a, "b"') for n in ("1", "new\nline", "-x", "tab\t", "=1", " ")
        ]
        data = find_samples(plant(tmp_path / "data", names))
        split = make_split(data, seed=0)
        path = tmp_path / "split.csv"
        write_split(path, rows_of(data, split))
        assert read_split(path, data) == split
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["path", "label", "group", "split", "fingerprint"]
        assert {row["path"] for row in rows} == set(names)

    def test_survives_names_that_are_not_utf8(self, tmp_path: Path) -> None:
        plant(tmp_path / "data", ["a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4"])
        (tmp_path / "data/a/1.mp4").rename(tmp_path / "data/a" / os.fsdecode(b"caf\xe9.mp4"))
        data = find_samples(tmp_path / "data")
        split = make_split(data, seed=0)
        write_split(tmp_path / "split.csv", rows_of(data, split))
        assert read_split(tmp_path / "split.csv", data) == split

    def test_is_independent_of_the_data_s_location_and_is_a_split_file(self, tmp_path: Path) -> None:
        names = [f"{c}/{n}.mp4" for c in "ab" for n in range(5)]
        here, there = (find_samples(plant(tmp_path / place, names)) for place in ("here", "there"))
        split = make_split(here, seed=0)
        write_split(tmp_path / "split.csv", rows_of(here, split))
        assert read_split(tmp_path / "split.csv", there) == split
        again = find_samples(tmp_path / "there", split_file=tmp_path / "split.csv")
        assert make_split(again, seed=9) == split

    def test_reports_added_and_removed_clips(self, tmp_path: Path) -> None:
        names = [f"{c}/{n}.mp4" for c in "ab" for n in range(5)]
        data = find_samples(plant(tmp_path / "data", names))
        write_split(tmp_path / "split.csv", rows_of(data, make_split(data, seed=0)))
        (tmp_path / "data/a/0.mp4").unlink()
        now = find_samples(plant(tmp_path / "data", ["b/new1.mp4", "b/new2.mp4"]))
        split = read_split(tmp_path / "split.csv", now)
        assert len(split.train + split.val) == 9
        assert split.notes == (
            "2 clips not in split.csv, so in no subset",
            "1 clip of split.csv no longer in the data",
        )

    def test_clips_with_other_content_are_other_clips(self, tmp_path: Path) -> None:
        """Cameras number their files alike, so other data may have the same names."""
        names = [f"{c}/{n}.mp4" for c in "ab" for n in range(5)]
        data = find_samples(plant(tmp_path / "data", names))
        write_split(tmp_path / "split.csv", rows_of(data, make_split(data, seed=0)))
        (tmp_path / "data/a/0.mp4").write_bytes(b"another")
        split = read_split(tmp_path / "split.csv", data)
        assert len(split.train + split.val) == 9
        assert split.notes[0] == "1 clip not in split.csv, so in no subset"
        for sample in data.samples:
            sample.path.write_bytes(b"other " + sample.path.name.encode())
        with pytest.raises(DataError, match="belongs to other data"):
            read_split(tmp_path / "split.csv", data)

    def test_an_unknown_subset_is_refused(self, tmp_path: Path) -> None:
        data = find_samples(plant(tmp_path / "data", ["a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"]))
        rows = rows_of(data, make_split(data, seed=0))
        write_split(tmp_path / "split.csv", {name: replace(row, subset="x") for name, row in rows.items()})
        with pytest.raises(DataError, match="'x' is no subset; expected train, val, test"):
            read_split(tmp_path / "split.csv", data)

    def test_is_refused_for_other_data(self, tmp_path: Path) -> None:
        data = find_samples(plant(tmp_path / "data", ["a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"]))
        write_split(tmp_path / "split.csv", rows_of(data, make_split(data, seed=0)))
        with pytest.raises(DataError, match="belongs to other data"):
            read_split(tmp_path / "split.csv", dataset(singles(3, "ab")))

    def test_is_written_atomically(self, tmp_path: Path) -> None:
        no_text = "\ud800"
        data = dataset([*singles(3, "ab"), (no_text, "g1", None), (no_text, "g2", None)])
        path = tmp_path / "split.csv"
        path.write_text("as it was", encoding="utf-8")
        with pytest.raises(UnicodeEncodeError):
            write_split(path, rows_of(data, make_split(data, seed=0)))
        assert path.read_text(encoding="utf-8") == "as it was"
        assert list(tmp_path.iterdir()) == [path]


class TestChanges:
    ROWS: ClassVar = {f"a/{n}.mp4": SplitRow("a", f"g{n}", "train", f"print {n}") for n in range(4)}

    def test_rows_are_read_back_as_written(self, tmp_path: Path) -> None:
        strange = {**self.ROWS, 'x, "y"\n.mp4': SplitRow("b", "", "val", "")}
        write_split(tmp_path / "split.csv", strange)
        assert read_split_rows(tmp_path / "split.csv") == strange

    def test_none_without_changes(self) -> None:
        assert describe_changes(self.ROWS, dict(reversed(self.ROWS.items()))) == []

    def test_each_kind_is_counted_and_named(self) -> None:
        now = dict(self.ROWS)
        del now["a/0.mp4"]
        now["a/1.mp4"] = replace(now["a/1.mp4"], fingerprint="other")
        now["a/2.mp4"] = replace(now["a/2.mp4"], subset="val")
        now["a/9.mp4"] = now["a/3.mp4"]
        assert describe_changes(self.ROWS, now) == [
            "1 clip new (a/9.mp4)",
            "1 clip gone (a/0.mp4)",
            "1 clip with other content (a/1.mp4)",
            "1 clip with another label, group or subset (a/2.mp4)",
        ]

    @pytest.mark.parametrize("text", ["", "path,label\n", "path,label,group,split,fingerprint\na,b\n", "\0"])
    def test_a_damaged_table_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "split.csv").write_text(text)
        with pytest.raises(DataError, match=r"split\.csv: cannot be read as a list of the run's clips"):
            read_split_rows(tmp_path / "split.csv")
