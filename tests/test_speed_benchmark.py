"""How the speed benchmark evaluates its figures; the figures themselves are not tested."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.speed import labelling, sampling
from tests.benchmarks.speed.labelling import (
    FLOAT32,
    INT8,
    OPENVINO,
    SCRIPTS,
    TORCH,
    VIDEOMAE,
    Limit,
    agreement,
)
from tests.benchmarks.speed.measure import Bar, Cost, Result, alternate
from tests.benchmarks.speed.readers import CONTENDERS, Contender
from tests.benchmarks.speed.sampling import SHORT, best_of, same_frames


def cost(seconds: float) -> Cost:
    return Cost(seconds, seconds)


class TestMeasuring:
    def test_contenders_take_turns_and_the_median_counts(self) -> None:
        order: list[str] = []
        walls = {"a": iter([1.0, 9.0, 2.0]), "b": iter([5.0, 4.0, 6.0])}

        def run(name: str) -> Cost:
            order.append(name)
            return cost(next(walls[name]))

        found = alternate({"a": lambda: run("a"), "b": lambda: run("b")}, 3)
        assert order == ["a", "b"] * 3
        assert found == {"a": cost(2), "b": cost(5)}

    @pytest.mark.parametrize(
        ("value", "at_least", "holds"),
        [(2.5, True, True), (2.4, True, False), (2.5, False, True), (3, False, False)],
    )
    def test_a_bar_holds_at_its_limit(self, value: float, at_least: bool, holds: bool) -> None:
        assert Bar("b", value, 2.5, at_least).holds is holds

    def test_a_missed_bar_is_reported(self) -> None:
        text = Result(
            "T", ("what", "s"), [("a", 1.234)], [Bar("times", 1.0, 2.0, at_least=True)], ["left out"]
        ).to_text()
        assert "MISSED: times: 1.00 (at least 2)" in text
        assert "1.23" in text
        assert text.endswith("left out")


class TestSameFrames:
    RIGHT = np.stack([np.full((4, 4, 3), level, np.uint8) for level in (0, 40, 80, 120)]).reshape(
        2, 2, 4, 4, 3
    )

    def test_small_differences_of_resizing_pass(self) -> None:
        assert same_frames(self.RIGHT[:, 0] + np.uint8(3), self.RIGHT)

    def test_the_next_frame_does_not(self) -> None:
        assert not same_frames(self.RIGHT[:, 1], self.RIGHT)

    def test_a_missing_frame_does_not(self) -> None:
        assert not same_frames(self.RIGHT[:1, 0], self.RIGHT)


class TestSampling:
    def test_every_library_is_represented_by_its_fastest_way(self) -> None:
        ours, exact = CONTENDERS[0], CONTENDERS[1]
        other = Contender(exact.library, "another way", exact.read, {})
        best = best_of({ours: cost(2), exact: cost(3), other: cost(1)})
        assert best == {"vidlstm": cost(2), "torchcodec": cost(1)}

    def test_the_limit_is_the_fastest_peer(self) -> None:
        found = {case: {"vidlstm": cost(1), "decord": cost(2), "PyAV": cost(1.2)} for case in SHORT}
        result = sampling.summarise(found, [])
        assert [bar.holds for bar in result.bars] == [True, True, True, False]
        assert result.bars[-1].value == pytest.approx(1.2)


class TestLabelling:
    REFERENCE = np.array([[0.9, 0.1], [0.4, 0.6]])

    def test_agreement_is_of_labels_and_of_scores(self) -> None:
        assert agreement(self.REFERENCE, self.REFERENCE) == (1, 0)
        share, largest = agreement(np.array([[0.9, 0.1], [0.55, 0.45]]), self.REFERENCE)
        assert share == 0.5
        assert largest == pytest.approx(0.15)

    def test_the_limits_are_the_faster_script_and_videomae(self) -> None:
        costs = {
            TORCH: cost(10),
            OPENVINO: cost(5),
            FLOAT32: cost(6),
            SCRIPTS[0]: cost(30),
            SCRIPTS[1]: cost(24),
            VIDEOMAE: cost(90),
        }
        scores = dict.fromkeys((TORCH, OPENVINO, FLOAT32), self.REFERENCE)
        result = labelling.summarise(costs, scores, self.REFERENCE, [])
        values = {bar.name: (bar.value, bar.holds) for bar in result.bars}
        assert values[f"{TORCH}: times faster than the faster script"] == (2.4, False)
        assert values[f"{OPENVINO}: times faster than the faster script"] == (4.8, False)
        assert values[f"{TORCH}: times faster than {VIDEOMAE}"] == (9, False)

    def test_the_limit_is_decoding_and_the_fastest_encoding_on_all_cores(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(labelling, "num_cores", lambda: 2)
        limit = Limit(4, {TORCH: 10, FLOAT32: 8, INT8: 6}, self.REFERENCE)
        assert limit.seconds() == 5
        costs = {TORCH: cost(8), OPENVINO: cost(7), FLOAT32: cost(8.4)}
        wall, cpu, faster = labelling.summarise_limit(costs, limit).bars
        assert (wall.value, wall.holds) == (1.4, False)
        assert (cpu.value, cpu.holds) == (0.7, True)
        assert faster.value == pytest.approx(1.2)
        assert not faster.holds
