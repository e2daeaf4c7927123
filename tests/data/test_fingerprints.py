import os
import shutil
from pathlib import Path

import pytest

from tests.data.trees import plant
from vidlstm.data.fingerprints import BLOCK, fingerprint, full_hash
from vidlstm.errors import FailureCode, InputError


def test_a_copy_has_the_same_fingerprint_under_any_name(tmp_path: Path) -> None:
    a, b = tmp_path / "a.mp4", tmp_path / "elsewhere.bin"
    a.write_bytes(os.urandom(5 * BLOCK))
    shutil.copy(a, b)
    assert fingerprint(a) == fingerprint(b)
    assert full_hash(a) == full_hash(b)


@pytest.mark.parametrize("size", [0, 1, BLOCK, 3 * BLOCK, 3 * BLOCK + 1, 9 * BLOCK])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_byte_at_the_start_middle_or_end_changes_it(tmp_path: Path, size: int, place: float) -> None:
    path = tmp_path / "a"
    data = bytearray(size)
    path.write_bytes(data)
    before = fingerprint(path)
    if size:
        data[int(place * (size - 1))] = 1
    else:
        data.append(1)
    path.write_bytes(data)
    assert fingerprint(path) != before


def test_only_the_full_hash_notices_a_byte_between_the_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a"
    data = bytearray(9 * BLOCK)
    path.write_bytes(data)
    cheap, full = fingerprint(path), full_hash(path)
    data[2 * BLOCK] = 1
    path.write_bytes(data)
    assert fingerprint(path) == cheap
    assert full_hash(path) != full


def test_it_is_the_same_on_every_machine(tmp_path: Path) -> None:
    plant(tmp_path, ["a"], b"vidlstm")
    assert fingerprint(tmp_path / "a") == "debf1d56a88a93ea915536b0c82b4607"


def test_a_folder_of_frames_is_identified_by_its_frames_in_order(tmp_path: Path) -> None:
    for folder, frames in {"a": b"xyz", "b": b"xyz", "c": b"xzy"}.items():
        for number, byte in enumerate(frames, 9):
            plant(tmp_path, [f"{folder}/{number}.jpg"], bytes([byte]))
    a, b, c = (fingerprint(tmp_path / name) for name in "abc")
    assert a == b != c


def test_unreadable_files_give_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    plant(tmp_path, ["locked"], b"x")
    real = Path.open

    def guarded(self: Path, *args: object, **options: object) -> object:
        if self.name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", guarded)
    for name, code in {
        "missing": FailureCode.NOT_FOUND,
        "pipe": FailureCode.NOT_A_FILE,
        "locked": FailureCode.PERMISSION,
    }.items():
        with pytest.raises(InputError) as caught:
            fingerprint(tmp_path / name)
        assert caught.value.code == code
