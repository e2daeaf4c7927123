"""Extraction: each clip is decoded and encoded once, and again only if something has changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.tiny import write_action
from vidlstm.config import ModelConfig
from vidlstm.engine.extraction import source as extraction
from vidlstm.engine.extraction.extractor import Extracted, Extractor
from vidlstm.engine.extraction.processes.jobs import Job
from vidlstm.engine.extraction.processes.pool import DecodePool
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.extraction.source import LocalSource
from vidlstm.errors import FailureCode, InputError
from vidlstm.features.store import FeatureStore
from vidlstm.models.backends.torch import TorchEncoder
from vidlstm.models.encoders import Encoder
from vidlstm.settings import parse_streams


class Pool:
    """Runs the jobs in this process, and counts them; worker processes have separate tests."""

    def __init__(self) -> None:
        self.jobs: list[Path] = []

    def run(self, items: Iterable[Any], job_of: Callable[[Any], Job[Any] | None]) -> Iterator[Any]:
        for item in items:
            job = job_of(item)
            result = None
            if job is not None:
                self.jobs.append(job.path)
                try:
                    result = job.work()
                except InputError as error:
                    result = error
            yield item, result


class Counting(TorchEncoder):
    """A small encoder that records the number of pictures in each call."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        stages = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 64))
        super().__init__(Encoder(stages, (127.5,) * 3, (63.75,) * 3, 64), num_threads=2)
        self.calls: list[int] = []

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.calls.append(len(pictures))
        return super().__call__(pictures)


def encoder(seed: int = 0) -> Counting:
    return Counting(seed)


def request(streams: str = "rgb+motion", views: int = 2, **changes: Any) -> ReadRequest:
    config = ModelConfig("video", ("rise", "sink"), parse_streams(streams), mirror=False)
    sampling = {"num_frames": 6}
    return replace(
        ReadRequest.of(config.changed(encoder={"size": 32}, sampling=sampling), views=views), **changes
    )


def extract(
    paths: Iterable[Path], wanted: ReadRequest, store: FeatureStore | None = None, cnn: Counting | None = None
) -> tuple[list[Extracted], int]:
    """Return the results, and the number of files that were read."""
    pool = Pool()
    cnn = cnn or (encoder() if "rgb" in wanted.streams else None)
    extractor = Extractor(wanted, LocalSource(wanted, cnn, cast(DecodePool, pool)), store)
    return list(extractor.extract(paths)), len(pool.jobs)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    return [write_action(tmp_path / "clips" / f"{n}.avi", "rise" if n % 2 else "sink", n) for n in range(3)]


def equal(one: Extracted, other: Extracted) -> bool:
    assert one.features is not None
    assert other.features is not None
    pairs = [(one.features.sequences, other.features.sequences)]
    pairs.append((one.features.summaries, other.features.summaries))
    return all(
        mine.keys() == theirs.keys() and all(np.array_equal(mine[s], theirs[s]) for s in mine)
        for mine, theirs in pairs
    )


class TestFeatures:
    def test_have_the_shapes_of_their_streams(self, clips: list[Path]) -> None:
        (first, *_), _ = extract(clips, request("rgb+motion+colour"))
        assert first.features is not None
        assert first.features.sequences["rgb"].shape == (1, 2, 3, 64)  # every second moment
        assert first.features.sequences["motion"].shape[:3] == (1, 2, 6)
        assert first.features.summaries["colour"].ndim == 2
        assert first.info is not None
        assert (first.info.num_frames, first.info.width, first.info.height) == (12, 64, 48)

    def test_come_one_per_path_in_order(self, clips: list[Path]) -> None:
        paths = [clips[2], clips[0], clips[2], clips[1]]
        results, _ = extract(paths, request("motion"))
        assert [r.path for r in results] == paths
        assert equal(results[0], results[2])
        assert not equal(results[0], results[1])

    def test_do_not_depend_on_which_clips_are_encoded_together(
        self, clips: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        together, _ = extract(clips, request("rgb"))
        monkeypatch.setattr(extraction, "_READY_FRAMES", 1)
        counting = encoder()
        apart, _ = extract(clips, request("rgb"), None, counting)
        assert len(counting.calls) == len(clips)
        for one, other in zip(together, apart, strict=True):
            assert one.features is not None
            assert other.features is not None
            np.testing.assert_allclose(
                one.features.sequences["rgb"], other.features.sequences["rgb"], atol=2e-3
            )

    def test_of_several_clips_are_encoded_at_once(self, clips: list[Path]) -> None:
        counting = encoder()
        extract(clips * 10, request("rgb"), None, counting)
        assert max(counting.calls) > 12  # a single clip has at most six
        assert len(counting.calls) < len(clips * 10)

    def test_a_moment_shared_by_views_is_encoded_once(self, clips: list[Path]) -> None:
        counting = encoder()
        extract(clips[:1], request("rgb", views=9), None, counting)
        assert sum(counting.calls) <= 12  # the clip has no more frames

    def test_are_mirrored_only_if_the_model_says_so(self, clips: list[Path]) -> None:
        (plain, *_), _ = extract(clips, request("motion"))
        (both, *_), _ = extract(clips, request("motion", mirror=True))
        assert plain.features is not None
        assert both.features is not None
        assert (len(plain.features.sequences["motion"]), len(both.features.sequences["motion"])) == (1, 2)
        np.testing.assert_array_equal(
            plain.features.sequences["motion"][0], both.features.sequences["motion"][0]
        )


class TestFailures:
    """Faults 7 and 8 of the peers: one bad file ends the run, or is silently replaced."""

    def test_take_the_place_of_the_clip_with_the_reason(self, clips: list[Path], tmp_path: Path) -> None:
        (tmp_path / "bad.avi").write_bytes(b"nothing that moves")
        (tmp_path / "empty.avi").write_bytes(b"")
        paths = [clips[0], tmp_path / "bad.avi", tmp_path / "gone.avi", tmp_path / "empty.avi", clips[1]]
        results, _ = extract(paths, request())
        assert [r.path for r in results] == paths
        codes = [r.problem.code if r.problem else None for r in results]
        assert codes == [
            None, FailureCode.NOT_A_VIDEO, FailureCode.NOT_FOUND, FailureCode.EMPTY_FILE, None,
        ]  # fmt: skip
        assert [r.features is None for r in results] == [False, True, True, True, False]

    def test_leave_nothing_in_the_store(self, store: FeatureStore, tmp_path: Path) -> None:
        (tmp_path / "bad.avi").write_bytes(b"nothing that moves")
        for _ in range(2):
            (result,), reads = extract([tmp_path / "bad.avi"], request(), store)
            assert result.problem is not None
            assert reads == 1
        assert store.measure()[0] == 0


class TestStore:
    def test_a_second_run_reads_and_encodes_nothing(self, clips: list[Path], store: FeatureStore) -> None:
        first, reads = extract(clips, request(), store)
        assert (reads, store.measure()[0]) == (3, 6)
        counting = encoder()
        second, reads = extract(clips, request(), store, counting)
        assert (reads, sum(counting.calls)) == (0, 0)
        assert all(map(equal, first, second))
        assert [r.info for r in first] == [r.info for r in second]

    def test_without_a_store_every_run_reads(self, clips: list[Path]) -> None:
        assert [extract(clips, request("motion"))[1] for _ in range(2)] == [3, 3]

    def test_only_a_touched_file_is_read_again(self, clips: list[Path], store: FeatureStore) -> None:
        extract(clips, request("motion"), store)
        os.utime(clips[1], ns=(0, 10**18))
        assert extract(clips, request("motion"), store)[1] == 1
        assert extract(clips, request("motion"), store)[1] == 0

    def test_a_replaced_file_gives_its_new_features(self, clips: list[Path], store: FeatureStore) -> None:
        before, _ = extract(clips, request("motion"), store)
        shutil.copy(clips[1], clips[0])
        after, _ = extract(clips, request("motion"), store)
        assert equal(after[0], before[1])
        assert not equal(after[0], before[0])

    @pytest.mark.parametrize(
        "changed",
        [
            {"views": 3}, {"size": 40}, {"mirror": True},
            {"sampling": request().sampling.__class__("uniform", 4)},
            {"sampling": request().sampling.__class__("fps", 6)},
        ],
        ids=str,
    )  # fmt: skip
    def test_a_changed_option_reads_again(
        self, changed: dict[str, Any], clips: list[Path], store: FeatureStore
    ) -> None:
        extract(clips, request("rgb"), store)
        _, reads = extract(clips, request("rgb", **changed), store)
        assert reads == 3
        assert extract(clips, request("rgb"), store)[1] == 0  # existing entries are still there

    def test_other_weights_encode_again(self, clips: list[Path], store: FeatureStore) -> None:
        first, _ = extract(clips, request("rgb"), store, encoder(0))
        second, reads = extract(clips, request("rgb"), store, encoder(1))
        assert reads == 3
        assert not equal(first[0], second[0])

    def test_an_added_stream_computes_only_that_stream(self, clips: list[Path], store: FeatureStore) -> None:
        extract(clips, request("rgb"), store)
        counting = encoder()
        _, reads = extract(clips, request("rgb+motion+texture"), store, counting)
        assert (reads, sum(counting.calls)) == (3, 0)
        assert store.measure()[0] == 9
        assert extract(clips, request("motion+texture"), store)[1] == 0

    def test_entries_from_several_runs_equal_those_of_one_run(
        self, clips: list[Path], store: FeatureStore
    ) -> None:
        whole, _ = extract(clips, request("rgb+motion+colour"))
        for streams in ("motion", "rgb+colour"):
            extract(clips, request(streams), store)
        pieced, reads = extract(clips, request("rgb+motion+colour"), store)
        assert reads == 0
        assert all(map(equal, whole, pieced))

    @pytest.mark.parametrize("stored", ["rgb", "motion"])
    def test_streams_come_in_the_order_of_the_request(
        self, stored: str, clips: list[Path], store: FeatureStore
    ) -> None:
        """Training draws random numbers for them in this order."""
        extract(clips, request(stored), store)
        for _ in range(2):  # one stream from the store, then both
            for item in extract(clips, request(), store)[0]:
                assert item.features is not None
                assert list(item.features.sequences) == ["rgb", "motion"]

    def test_a_full_disk_does_not_end_the_run(
        self, clips: list[Path], store: FeatureStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("vidlstm.features.store.write_atomically", full)
        results, _ = extract(clips, request("motion"), store)
        assert all(r.features is not None for r in results)
        assert store.write_error is not None

    def test_a_damaged_entry_is_made_again(self, clips: list[Path], store: FeatureStore) -> None:
        first, _ = extract(clips, request("motion"), store)
        entry = next((store.root / "features").glob("*/*"))
        entry.write_bytes(entry.read_bytes()[:100])
        second, reads = extract(clips, request("motion"), store)
        assert reads == 1
        assert all(map(equal, first, second))
