"""The feature store: entries are reused if nothing has changed, replaced if it has, and never partial."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from vidlstm.errors import FailureCode
from vidlstm.features import store as features_module
from vidlstm.features.store import (
    FeatureStore,
    StreamFeatures,
    clip_identity,
    default_root,
    entry_key,
)
from vidlstm.records import ClipInfo, Problem

INFO = ClipInfo(num_frames=50, seconds=2.0, width=64, height=48)
CUT = ClipInfo(50, None, 64, 48, Problem(FailureCode.TRUNCATED, "ends after frame 12"))
RECIPE = {"stream": "rgb", "sampling": {"method": "uniform", "num_frames": 16}, "weights": "ab12"}


def features(value: float = 1.0, info: ClipInfo = INFO) -> StreamFeatures:
    return StreamFeatures(np.full((1, 3, 8, 5), value, np.float16), info)


def files_under(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*") if p.is_file())


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a clip")
    return path


class TestIdentity:
    def test_is_stable(self, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = clip_identity(clip)
        assert clip_identity(clip) == before
        monkeypatch.chdir(clip.parent)
        assert clip_identity(Path("clip.mp4")) == before

    def test_changes_when_the_clip_is_touched(self, clip: Path) -> None:
        before = clip_identity(clip)
        status = clip.stat()
        os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
        assert clip_identity(clip) != before

    def test_changes_when_the_content_grows_and_its_time_is_put_back(self, clip: Path) -> None:
        before, status = clip_identity(clip), clip.stat()
        clip.write_bytes(b"another clip")
        os.utime(clip, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert clip_identity(clip) != before

    def test_changes_when_the_clip_moves(self, clip: Path) -> None:
        before = clip_identity(clip)
        assert clip_identity(clip.rename(clip.with_name("other.mp4"))) != before

    def test_of_a_folder_of_frames_changes_with_any_frame(self, tmp_path: Path) -> None:
        folder = tmp_path / "frames"
        folder.mkdir()
        for number in range(3):
            (folder / f"{number}.png").write_bytes(b"frame")
        seen = {clip_identity(folder)}
        os.utime(folder / "1.png", ns=(0, 0))
        seen.add(clip_identity(folder))
        (folder / "3.png").write_bytes(b"frame")
        seen.add(clip_identity(folder))
        (folder / "3.png").rename(folder / "4.png")
        seen.add(clip_identity(folder))
        assert len(seen) == 4

    def test_changes_when_two_clips_of_one_size_and_time_are_swapped(self, tmp_path: Path) -> None:
        names = ("a.mp4", "b.mp4")
        for name in names:
            (tmp_path / name).write_bytes(name.encode())
            os.utime(tmp_path / name, ns=(0, 0))
        before = [clip_identity(tmp_path / name) for name in names]
        (tmp_path / "a.mp4").rename(tmp_path / "c.mp4")
        (tmp_path / "b.mp4").rename(tmp_path / "a.mp4")
        (tmp_path / "c.mp4").rename(tmp_path / "b.mp4")
        after = [clip_identity(tmp_path / name) for name in names]
        assert not set(before) & set(after)

    @pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of the last status change")
    @pytest.mark.parametrize("is_frame", [False, True])
    def test_changes_when_one_is_copied_over_the_other_with_its_time(
        self, tmp_path: Path, is_frame: bool
    ) -> None:
        (tmp_path / "clip").mkdir()
        clip, other = tmp_path / "clip/1.png", tmp_path / "other.png"
        for file in (clip, other):
            file.write_bytes(file.name[:1].encode())
            os.utime(file, ns=(0, 0))
        path = clip.parent if is_frame else clip
        before = clip_identity(path)
        shutil.copy2(other, clip)
        assert clip.stat().st_mtime_ns == 0
        assert clip_identity(path) != before

    def test_is_none_for_a_missing_clip(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            clip_identity(tmp_path / "gone.mp4")


class TestKey:
    def test_changes_with_the_clip_and_with_every_setting_at_any_depth(self) -> None:
        changes = (
            {"stream": "motion"}, {"weights": "ab13"}, {"version": 2},
            {"sampling": {"method": "uniform", "num_frames": 8}},
        )  # fmt: skip
        keys = [entry_key("a", RECIPE), entry_key("b", RECIPE)]
        keys += [entry_key("a", {**RECIPE, **change}) for change in changes]
        assert len(set(keys)) == len(keys)

    def test_does_not_change_with_the_order_of_settings(self) -> None:
        assert entry_key("a", dict(reversed(RECIPE.items()))) == entry_key("a", RECIPE)

    def test_takes_names_that_are_not_utf8(self) -> None:
        assert len(entry_key(os.fsdecode(b"\xff\xfe.mp4"), RECIPE)) == 32


class TestEntries:
    @pytest.mark.parametrize("info", [INFO, CUT], ids=["whole", "truncated"])
    def test_are_read_back_unchanged(self, store: FeatureStore, info: ClipInfo) -> None:
        key = entry_key("a", RECIPE)
        assert store.get(key) is None
        store.put(key, features(0.5, info))
        found = store.get(key)
        assert found is not None
        np.testing.assert_array_equal(found.values, features(0.5).values)
        assert found.values.dtype == np.float16
        assert found.info == info
        assert store.write_error is None

    def test_of_strided_arrays_have_the_right_values(self, store: FeatureStore) -> None:
        values = np.arange(24, dtype=np.float16).reshape(1, 2, 3, 4).swapaxes(1, 2)
        store.put("ab" * 16, StreamFeatures(values, INFO))
        found = store.get("ab" * 16)
        assert found is not None
        np.testing.assert_array_equal(found.values, values)

    @pytest.mark.parametrize("share", [0, 0.05, 0.5, 0.99])
    def test_are_not_read_if_partly_written(self, store: FeatureStore, share: float) -> None:
        key = entry_key("a", RECIPE)
        store.put(key, features())
        (entry,) = files_under(store.root)
        content = entry.read_bytes()
        entry.write_bytes(content[: int(len(content) * share)])
        assert store.get(key) is None
        store.put(key, features(2))  # and can be replaced
        found = store.get(key)
        assert found is not None
        assert found.values.max() == 2

    def test_are_not_read_if_damaged(self, store: FeatureStore) -> None:
        """Damage to any byte of the file, another shape, another entry's file, invalid JSON."""
        from safetensors.numpy import save

        key, other = entry_key("a", RECIPE), entry_key("b", RECIPE)
        store.put(key, features(0.5))
        (entry,) = files_under(store.root)
        content = entry.read_bytes()
        for place in range(len(content)):
            entry.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            found = store.get(key)
            assert found is None or (found.values == 0.5).all()  # a flipped bit in the padding does no harm
        metadata = {"info": json.dumps({"problem": None}), "checksum": "0" * 32}
        for hostile in (
            content.replace(b"[1,3,8,5]", b"[1,3,5,8]"),
            save({"values": np.full((1, 3, 8, 5), np.nan, np.float16)}, metadata),
            save({"values": features().values}, {**metadata, "info": "[" * 100_000}),
        ):
            assert hostile != content
            entry.write_bytes(hostile)
            assert store.get(key) is None
        entry.write_bytes(content)
        swapped = store.root / "features" / other[:2] / f"{other}.safetensors"
        swapped.parent.mkdir(exist_ok=True)
        shutil.copy(entry, swapped)
        assert store.get(other) is None

    def test_are_not_read_if_from_another_program(self, store: FeatureStore) -> None:
        from safetensors.numpy import save

        key = entry_key("a", RECIPE)
        store.put(key, features())
        (entry,) = files_under(store.root)
        for content in (
            save({"values": np.zeros(3)}),
            save({"other": np.zeros(3)}, {"info": "{}"}),
            save({"values": np.zeros(3)}, {"info": "[1]"}),
            save({"values": np.zeros(3)}, {"info": '{"problem": {"code": "?"}}'}),
            b"text",
        ):
            entry.write_bytes(content)
            assert store.get(key) is None

    def test_contain_no_code(self, store: FeatureStore) -> None:
        store.put("ab" * 16, features())
        (entry,) = files_under(store.root)
        assert entry.suffix == ".safetensors"
        assert entry.read_bytes()[8:9] == b"{"  # a JSON header, then numbers

    def test_of_different_streams_are_independent(self, store: FeatureStore) -> None:
        keys = [entry_key("a", {**RECIPE, "stream": stream}) for stream in ("rgb", "motion")]
        store.put(keys[0], features(1))
        assert store.get(keys[1]) is None
        store.put(keys[1], features(2))
        assert [found.values.max() for key in keys if (found := store.get(key))] == [1, 2]


class TestTrouble:
    def test_a_full_disk_is_recorded_and_does_not_end_the_run(
        self, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(features_module, "write_atomically", full)
        store.put("ab" * 16, features())
        assert store.write_error is not None
        assert store.write_error.errno == errno.ENOSPC
        assert store.get("ab" * 16) is None

    def test_a_location_that_cannot_be_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        store = FeatureStore(tmp_path / "file")
        assert store.get("ab" * 16) is None
        store.put("ab" * 16, features())
        assert store.write_error is not None
        assert store.measure() == (0, 0)

    def test_two_writers_of_one_entry_leave_a_complete_entry(self, tmp_path: Path) -> None:
        root = tmp_path / "store"

        def write_and_read(number: int) -> None:
            store = FeatureStore(root)
            for _ in range(20):
                store.put("ab" * 16, features(number))
                found = store.get("ab" * 16)
                assert found is not None
                assert found.values.min() == found.values.max()

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(write_and_read, n) for n in range(4)]:
                done.result()
        assert len(files_under(root)) == 1

    @pytest.mark.skipif(os.name == "nt", reason="needs kill -9")
    def test_kill_9_leaves_no_partial_entry(self, tmp_path: Path) -> None:
        script = f"""
import itertools, numpy as np
from pathlib import Path
from vidlstm.features.store import FeatureStore, StreamFeatures
from vidlstm.records import ClipInfo
store = FeatureStore(Path({str(tmp_path)!r}))
values = np.ones((1, 3, 16, 20000), np.float16)
for number in itertools.count():
    store.put(f"{{number % 50:032x}}", StreamFeatures(values, ClipInfo(1, None, 1, 1)))
    if number == 3:
        print("under way", flush=True)
"""
        store = FeatureStore(tmp_path)
        for pause in (0.0, 0.013):
            writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(pause)
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
            entries = [p for p in files_under(tmp_path) if not p.name.startswith(".")]
            assert len(entries) >= 4
            for entry in entries:
                found = store.get(entry.stem)
                assert found is not None
                assert found.values.shape == (1, 3, 16, 20000)
        assert store.measure()[0] == len(entries)
        store.clear()
        assert files_under(tmp_path) == []  # including the partly written file


class TestHousekeeping:
    def test_size_and_count_are_reported(self, store: FeatureStore) -> None:
        assert store.measure() == (0, 0)
        for number in range(3):
            store.put(entry_key(str(number), RECIPE), features())
        count, size = store.measure()
        assert count == 3
        assert size == sum(p.stat().st_size for p in files_under(store.root))
        assert size > 3 * features().values.nbytes

    def test_clear_removes_only_its_own_files(self, store: FeatureStore) -> None:
        key = entry_key("a", RECIPE)
        store.put(key, features())
        others = [
            store.root / "holiday.mp4",
            store.root / "features" / "notes.txt",
            store.root / "features" / "thesis" / "data.safetensors",
            store.root / "features" / key[:2] / "mine.safetensors",
        ]
        for other in others:
            other.parent.mkdir(exist_ok=True)
            other.write_bytes(b"precious")
        store.clear()
        assert files_under(store.root) == sorted(others)
        assert store.get(key) is None

    def test_clear_of_a_missing_store_works(self, store: FeatureStore) -> None:
        store.clear()
        assert store.measure() == (0, 0)

    def test_default_location_is_the_user_s_cache_folder_or_the_environment_variable(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("VIDLSTM_CACHE_DIR", str(tmp_path / "here"))
        assert default_root() == FeatureStore().root == tmp_path / "here"
        for unset in ("", None):
            if unset is None:
                monkeypatch.delenv("VIDLSTM_CACHE_DIR")
            else:
                monkeypatch.setenv("VIDLSTM_CACHE_DIR", unset)
            assert default_root() == Path(platformdirs.user_cache_path("vidlstm"))

    def test_the_folder_is_created_with_the_first_entry(self, store: FeatureStore) -> None:
        store.get("ab" * 16)
        store.measure()
        store.clear()
        assert not store.root.exists()
