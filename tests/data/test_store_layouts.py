"""Data sets in an object store (in memory): layouts, groups, fingerprints, and refused inputs."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vidlstm import stores
from vidlstm.data.fingerprints import fingerprint, fingerprints, full_hash
from vidlstm.data.layouts.recognise import require_data, root_of
from vidlstm.data.samples import Dataset, find_samples
from vidlstm.errors import DataError, InputError, UsageError
from vidlstm.features.store import identities
from vidlstm.stores import StorePath, address_of, ahead, path_in, to_path

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'vidlstm[cloud]'")
ROOT = to_path("s3://bucket/data/")

Put = Callable[..., None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Make a store in memory; return a function that puts files under `s3://bucket/data/`."""
    system: Any = fsspec.filesystem("memory")
    monkeypatch.setattr(stores, "_open", lambda address: (system, "/" + address.removeprefix("s3://")))

    def put(names: Iterable[str], content: bytes | None = None) -> None:
        for name in names:  # by default, no two files are equal
            system.pipe_file(f"/bucket/data/{name}", name.encode() if content is None else content)

    yield put
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def rows(data: Dataset) -> list[tuple[str, str, str | None]]:
    return [(s.path.relative_to(data.root).as_posix(), s.label, s.split) for s in data.samples]


class TestStorePath:
    def test_as_text_it_is_the_address(self) -> None:
        clip = ROOT / "wave" / "a b.mp4"
        assert str(ROOT) == "s3://bucket/data"
        assert f"{clip}" == clip.as_posix() == address_of(clip) == "s3://bucket/data/wave/a b.mp4"
        assert (clip.name, clip.suffix, clip.parent) == ("a b.mp4", ".mp4", ROOT / "wave")
        assert clip.relative_to(ROOT).as_posix() == "wave/a b.mp4"

    def test_it_survives_pickling(self) -> None:
        clip = to_path("gs://bucket/odd//double.mp4")
        again = pickle.loads(pickle.dumps(clip))
        assert isinstance(again, StorePath)
        assert (again, str(again)) == (clip, "gs://bucket/odd//double.mp4")

    def test_it_is_never_a_local_file(self) -> None:
        assert not ROOT.exists()
        assert not ROOT.is_dir()

    @pytest.mark.parametrize(
        ("folder", "name", "path"),
        [
            ("s3://bucket/data", "a/b.mp4", "s3://bucket/data/a/b.mp4"),
            ("s3://bucket/data", "./../clips/b.mp4", "s3://bucket/clips/b.mp4"),
            ("s3://bucket/data", "odd//b.mp4", "s3://bucket/data/odd//b.mp4"),
            ("s3://bucket/data", "https://host/b.mp4", "https://host/b.mp4"),
            ("/data", "s3://bucket/b.mp4", "s3://bucket/b.mp4"),
            ("/data", "../b.mp4", "/data/../b.mp4"),
        ],
    )
    def test_names_in_a_list_are_addresses_or_relative(self, folder: str, name: str, path: str) -> None:
        assert str(path_in(to_path(folder), name)) == path


class TestClassFolders:
    def test_give_the_samples_of_local_folders(self, put: Put) -> None:
        put(["run/a.mp4", "run/day 2/b.AVI", "hug/c.webm", "hug/notes.txt", "read.me", ".cache/d/e.mp4"])
        data = find_samples(ROOT)
        assert rows(data) == [
            ("hug/c.webm", "hug", None),
            ("run/a.mp4", "run", None),
            ("run/day 2/b.AVI", "run", None),
        ]
        assert (data.root, data.kind, data.layout) == (ROOT, "video", "class folders in a store")
        assert data.notes == ("2 files skipped (neither video nor picture): .txt 1, .me 1",)

    def test_under_subsets_are_a_split(self, put: Put) -> None:
        put([f"{s}/{c}/{n}.mp4" for s in ("test", "train") for c in ("a", "b") for n in (s,)])
        put(["old/c/x.mp4"])
        data = find_samples(ROOT)
        assert rows(data) == [
            ("train/a/train.mp4", "a", "train"),
            ("train/b/train.mp4", "b", "train"),
            ("test/a/test.mp4", "a", "test"),
            ("test/b/test.mp4", "b", "test"),
        ]
        assert data.notes == ("skipped beside train/, test/: old/",)

    def test_pictures_in_class_folders_are_pictures(self, put: Put) -> None:
        put([f"{c}/{n:03}.jpg" for c in ("cat", "dog") for n in range(3)])
        assert find_samples(ROOT).kind == "picture"

    def test_frames_of_a_clip_are_not_read_as_pictures(self, put: Put) -> None:
        put([f"{c}/clip/{n:03}.jpg" for c in ("hug", "run") for n in range(3)])
        with pytest.raises(DataError, match="s3://bucket/data/hug/clip: is a folder of numbered frames"):
            find_samples(ROOT)
        assert len(find_samples(ROOT, kind="picture").samples) == 6

    def test_clips_outside_class_folders_are_named(self, put: Put) -> None:
        put(["a.mp4", "b.mp4"])
        with pytest.raises(DataError, match=r"2 clips found, but not in class folders \(first: s3://bucket"):
            find_samples(ROOT)


class TestTables:
    def test_a_table_in_a_store_has_paths_relative_to_it(self, put: Put) -> None:
        put(["labels.csv"], b"path,label,split\na.mp4,x,train\n../more/b.mp4,y,test\ns3://c/d.mp4,y,train\n")
        for data in (find_samples(ROOT), find_samples(ROOT / "labels.csv")):
            assert [str(s.path) for s in data.samples] == [
                "s3://bucket/data/a.mp4",
                "s3://bucket/more/b.mp4",
                "s3://c/d.mp4",
            ]
            assert [s.name(data.root) for s in data.samples] == [
                "a.mp4",
                "s3://bucket/more/b.mp4",
                "s3://c/d.mp4",
            ]
            assert data.layout == "table labels.csv"

    def test_a_local_table_may_contain_addresses(self, put: Put, tmp_path: Path) -> None:
        put(["a.mp4", "b.mp4"])
        table = tmp_path / "clips.csv"
        table.write_text("path,label\ns3://bucket/data/a.mp4,x\ns3://bucket/data/b.mp4,y\n")
        assert [str(s.path) for s in find_samples(table).samples] == [
            "s3://bucket/data/a.mp4",
            "s3://bucket/data/b.mp4",
        ]

    def test_an_address_with_a_password_is_refused_and_not_repeated(self, tmp_path: Path) -> None:
        table = tmp_path / "clips.csv"
        table.write_text("path,label\nhttps://me:secret@host/a.mp4,x\n")
        with pytest.raises(UsageError, match="contains a password") as raised:
            find_samples(table)
        assert "secret" not in str(raised.value)
        with pytest.raises(UsageError, match="contains a password"):
            require_data(to_path("https://me:secret@host/data"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("list.txt", "a data set in a store is a folder of class folders, or a CSV or TSV"),
        ("a.mp4", "a data set in a store is a folder of class folders, or a CSV or TSV"),
        ("spans.json", "a data set in a store is a folder of class folders, or a CSV or TSV"),
        ("day", "s3://bucket/data/day/spans.csv: films with spans are read from this machine"),
    ],
)
def test_other_layouts_are_refused(put: Put, name: str, says: str) -> None:
    put(["day/spans.csv", "day/film.mp4", "list.txt"])
    with pytest.raises(DataError, match=says):
        find_samples(ROOT / name)


def test_a_split_file_is_refused(put: Put, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="are in a store; use a table with a split column"):
        find_samples(ROOT, split_file=tmp_path / "trainlist01.txt")


class TestContent:
    def test_equal_files_share_a_group(self, put: Put) -> None:
        put(["x/a.mp4", "y/c.mp4"], b"equal")
        put(["x/b.mp4"], b"other")
        assert [s.group for s in find_samples(ROOT).samples] == ["x/a.mp4", "x/b.mp4", "x/a.mp4"]

    @pytest.mark.parametrize("size", [0, 1000, 500_000])
    def test_fingerprints_equal_those_of_a_local_copy(self, put: Put, tmp_path: Path, size: int) -> None:
        content = bytes(i * i % 251 for i in range(size))
        put(["a.mp4"], content)
        copy = tmp_path / "copy.mp4"
        copy.write_bytes(content)
        assert fingerprint(ROOT / "a.mp4") == fingerprint(copy)
        assert full_hash(ROOT / "a.mp4") == full_hash(copy)
        assert fingerprints([copy, ROOT / "a.mp4", ROOT / "no.mp4"]) == [fingerprint(copy)] * 2 + [""]

    def test_the_identity_changes_with_the_file(self, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
        versions: dict[str, dict[str, Any]] = {"a.mp4": {"size": 5, "ETag": "1"}, "b.mp4": {"size": 5}}

        class System:
            def info(self, path: str) -> dict[str, Any]:
                if path not in versions:
                    raise FileNotFoundError(path)
                return versions[path]

        monkeypatch.setattr(stores, "_open", lambda address: (System(), address.rpartition("/")[2]))
        names = ("a.mp4", "b.mp4", "gone.mp4")

        def found() -> list[str | None]:
            return [identity for _, identity in identities(ROOT / name for name in names)]

        first = found()
        assert [identity is None for identity in first] == [False, True, True]
        assert found() == first
        versions["a.mp4"]["ETag"] = "2"
        assert found()[0] != first[0]


def test_many_requests_keep_their_order() -> None:
    paths = [ROOT / f"{n}.mp4" if n % 3 else Path(f"{n}.mp4") for n in range(200)]
    assert list(ahead(lambda path: path.name, paths)) == [path.name for path in paths]


def test_local_files_are_not_read_ahead() -> None:
    taken: list[Path] = []

    def paths() -> Iterator[Path]:
        for name in "abc":
            taken.append(Path(name))
            yield taken[-1]

    assert next(ahead(lambda path: path, paths())) == Path("a")
    assert taken == [Path("a")]


def test_the_root_of_an_address() -> None:
    assert root_of(ROOT) == root_of(ROOT / "labels.csv") == ROOT


def test_a_missing_file_is_an_input_error(put: Put) -> None:
    with pytest.raises(InputError, match=r"s3://bucket/data/no\.mp4: no such file in the store"):
        fingerprint(ROOT / "no.mp4")
