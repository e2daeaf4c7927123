"""Streams to branches to logits: which branch reads what, and clips do not affect each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vidlstm.config import HeadKind, Kind, ModelConfig, StreamName
from vidlstm.models.classifier import Classifier, branch_specs
from vidlstm.models.members import RowDropout, Standardise
from vidlstm.settings import parse_streams

WIDTHS = {"rgb": 6, "motion": 4, "pose": 5, "colour": 3, "texture": 2}
CLASSES = ("a", "b", "c")
STREAMS: list[tuple[StreamName, ...]] = [
    ("rgb",), ("motion",), ("rgb", "motion"), ("rgb", "colour", "texture"), ("motion", "texture"),
    ("rgb", "motion", "colour", "texture"),
]  # fmt: skip

Inputs = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]


def config(
    streams: tuple[StreamName, ...], kind: Kind = "video", head: HeadKind = "lstm", members: int = 2
) -> ModelConfig:
    base = ModelConfig(kind, CLASSES, streams, members=members)
    return base.changed(head={"kind": head, "hidden": 5, "projection": 4})


def classifier(model: ModelConfig) -> Classifier:
    torch.manual_seed(0)
    network = Classifier(model, WIDTHS)
    for module in network.modules():  # random statistics instead of the neutral initial ones
        if isinstance(module, Standardise):
            for member, row in enumerate(module.mean):
                module.fit(member, torch.randn_like(row), torch.rand_like(row) + 0.5)
    return network.eval()


def inputs(lengths: list[int], longest: int = 0) -> Inputs:
    """Make clips of given lengths; clip i does not depend on the others."""
    sequences, masks = {}, {}
    longest = longest or max(lengths)
    for stream in ("rgb", "motion"):
        steps = longest if stream == "motion" else -(-longest // 2)
        values = torch.zeros(len(lengths), steps, WIDTHS[stream])
        mask = torch.zeros(len(lengths), steps, dtype=torch.bool)
        for i, length in enumerate(lengths):
            n = length if stream == "motion" else -(-length // 2)
            generator = torch.Generator().manual_seed(100 * length + len(stream))
            values[i, :n] = torch.randn(n, WIDTHS[stream], generator=generator)
            mask[i, :n] = True
        sequences[stream], masks[stream] = values, mask
    summaries = {
        s: torch.stack([torch.randn(WIDTHS[s], generator=torch.Generator().manual_seed(n)) for n in lengths])
        for s in ("colour", "texture")
    }
    return sequences, masks, summaries


def shared(clips: Inputs) -> Inputs:
    """Give the same clips to all members."""
    sequences, masks, summaries = ({name: x[None] for name, x in given.items()} for given in clips)
    return sequences, masks, summaries


class TestBranchSpecs:
    @pytest.mark.parametrize(
        ("kind", "head", "streams", "branches"),
        [
            ("video", "lstm", "rgb", "change appearance"),
            ("video", "lstm", "motion", "motion"),
            ("video", "lstm", "rgb+motion", "change appearance motion"),
            ("video", "lstm", "rgb+colour+texture", "change appearance(colour texture)"),
            ("video", "lstm", "motion+colour", "motion(colour)"),
            ("video", "gru", "rgb+motion+texture", "change appearance(texture) motion"),
            ("video", "mean", "rgb", "appearance"),
            ("video", "mean", "rgb+motion+colour", "appearance(colour) motion"),
            ("picture", "lstm", "rgb", "regions appearance"),
            ("picture", "lstm", "rgb+colour+texture", "regions(colour texture) appearance"),
            ("picture", "mean", "rgb+texture", "regions(texture)"),
        ],
    )
    def test_branches_and_joined_streams(
        self, kind: Kind, head: HeadKind, streams: str, branches: str
    ) -> None:
        specs = branch_specs(config(parse_streams(streams), kind, head))
        text = " ".join(s.name + (f"({' '.join(s.joined)})" if s.joined else "") for s in specs)
        assert text == branches

    def test_each_branch_has_its_own_default_summary(self) -> None:
        given = config(("rgb", "motion", "pose"))
        assert {s.name: s.head.summary for s in branch_specs(given) if s.head.kind != "mean"} == {
            "change": "mean",
            "motion": "last",
            "pose": "attention",
        }
        named = given.changed(head={"summary": "mean"})
        assert {s.head.summary for s in branch_specs(named)} == {"mean"}

    @pytest.mark.parametrize("kind", ["video", "picture"])
    @pytest.mark.parametrize("head", ["lstm", "gru", "mean"])
    @pytest.mark.parametrize("streams", STREAMS, ids="+".join)
    def test_every_stream_is_read_and_a_summary_joins_once(
        self, streams: tuple[StreamName, ...], head: HeadKind, kind: Kind
    ) -> None:
        if kind == "picture" and "motion" in streams:
            return
        specs = branch_specs(config(streams, kind, head))
        joined = [name for spec in specs for name in spec.joined]
        assert {s.stream for s in specs} | set(joined) == set(streams)
        assert len(joined) == len(set(joined))
        assert all(s.head.kind in (head, "mean") for s in specs)
        if head == "mean":  # the baseline ignores the order in every branch
            assert not any(s.centred or s.head.kind != "mean" for s in specs)


class TestBranches:
    def test_change_ignores_a_constant_added_to_the_clip(self) -> None:
        network = classifier(config(("rgb",)))
        change, appearance = network.branches
        sequences, masks, _ = inputs([9, 4])
        clips, mask = sequences["rgb"][None], masks["rgb"][None]
        moved = clips + mask.unsqueeze(-1) * torch.randn(1, 2, 1, WIDTHS["rgb"])
        for branch, same in ((change, True), (appearance, False)):
            before, after = branch(clips, mask, {}), branch(moved, mask, {})
            assert torch.allclose(before, after, atol=1e-4) == same

    @pytest.mark.parametrize("name", ["colour", "texture"])
    def test_summary_streams_reach_the_logits(self, name: str) -> None:
        network = classifier(config(("rgb", "colour", "texture"), "picture"))
        sequences, masks, summaries = inputs([9, 4])
        before = network(sequences, masks, summaries)
        after = network(sequences, masks, {**summaries, name: summaries[name] + 1})
        assert (before - after).abs().max() > 1e-3

    def test_a_branch_of_weight_zero_is_not_computed(self) -> None:
        sequences, masks, summaries = inputs([9, 4])
        network = classifier(config(("motion",)))
        scores = network({"motion": sequences["motion"]}, {"motion": masks["motion"]}, {})
        assert scores.shape == (1, 2, 3)
        torch.testing.assert_close(scores, network(sequences, masks, summaries))

    def test_members_start_differently_and_are_averaged(self) -> None:
        network = classifier(config(("motion",), members=3))
        clips = inputs([9, 4])
        logits = network.logits(*shared(clips))
        assert logits.shape == (1, 3, 2, 3)
        assert (logits[:, 0] - logits[:, 1]).abs().max() > 1e-3
        expected = logits.log_softmax(-1).mean(1).log_softmax(-1)
        torch.testing.assert_close(network(*clips), expected)

    def test_one_member_is_a_complete_network(self) -> None:
        network = classifier(config(("rgb", "motion"), members=1))
        assert network(*inputs([3])).shape == (3, 1, 3)


class TestScores:
    def test_logits_are_not_softmaxed_in_the_model(self) -> None:
        """Fault 1 of the peers: a softmax in the model, followed by cross-entropy."""
        network = classifier(config(("rgb", "motion")))
        with torch.no_grad():
            for branch in network.branches:
                for parameter in branch.classify.parameters():
                    parameter.mul_(50)
        logits = network.logits(*shared(inputs([9, 4, 6])))
        assert logits.min() < -1  # neither probabilities ...
        assert logits.max() > 1  # ... nor their logarithms: any numbers
        assert not torch.allclose(logits.exp().sum(-1), torch.ones(3, 2, 3), atol=0.1)

    def test_scores_are_log_probabilities_once(self) -> None:
        scores = classifier(config(("rgb", "motion")))(*inputs([9, 4, 6]))
        torch.testing.assert_close(scores.exp().sum(-1), torch.ones(3, 3))

    @pytest.mark.parametrize("head", ["lstm", "gru", "mean"])
    @pytest.mark.parametrize("streams", STREAMS, ids="+".join)
    def test_a_clip_s_scores_do_not_depend_on_its_batch_mates(
        self, streams: tuple[StreamName, ...], head: HeadKind
    ) -> None:
        network = classifier(config(streams, head=head))
        lengths = [9, 1, 4, 16, 2]
        alone = torch.cat([network(*inputs([n])) for n in lengths], dim=1)
        torch.testing.assert_close(network(*inputs(lengths)), alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(network(*inputs(lengths, 40)), alone, atol=1e-5, rtol=0)
        order = [3, 0, 4, 2, 1]
        shuffled = network(*inputs([lengths[i] for i in order]))
        torch.testing.assert_close(shuffled, alone[:, order], atol=1e-5, rtol=0)

    def test_nothing_is_remembered_between_calls(self) -> None:
        network = classifier(config(("rgb", "motion")))
        first = network(*inputs([9, 4]))
        network(*inputs([2, 7, 16]))
        assert torch.equal(network(*inputs([9, 4])), first)


class TestStandardise:
    def test_training_statistics_make_mean_0_and_spread_1(self) -> None:
        rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 7 + 3
        layer = Standardise(1, 3)
        layer.fit(0, rows.mean(0), rows.std(0))
        standard = layer(rows[None])[0]
        torch.testing.assert_close(standard.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(standard.std(0), torch.ones(3), atol=1e-5, rtol=0)

    def test_a_constant_feature_is_left_unscaled(self) -> None:
        layer = Standardise(1, 2)
        layer.fit(0, torch.tensor([5.0, 0.0]), torch.tensor([0.0, 2.0]))
        assert layer(torch.tensor([[[6.0, 2.0]]])).tolist() == [[[1.0, 1.0]]]

    def test_has_no_trainable_parameters(self) -> None:
        layer = Standardise(1, 2).train()
        layer(torch.randn(1, 8, 2))
        assert (layer.mean.tolist(), layer.scale.tolist()) == ([[0, 0]], [[1, 1]])
        assert list(layer.parameters()) == []


class TestDropout:
    @pytest.mark.parametrize("share", [0.25, 0.5, 0.9, 0.999])
    def test_drops_that_share_and_keeps_the_mean(self, share: float) -> None:
        torch.manual_seed(0)
        dropped = RowDropout(share).train()(torch.ones(2, 500, 400))
        assert float((dropped == 0).float().mean()) == pytest.approx(min(share, 255 / 256), abs=0.004)
        assert float(dropped.mean()) == pytest.approx(1, abs=0.1)

    def test_drops_none_in_evaluation(self) -> None:
        ones = torch.ones(2, 3, 4)
        assert torch.equal(RowDropout(0.5).eval()(ones), ones)


class TestFuse:
    @staticmethod
    def fused(weights: list[float], temperature: float, scores: Tensor) -> Tensor:
        network = classifier(config(("rgb", "motion")))
        network.fusion.copy_(torch.tensor(weights))
        network.temperature.fill_(temperature)
        return network.fuse(scores)

    def test_is_the_weighted_sum_over_the_temperature(self) -> None:
        scores = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
        expected = (0.5 * scores[0] + 0.2 * scores[1] + 0.3 * scores[2]) / 2
        torch.testing.assert_close(self.fused([0.5, 0.2, 0.3], 2, scores), expected.log_softmax(-1))

    def test_branches_count_the_same_at_the_start(self) -> None:
        for streams in STREAMS:
            network = classifier(config(streams))
            count = len(branch_specs(config(streams)))
            torch.testing.assert_close(network.fusion, torch.full((count,), 1 / count))
            assert float(network.temperature) == 1

    def test_temperature_changes_confidence_and_never_the_label(self) -> None:
        scores = torch.randn(3, 20, 3, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
        cold, warm = (self.fused([0.2, 0.3, 0.5], t, scores).softmax(-1) for t in (0.5, 3.0))
        assert torch.equal(cold.argmax(1), warm.argmax(1))
        assert (cold.amax(1) > warm.amax(1)).all()

    def test_it_adds_no_learned_weight(self) -> None:
        network = classifier(config(("rgb", "motion")))
        assert {"fusion", "temperature", "floor"} <= dict(network.named_buffers()).keys()
        assert {name.split(".")[0] for name, _ in network.named_parameters()} == {"branch"}


class TestGate:
    """The pose branch counts according to its confidence, which is its last feature."""

    def test_a_clip_without_confidence_favours_no_class(self) -> None:
        torch.manual_seed(0)
        network = Classifier(config(("motion", "pose")), {"motion": 4, "pose": 3}).eval()
        steps = torch.randn(2, 5, 3)
        steps[0, :, -1] = 0
        masks = {name: torch.ones(2, 5, dtype=torch.bool) for name in ("motion", "pose")}
        with torch.inference_mode():
            _, pose = network({"motion": torch.randn(2, 5, 4), "pose": steps}, masks, {}).exp()
        torch.testing.assert_close(pose[0], torch.full((3,), 1 / 3))
        assert pose[1].std() > 1e-3
