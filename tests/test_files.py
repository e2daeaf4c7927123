"""Files are written atomically, and are on disk when the call returns."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from vidlstm.files import make_folder, write_atomically

posix = pytest.mark.skipif(os.name == "nt", reason="Windows flushes no folder")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record flushes and renames, in order."""
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(handle: int) -> None:
        seen.append("flush folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "flush file")
        fsync(handle)

    def recorded_replace(source: str, target: str) -> None:
        seen.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return seen


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestWriteAtomically:
    def test_replaces_an_existing_file(self, tmp_path: Path) -> None:
        for content in (b"one", b"two"):
            write_atomically(tmp_path / "f", content)
        assert (tmp_path / "f").read_bytes() == b"two"
        assert names(tmp_path) == ["f"]

    @posix
    def test_permissions_follow_the_umask(self, tmp_path: Path) -> None:
        for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
            before = os.umask(mask)
            try:
                write_atomically(tmp_path / "f", b"")
            finally:
                os.umask(before)
            assert (tmp_path / "f").stat().st_mode & 0o777 == mode

    @posix
    def test_content_is_flushed_before_the_rename_and_the_name_after_it(
        self, tmp_path: Path, calls: list[str]
    ) -> None:
        write_atomically(tmp_path / "f", b"content")
        assert calls == ["flush file", "rename", "flush folder"]

    def test_reproducible_files_are_not_flushed(self, tmp_path: Path, calls: list[str]) -> None:
        write_atomically(tmp_path / "f", b"content", durable=False)
        assert calls == ["rename"]

    @pytest.mark.parametrize("call", ["replace", "fsync", "open"])
    def test_a_disk_that_fills_up_leaves_the_old_content_and_the_error_names_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        target = tmp_path / "entry"
        target.write_bytes(b"as it was")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left") as caught:
            write_atomically(target, b"half")
        assert caught.value.filename == str(target)
        monkeypatch.undo()
        assert names(tmp_path) == ["entry"]
        assert target.read_bytes() == b"as it was"

    def test_a_name_may_have_the_maximum_length(self, tmp_path: Path) -> None:
        for name in ("n" * 250, "ü" * 120):
            write_atomically(tmp_path / name, b"content")
            assert (tmp_path / name).read_bytes() == b"content"


class TestMakeFolder:
    def test_makes_missing_folders(self, tmp_path: Path) -> None:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()

    @posix
    def test_flushes_the_parent_of_each_folder_that_it_makes(self, tmp_path: Path, calls: list[str]) -> None:
        make_folder(tmp_path / "a" / "b")
        assert calls == ["flush folder", "flush folder"]

    def test_a_file_in_the_way_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"")
        with pytest.raises(OSError, match="a"):
            make_folder(tmp_path / "a" / "b")
