"""Batches of features: masks, views, mirrored clips. A short clip has fewer steps, without repeats."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.features.batches import Batch, ClipFeatures, choose, training_batch, view_batch

SUBSETS, VIEWS, WIDTH = 2, 3, 2


def clip(steps: int, number: int = 0, sides: int = SUBSETS, views: int = VIEWS) -> ClipFeatures:
    """Make a clip whose values are four digits: number of the clip, mirrored or not, view and step."""
    side, view, step = np.ogrid[:sides, :views, :steps]
    places = (1000 * number + 100 * side + 10 * view + step).astype(np.float16)
    sequences = {
        "motion": np.repeat(places[..., None], WIDTH, axis=-1),
        "rgb": np.repeat(places[:, :, ::2, None], WIDTH + 1, axis=-1),
    }
    return ClipFeatures(sequences, {"colour": np.array([[number], [number + 0.5]], np.float16)[:sides]})


class TestViewBatch:
    def test_pads_to_the_longest_with_zeros_and_a_mask(self) -> None:
        batch = view_batch([clip(4), clip(1, 1), clip(3, 2)], index=0)
        assert batch.sequences["motion"].shape == (3, 4, WIDTH)
        assert batch.sequences["motion"][..., 0].tolist() == [
            [0, 1, 2, 3], [1000, 0, 0, 0], [2000, 2001, 2002, 0],
        ]  # fmt: skip
        assert batch.masks["motion"].tolist() == [
            [True, True, True, True], [True, False, False, False], [True, True, True, False],
        ]  # fmt: skip

    def test_each_stream_has_its_own_steps(self) -> None:
        batch = view_batch([clip(5), clip(2, 1)], index=0)
        assert batch.sequences["rgb"].shape == (2, 3, WIDTH + 1)
        assert batch.masks["rgb"].tolist() == [[True, True, True], [True, False, False]]
        assert batch.masks["motion"].sum(1).tolist() == [5, 2]

    def test_fewer_frames_give_fewer_steps_without_repeats(self) -> None:
        """Fault 11 of the peers: clips that are too short are left out, or padded with repeated frames."""
        batch = view_batch([clip(1), clip(16, 1)], index=0)
        assert batch.masks["motion"].sum(1).tolist() == [1, 16]
        assert not batch.sequences["motion"][0, 1:].any()

    def test_values_keep_their_stored_type(self) -> None:
        pixels = ClipFeatures({"rgb": np.full((1, 1, 2, 4, 4, 3), 200, np.uint8)}, clip(2).summaries)
        for one, stored in ((clip(2), np.float16), (pixels, np.uint8)):
            batch = view_batch([one])
            assert {a.dtype for a in batch.sequences.values()} == {np.dtype(stored)}
            assert {a.dtype for a in batch.masks.values()} == {np.dtype(np.bool_)}
            assert {a.dtype for a in batch.summaries.values()} == {np.dtype(np.float16)}

    @pytest.mark.parametrize(("view", "expected"), [(0, 0), (1, 10), (2, 20), (None, 10), (7, 20)])
    def test_takes_the_requested_view_or_the_middle_or_last_one(
        self, view: int | None, expected: int
    ) -> None:
        assert view_batch([clip(1)], view).sequences["motion"][0, 0, 0] == expected

    def test_index_1_is_the_mirrored_clip(self) -> None:
        batch = view_batch([clip(2, 1)], index=0, mirrored=True)
        assert batch.sequences["motion"][0, :, 0].tolist() == [1100, 1101]
        assert batch.summaries["colour"].tolist() == [[1.5]]

    def test_a_stream_without_mirrored_features_gives_the_plain_ones(self) -> None:
        batch = view_batch([clip(1, 1, sides=1)], index=0, mirrored=True)
        assert batch.sequences["motion"][0, 0, 0] == 1000
        assert batch.summaries["colour"].tolist() == [[1]]

    def test_changes_nothing_and_is_the_same_each_time(self) -> None:
        clips = [clip(4), clip(2, 1)]
        first, second = view_batch(clips), view_batch(clips)
        first.sequences["motion"][:] = -1
        np.testing.assert_array_equal(second.sequences["motion"], view_batch(clips).sequences["motion"])

    def test_a_clip_without_summary_streams(self) -> None:
        assert view_batch([ClipFeatures(clip(2).sequences, {})]).summaries == {}


def draw_batch(
    clips: list[ClipFeatures], rng: np.random.Generator, *, mix_views: bool, mirror: bool
) -> Batch:
    return training_batch(clips, choose(clips, rng, mix_views=mix_views, mirror=mirror))


def drawn(mix_views: bool, mirror: bool, rounds: int = 60, steps: int = 4) -> NDArray[np.int64]:
    """Return mirrored (0 or 1), view and step of the features drawn from one clip, `(rounds, steps, 3)`."""
    rng = np.random.default_rng(0)
    rows = [
        draw_batch([clip(steps)], rng, mix_views=mix_views, mirror=mirror).sequences["motion"][0, :, 0]
        for _ in range(rounds)
    ]
    values = np.array(rows).astype(np.int64)
    return np.stack([values // 100, values // 10 % 10, values % 10], axis=-1)


class TestTrainingBatch:
    @pytest.mark.parametrize("mix_views", [False, True])
    @pytest.mark.parametrize("mirror", [False, True])
    def test_steps_stay_in_their_order_and_a_clip_is_mirrored_as_a_whole(
        self, mirror: bool, mix_views: bool
    ) -> None:
        seen = drawn(mix_views, mirror)
        assert (seen[..., 2] == np.arange(4)).all()
        assert (seen[..., 0] == seen[:, :1, 0]).all()
        shares = seen[:, 0, 0].mean()
        assert 0.3 < shares < 0.7 if mirror else shares == 0

    def test_uniform_moments_are_chosen_step_by_step(self) -> None:
        views = drawn(mix_views=True, mirror=False)[..., 1]
        assert {len(set(row)) for row in views.tolist()} == {1, 2, 3}
        for step in range(4):
            assert set(views[:, step].tolist()) == {0, 1, 2}

    def test_dense_runs_are_taken_whole(self) -> None:
        views = drawn(mix_views=False, mirror=False)[..., 1]
        assert (views == views[:, :1]).all()
        assert set(views[:, 0].tolist()) == {0, 1, 2}

    def test_all_streams_are_mirrored_together(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(20):
            batch = draw_batch([clip(4)], rng, mix_views=True, mirror=True)
            sides = {int(batch.sequences[s][0, 0, 0]) // 100 for s in ("motion", "rgb")}
            sides.add(int(batch.summaries["colour"][0, 0] * 2))
            assert len(sides) == 1

    def test_the_same_seed_gives_the_same_batch_and_another_seed_another(self) -> None:
        clips = [clip(8, number) for number in range(4)]
        first, again, other = (
            draw_batch(clips, np.random.default_rng(s), mix_views=True, mirror=True).sequences["motion"]
            for s in (3, 3, 4)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    def test_pads_like_scoring(self) -> None:
        rng = np.random.default_rng(0)
        batch = draw_batch([clip(4), clip(2, 1)], rng, mix_views=True, mirror=True)
        assert batch.masks["motion"].tolist() == [[True] * 4, [True, True, False, False]]
        assert not batch.sequences["motion"][1, 2:].any()
