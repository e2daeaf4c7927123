import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.trees import plant
from vidlstm.data.walking import SkipReason, walk
from vidlstm.files import frames_of, kind_of, natural_key


def names(root: Path, glob: str | None = None, **options: object) -> list[str]:
    return [path.relative_to(root).as_posix() for path in walk(root, glob, **options)]  # type: ignore[arg-type]


@pytest.fixture
def skipped() -> dict[str, SkipReason]:
    return {}


@pytest.fixture
def on_skip(skipped: dict[str, SkipReason]) -> Callable[[Path, SkipReason], None]:
    def note(path: Path, reason: SkipReason) -> None:
        skipped[path.name] = reason

    return note


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mp4", "video"),
        ("a.AVI", "video"),
        ("a.gif", "video"),
        ("a.b.webm", "video"),
        ("a.jpg", "picture"),
        ("a.TIFF", "picture"),
        ("a.txt", None),
        ("mp4", None),
        (".mp4", None),
        ("a.mp4.part", None),
    ],
)
def test_the_suffix_determines_the_kind(name: str, kind: str | None) -> None:
    assert kind_of(Path(name)) == kind


class TestFrameFolder:
    def test_numbered_pictures_are_a_video_in_the_order_of_their_numbers(self, tmp_path: Path) -> None:
        plant(tmp_path, ["f10.jpg", "f9.jpg", "f1.jpg", "notes.txt", ".hidden"])
        assert kind_of(tmp_path) == "video"
        assert [frame.name for frame in frames_of(tmp_path)] == ["f1.jpg", "f9.jpg", "f10.jpg"]

    @pytest.mark.parametrize(
        "files",
        [
            [],
            ["1.jpg"],
            ["a.jpg", "b.jpg"],
            ["cat_1.jpg", "dog_2.jpg"],
            ["1.jpg", "2.jpg", "clip.mp4"],
            ["1.jpg", "2.jpg", "more/3.jpg"],
        ],
    )
    def test_anything_else_is_not_a_frame_folder(self, tmp_path: Path, files: list[str]) -> None:
        assert kind_of(plant(tmp_path, files)) is None

    def test_is_yielded_as_one_path(self, tmp_path: Path) -> None:
        plant(tmp_path, ["clip/1.jpg", "clip/2.jpg", "clip.mp4"])
        assert names(tmp_path) == ["clip", "clip.mp4"]

    def test_given_directly_is_one_path(self, tmp_path: Path) -> None:
        assert list(walk(plant(tmp_path, ["1.jpg", "2.jpg"]))) == [tmp_path]

    def test_is_a_folder_of_pictures_if_pictures_are_asked_for(self, tmp_path: Path) -> None:
        plant(tmp_path, ["clip/1.jpg", "clip/2.jpg", "a.mp4"])
        assert names(tmp_path, kind="picture") == ["clip/1.jpg", "clip/2.jpg"]


class TestWalk:
    def test_yields_folder_by_folder_in_the_order_of_names(self, tmp_path: Path) -> None:
        plant(tmp_path, ["b.mp4", "a/z.mp4", "a/b/c.avi", "c.jpg"])
        assert names(tmp_path) == ["a/b/c.avi", "a/z.mp4", "b.mp4", "c.jpg"]
        assert names(tmp_path, kind="video") == ["a/b/c.avi", "a/z.mp4", "b.mp4"]

    @pytest.mark.parametrize(
        ("glob", "found"),
        [
            ("*.avi", ["a/b/c.avi"]),
            ("a/*", ["a/b/c.avi", "a/z.mp4"]),
            ("**/*.mp4", ["a/z.mp4", "b.mp4"]),
            ("*.dat", ["d.dat"]),
            ("[ab]*", ["b.mp4"]),
        ],
    )
    def test_a_glob_selects_files_with_any_suffix(self, tmp_path: Path, glob: str, found: list[str]) -> None:
        plant(tmp_path, ["b.mp4", "a/z.mp4", "a/b/c.avi", "d.dat"])
        assert names(tmp_path, glob) == found

    def test_reports_what_it_skips(
        self, tmp_path: Path, skipped: dict[str, SkipReason], on_skip: Callable[[Path, SkipReason], None]
    ) -> None:
        plant(tmp_path, ["a.mp4", ".DS_Store", ".git/x.mp4", "notes.txt"])
        (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
        (tmp_path / "self.mp4").symlink_to("self.mp4")
        (tmp_path / "round").symlink_to(tmp_path)
        os.mkfifo(tmp_path / "pipe.mp4")
        assert names(tmp_path, on_skip=on_skip) == ["a.mp4"]
        assert skipped == {
            ".DS_Store": "hidden file",
            ".git": "hidden file",
            "notes.txt": "no media",
            "gone.mp4": "broken link",
            "self.mp4": "broken link",
            "round": "link loop",
            "pipe.mp4": "special file",
        }

    def test_a_socket_is_not_media(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s.mp4")
            assert list(walk(Path())) == []

    def test_links_to_files_and_folders_are_followed(self, tmp_path: Path) -> None:
        plant(tmp_path, ["pool/a.mp4", "data/b.mp4"])
        (tmp_path / "data/more").symlink_to("../pool")
        (tmp_path / "data/c.mp4").symlink_to("b.mp4")
        assert names(tmp_path / "data") == ["b.mp4", "c.mp4", "more/a.mp4"]

    def test_a_folder_of_the_tree_is_read_once_whatever_the_names_of_its_links(
        self, tmp_path: Path, skipped: dict[str, SkipReason], on_skip: Callable[[Path, SkipReason], None]
    ) -> None:
        plant(tmp_path, ["m/1.mp4", ".store/2.mp4"])
        for link, target in (("a", "m"), ("z", "m"), ("b", ".store"), ("c", ".store")):
            (tmp_path / link).symlink_to(target)
        assert names(tmp_path, on_skip=on_skip) == ["b/2.mp4", "m/1.mp4"]
        assert skipped == {".store": "hidden file", "a": "link loop", "c": "link loop", "z": "link loop"}

    def test_link_loops_end(self, tmp_path: Path) -> None:
        plant(tmp_path, ["a/1.mp4", "b/2.mp4"])
        (tmp_path / "a/b").symlink_to("../b")
        (tmp_path / "b/a").symlink_to("../a")
        (tmp_path / "b/up").symlink_to("..")
        found = names(tmp_path)
        assert {"a/1.mp4", "b/2.mp4"} <= set(found)
        assert len(found) < 10

    def test_an_unreadable_folder_affects_only_itself(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        skipped: dict[str, SkipReason],
        on_skip: Callable[[Path, SkipReason], None],
    ) -> None:
        plant(tmp_path, ["a/1.mp4", "locked/2.mp4", "z/3.mp4"])
        lock(monkeypatch, "locked")
        assert names(tmp_path, on_skip=on_skip) == ["a/1.mp4", "z/3.mp4"]
        assert skipped == {"locked": "unreadable folder"}

    def test_a_path_that_is_not_a_folder_is_yielded_unchanged(self, tmp_path: Path) -> None:
        plant(tmp_path, ["notes.txt"])
        for name in ("notes.txt", "missing.mp4"):
            assert list(walk(tmp_path / name)) == [tmp_path / name]

    @pytest.mark.parametrize("name", [b"new\nline.mp4", b"tab\t.mp4", b"-dash.mp4", b"caf\xe9.mp4", b" .mp4"])
    def test_unusual_names_are_unchanged(self, tmp_path: Path, name: bytes) -> None:
        path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118
        with open(path, "wb"):  # noqa: PTH123
            pass
        assert [os.fsencode(found) for found in walk(tmp_path)] == [path]

    def test_is_lazy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plant(tmp_path, [f"{i}/clip.mp4" for i in range(9)])
        scanned: list[str] = []
        scandir = os.scandir

        def noted(path: Path) -> object:
            scanned.append(path.name)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", noted)
        assert next(iter(walk(tmp_path))) == tmp_path / "0/clip.mp4"
        assert scanned == [tmp_path.name, "0"]


def lock(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make one folder unreadable, even to an administrator."""
    scandir = os.scandir

    def guarded(path: "os.PathLike[str] | str") -> object:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)


def test_natural_order_copes_with_any_mixture() -> None:
    assert sorted(["f10", "f9", "10", "9b", "f", "²", "f09"], key=natural_key) == [
        *("9b", "10", "f", "f09", "f9", "f10", "²"),
    ]
