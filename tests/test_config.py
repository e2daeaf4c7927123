"""Configs: every config object is valid, and is stored as plain JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vidlstm.config import (
    EncoderConfig,
    Grid,
    HeadConfig,
    Kind,
    ModelConfig,
    Sampling,
    StreamName,
    TrainConfig,
    names_sides,
)
from vidlstm.config_dict import from_dict, to_dict
from vidlstm.errors import UsageError
from vidlstm.settings import parse_grid, parse_streams

CLASSES = ("sit", "stand")


class TestTravel:
    @pytest.mark.parametrize(
        "config",
        [
            ModelConfig.default("video", CLASSES),
            ModelConfig.default("picture", ("a", "b", "c")),
            ModelConfig.default("video", CLASSES).changed(
                sampling={"method": "fps", "rate": 2.5}, head={"kind": "gru", "summary": "attention"},
                streams=("motion", "colour"), members=1,
            ),
        ],
        ids=["video", "picture", "changed"],
    )  # fmt: skip
    def test_through_json_and_back(self, config: ModelConfig) -> None:
        assert from_dict(ModelConfig, json.loads(json.dumps(to_dict(config)))) == config

    def test_training_settings_too(self) -> None:
        config = TrainConfig(epochs=3, balance="loss", seed=7)
        assert from_dict(TrainConfig, json.loads(json.dumps(to_dict(config)))) == config

    @pytest.mark.parametrize(
        ("plain", "words"),
        [
            ({"epoch": 3}, "unknown setting epoch"),
            ({"epochs": "3"}, "epochs: '3' is not a valid value"),
            ({"epochs": True}, "epochs: True is not a valid value"),
            ({"epochs": 2.5}, "epochs: 2.5 is not a valid value"),
            ({"balance": "much"}, "balance: 'much' is not a valid value"),
            ({"epochs": 0}, "`epochs=0`: must be at least 1"),
            (["epochs"], "must be a table of values, not list"),
        ],
        ids=str,
    )
    def test_invalid_values_are_named(self, plain: Any, words: str) -> None:
        with pytest.raises(UsageError) as caught:
            from_dict(TrainConfig, plain)
        assert words in str(caught.value)

    def test_missing_values_are_named(self) -> None:
        with pytest.raises(UsageError, match="ModelConfig"):
            from_dict(ModelConfig, {})


class TestValues:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda: Sampling(num_frames=0), "`num_frames=0`"),
            (lambda: Sampling(stride=0), "`stride=0`"),
            (lambda: Sampling(rate=0), "`rate=0`"),
            (lambda: Grid(0, 4), "`grid=0x4`"),
            (lambda: Grid(overlap=1), "`overlap=1`"),
            (lambda: EncoderConfig(size=7), "`size=7`"),
            (lambda: EncoderConfig(channels=2), "2 channels"),
            (lambda: HeadConfig(hidden=0), "`hidden=0`"),
            (lambda: HeadConfig(layers=0), "`layers=0`"),
            (lambda: HeadConfig(dropout=1), "`dropout=1`"),
            (lambda: ModelConfig("video", ("a",), ("rgb",)), "at least two classes"),
            (lambda: ModelConfig("video", ("a", "a"), ("rgb",)), "the same name"),
            (lambda: ModelConfig("video", CLASSES, ("rgb", "rgb")), "named twice"),
            (lambda: ModelConfig("video", CLASSES, ("colour",)), "at least one of rgb, motion"),
            (lambda: ModelConfig("video", CLASSES, ("rgb",), views=0), "`views=0`"),
            (lambda: TrainConfig(batch_size=0), "`batch_size=0`"),
            (lambda: TrainConfig(learning_rate=0), "`learning_rate=0`"),
            (lambda: TrainConfig(patience=-1), "`patience=-1`"),
        ],
    )
    def test_that_cannot_work_are_refused_on_construction(self, make: Any, words: str) -> None:
        with pytest.raises(UsageError) as caught:
            make()
        assert words in str(caught.value)


class TestDefaults:
    @pytest.mark.parametrize(
        ("kind", "streams"), [("video", ("rgb", "motion")), ("picture", ("rgb", "colour", "texture"))]
    )
    def test_are_the_streams_of_the_kind_read_by_an_lstm(
        self, kind: Kind, streams: tuple[StreamName, ...]
    ) -> None:
        config = ModelConfig.default(kind, CLASSES)
        assert (config.streams, config.head.kind) == (streams, "lstm")
        assert config.encoder.name == "efficientnet_lite0"

    @pytest.mark.parametrize(
        ("classes", "sides"),
        [
            (("turn_left", "turn_right"), True),
            (("Clockwise", "wave"), True),
            (("pass leftwards", "x"), True),
            (("sit", "stand"), False),
            (("bright", "cleft"), False),
            (("copyright", "upright"), False),
        ],
    )
    def test_clips_are_mirrored_unless_a_class_is_named_after_a_side(
        self, classes: tuple[str, ...], sides: bool
    ) -> None:
        assert names_sides(classes) == sides
        assert ModelConfig.default("video", classes).mirror == (not sides)

    def test_changing_a_part_leaves_the_rest(self) -> None:
        config = ModelConfig.default("video", CLASSES)
        changed = config.changed(head={"hidden": 9}, views=3)
        assert (changed.head.hidden, changed.views) == (9, 3)
        assert changed.changed(head={"hidden": config.head.hidden}, views=config.views) == config


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "streams"),
        [
            ("rgb", ("rgb",)), ("motion+rgb", ("rgb", "motion")), (" rgb + colour ", ("rgb", "colour")),
            ("texture+motion+colour", ("motion", "colour", "texture")),
        ],
    )  # fmt: skip
    def test_streams_in_any_order(self, text: str, streams: tuple[StreamName, ...]) -> None:
        assert parse_streams(text) == streams

    @pytest.mark.parametrize("text", ["", "rgb+", "flow", "RGB", "rgb,motion"])
    def test_other_streams_are_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="is not one of rgb, motion, pose, colour, texture"):
            parse_streams(text)

    def test_grids(self) -> None:
        assert parse_grid("4x4") == {"rows": 4, "columns": 4}
        assert parse_grid("2X5") == {"rows": 2, "columns": 5}
        for text in ("4", "x", "4x", "-1x2", "4x4x4", "four"):
            with pytest.raises(UsageError, match="must be rows x columns"):
                parse_grid(text)


class TestPose:
    def test_is_not_a_stream_of_pictures(self) -> None:
        with pytest.raises(UsageError, match="pose needs videos"):
            ModelConfig("picture", ("a", "b"), ("rgb", "pose"))
