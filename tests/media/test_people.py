"""Detection and tracking of people, with fake networks that know their positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vidlstm.media.people import detection, packing, regions
from vidlstm.media.people.regions import Region
from vidlstm.media.people.tracking import Tracker, follow

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def answers(*people: tuple[int, float, float, float], logit: float = 3.0) -> tuple[Floats, Floats]:
    """Return outputs of the detector: anchor, position (x, y) of the head, and length of the body below."""
    given, logits = np.zeros((2254, 12), np.float32), np.full(2254, -9.0, np.float32)
    for anchor, x, y, body in people:
        middle = detection._ANCHORS[anchor] * 224
        points = np.array([[x, y], [20, 20], [x, y + body], [x, y - body / 4], [0, 0], [0, 0]], np.float32)
        points[[0, 2, 3, 4, 5]] -= middle
        given[anchor], logits[anchor] = points.ravel(), logit
    return given, logits


class TestAnchors:
    def test_are_two_per_layer_and_cell(self) -> None:
        anchors = detection._anchors()
        assert anchors.shape == (28 * 28 * 2 + 14 * 14 * 2 + 7 * 7 * 6, 2)
        np.testing.assert_allclose(
            anchors[[0, 1, 2, 1568, 1960]] * 224, [[4, 4], [4, 4], [12, 4], [8, 8], [16, 16]]
        )


class TestDetections:
    def test_are_in_the_picture_whatever_its_shape(self) -> None:
        picture = np.zeros((100, 400, 3), np.uint8)
        square, scale, shift = detection.letterbox(picture)
        assert square.shape == (224, 224, 3)
        (found,) = detection.decode(*answers((500, 112.0, 112.0, 14.0)), scale, shift)
        assert (found.region.x, found.region.y) == pytest.approx((200, 50 + 25))
        assert found.box == pytest.approx([200 - 10 / 0.56, 50 - 10 / 0.56, 200 + 10 / 0.56, 50 + 10 / 0.56])
        assert found.score == pytest.approx(1 / (1 + math.exp(-3)))

    def test_of_one_person_are_averaged(self) -> None:
        found = detection.decode(
            *answers((500, 100, 100, 40), (502, 104, 100, 40)), 1, np.zeros(2, np.float32)
        )
        assert len(found) == 1
        assert found[0].region.x == pytest.approx(102)

    def test_of_two_people_stay_separate(self) -> None:
        found = detection.decode(
            *answers((500, 60, 100, 40), (502, 150, 100, 40)), 1, np.zeros(2, np.float32)
        )
        assert sorted(round(f.region.x) for f in found) == [60, 150]

    def test_are_none_without_people(self) -> None:
        assert detection.decode(*answers(), 1, np.zeros(2, np.float32)) == []


class TestRegions:
    @pytest.mark.parametrize("angle", [0.0, 0.5, math.pi / 2, math.pi, -2.0])
    def test_points_in_a_region_are_mapped_back_to_the_picture(self, angle: float) -> None:
        picture = np.zeros((240, 320, 3), np.uint8)
        picture[118:123, 178:183] = 255  # around (180, 120)
        region = Region(170, 110, 120, angle)
        rows, columns = np.nonzero(regions.cut(picture, region)[..., 0] > 128)
        found = np.array([[columns.mean() + 0.0, rows.mean()]], np.float32)
        assert regions.place(found, region)[0] == pytest.approx([180, 120], abs=0.6)

    def test_a_body_is_upright_in_its_region(self) -> None:
        for towards in ((0, -1), (1, 0), (0.6, 0.8)):
            middle = np.array([100, 100], np.float32)
            region = regions.region_between(middle, middle + 50 * np.array(towards, np.float32))
            top = np.array([[128, 128 - 128 / 1.25]], np.float32)
            assert regions.place(top, region)[0] == pytest.approx(middle + 50 * np.array(towards), abs=1e-3)
            assert region.side == pytest.approx(125)


class Stage:
    """Fake networks for pictures in which a body is a spot of one grey level, 60 pixels above its feet.

    The detector sees only spots brighter than `plain`, the landmark network sees all.
    """

    def __init__(self, plain: int = 100) -> None:
        self.plain = plain
        self.looks = 0

    def picture(self, *bodies: tuple[int, int]) -> Pixels:
        """Return a picture with a body at each (x, grey level)."""
        picture = np.full((224, 224, 3), 20, np.uint8)
        for x, level in bodies:
            picture[90:130, x - 8 : x + 8] = level
        return picture

    def detect(self, square: Pixels) -> tuple[Floats, Floats]:
        self.looks += 1
        row = square[110, :, 0].astype(int)
        starts = [x for x in range(1, 224) if row[x] > self.plain >= row[x - 1]]
        return answers(*((400 + 2 * n, float(x + 8), 70.0, 40.0) for n, x in enumerate(starts)))

    def find_points(self, square: Pixels) -> tuple[Floats, float]:
        seen = square[..., 0] > 60
        if not seen.any():
            return np.zeros((39, 3), np.float32), 0.0
        columns = np.nonzero(seen)[1]
        x = columns[np.abs(columns - 128).argsort()[:200]].mean()
        points = np.full((39, 3), 0.9, np.float32)
        points[:, 0], points[:, 1] = x, np.linspace(60, 200, 39)
        points[33, :2], points[34, :2] = (x, 128), (x, 128 - 128 / 1.25)
        return points, 0.95


@pytest.fixture(autouse=True)
def _as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidlstm.media.people.tracking._normalised", list)


def track_of(pictures: list[Pixels], stage: Stage, **settings: int) -> list[dict[int, int]]:
    """Return the position of each person by moment, rounded to 10 pixels."""
    tracks = follow(pictures, stage.detect, stage.find_points, **settings)
    return [{m: round(float(p[0, 0]), -1) for m, p in sorted(t.items())} for t in tracks]  # type: ignore[misc]


class TestFollowing:
    def test_people_keep_their_tracks(self) -> None:
        stage = Stage()
        tracks = track_of([stage.picture((40 + 4 * m, 200), (180 - 2 * m, 200)) for m in range(6)], stage)
        assert sorted(track[0] for track in tracks) == [40, 180]
        assert all(list(track) == list(range(6)) for track in tracks)

    def test_the_detector_is_skipped_while_all_people_are_tracked(self) -> None:
        stage = Stage()
        track_of([stage.picture((60, 200), (160, 200))] * 9, stage, wanted=2, detect_every=4)
        assert stage.looks == 3
        stage = Stage()
        track_of([stage.picture((60, 200))] * 9, stage, wanted=2, detect_every=4)
        assert stage.looks == 9

    def test_a_late_detection_is_tracked_backwards(self) -> None:
        stage = Stage(plain=150)
        pictures = [stage.picture((60, 100))] * 3 + [stage.picture((60, 200))] * 3
        assert track_of(pictures, stage) == [dict.fromkeys(range(6), 60)]

    def test_a_person_hidden_for_some_moments_keeps_the_track(self) -> None:
        stage = Stage()
        pictures = [stage.picture((60, 200))] * 3 + [stage.picture()] * 5 + [stage.picture((60, 200))] * 3
        assert [list(track) for track in track_of(pictures, stage)] == [[0, 1, 2, 8, 9, 10]]

    def test_an_empty_picture_has_no_people(self) -> None:
        stage = Stage()
        assert track_of([stage.picture()] * 3, stage) == []

    def test_a_still_clip_of_one_colour_has_no_people(self) -> None:
        stage = Stage()
        assert track_of([np.zeros((1, 1, 3), np.uint8)], stage) == []


class TestFollowingAFilm:
    def test_people_keep_their_numbers_from_part_to_part(self) -> None:
        stage = Stage()
        tracker = Tracker(stage.detect, stage.find_points)
        whole: dict[int, list[float]] = {0: [], 1: []}
        for start in range(0, 12, 4):
            pictures = [stage.picture((40 + 4 * m, 200), (180 - 2 * m, 200)) for m in range(start, start + 4)]
            for number, track in tracker.follow(pictures).items():
                whole[number] += [float(track[m][0, 0]) for m in range(4)]
        left, right = sorted(whole.values())
        np.testing.assert_allclose(left, [40 + 4 * m for m in range(12)], atol=10)
        np.testing.assert_allclose(right, [180 - 2 * m for m in range(12)], atol=10)

    def test_a_person_who_returns_much_later_is_a_new_person(self) -> None:
        stage = Stage()
        tracker = Tracker(stage.detect, stage.find_points)
        assert list(tracker.follow([stage.picture((60, 200))] * 2)) == [0]
        assert tracker.follow([stage.picture()] * 20) == {}
        assert list(tracker.follow([stage.picture((60, 200))] * 2)) == [1]

    def test_a_late_detection_is_tracked_back_to_the_start_of_its_part(self) -> None:
        stage = Stage(plain=150)
        tracker = Tracker(stage.detect, stage.find_points)
        assert tracker.follow([stage.picture((60, 100))] * 3) == {}
        (track,) = tracker.follow([stage.picture((60, 100))] * 3 + [stage.picture((60, 200))]).values()
        assert sorted(track) == [0, 1, 2, 3]


def bodies(seed: int, *moments: int) -> dict[int, Floats]:
    rng = np.random.default_rng(seed)
    return {m: rng.uniform(0, 640, (33, 3)).astype(np.float32) for m in moments}


class TestPacking:
    def test_unpacks_what_was_packed_from_the_middle_of_the_picture(self) -> None:
        tracks = {5: bodies(0, 0, 1, 4), 7: bodies(1, 2)}
        rows = packing.pack(tracks, 6, (320, 180))
        assert rows.shape == (6, packing.WIDTH)
        assert not rows[[3, 5]].any()
        first, second = packing.unpack(rows)
        assert list(first) == [0, 1, 4]
        np.testing.assert_allclose(first[4], tracks[5][4] - (320, 180, 0), atol=1e-4)
        np.testing.assert_allclose(second[2], tracks[7][2] - (320, 180, 0), atol=1e-4)

    def test_half_precision_keeps_a_quarter_of_a_pixel(self) -> None:
        tracks = {0: bodies(0, 0)}
        (track,) = packing.unpack(packing.pack(tracks, 1, (320, 320)).astype(np.float16))
        np.testing.assert_allclose(track[0], tracks[0][0] - (320, 320, 0), atol=0.25)

    def test_keeps_the_largest_people_of_a_crowd(self) -> None:
        crowd = {n: bodies(n, 0) for n in range(9)}
        for n, track in crowd.items():
            track[0][:, 1:] *= n + 1
        assert len(packing.unpack(packing.pack(crowd, 1, (0, 0)))) == packing.MOST
        numbers = packing.pack(crowd, 1, (0, 0)).reshape(packing.MOST, -1)[:, 0] - 1
        assert numbers.tolist() == [8, 7, 6, 5]
