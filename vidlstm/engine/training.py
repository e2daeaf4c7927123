"""The training loop on features that are there: epochs come out as records.

An epoch's randomness follows from the seed and the epoch's number alone. So a run that is resumed
from the state after any epoch ends bit for bit where the unbroken run ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vidlstm.config import TrainConfig
from vidlstm.data.loading import ClipFeatures, Values, choose, training_batch, view_batch
from vidlstm.engine.evaluation import log_probabilities
from vidlstm.engine.fusion import fit_fusion
from vidlstm.engine.looks import Look
from vidlstm.engine.optimiser import AdamW, clip
from vidlstm.engine.pixels import PixelReader
from vidlstm.engine.steps import Step, rows_of
from vidlstm.engine.team import Team
from vidlstm.models.classifier import Branch, Classifier, Standardise
from vidlstm.models.encoders import Encoder, encode_clips
from vidlstm.records import EpochReport

_STATISTICS_CLIPS = 1000  # clips that the standardisation is measured on, about
_TEMPERATURES = torch.tensor([1.15**power for power in range(-6, 13)])  # 0.43 to 5.4
_PIXEL_CLIPS = 8  # that are scored together where the encoder learns
_CHUNK = 32  # pictures that go through an encoder together where no more need to
_MAX_GRADIENT = 1.0  # norm that a branch's gradient is clipped to


@dataclass(frozen=True)
class Part:
    """What one member learns from, and the clips held out from it."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]


@dataclass(frozen=True)
class Learning:
    """How an encoder learns with the rest.

    Args:
        encoder: On the classifier's device; what of it learns is unfrozen.
        reader: Of the pixels; None where the clips' `rgb` features are pixels themselves.
        flips: Half of the clips are flipped left to right.
        has_learned: Encoder and classifier come from another training, whose end counts as epoch 0.
        bfloat16: The encoder computes in half precision.
    """

    encoder: Encoder
    reader: PixelReader | None = None
    flips: bool = False
    has_learned: bool = False
    bfloat16: bool = False


class Trainer:
    """Trains the members of a classifier on features, side by side.

    Each member is validated on the clips held out from it, and early stopping and the best epoch
    look at all of these together; they are also what fusion and temperature are fitted on.

    Args:
        classifier: On its device; trained in place.
        clips: Features of every clip; None for those that no part names.
        labels: int64 `(N,)`, class of every clip.
        parts: One a member.
        config: How.
        mix_views: Every step may take another view (see `choose`).
        looks: At each clip when it is scored.
        mirror: Train on mirrored clips too.
        learning: Of an encoder that is not frozen; trained in place.
        team: The processes that train together.
    """

    def __init__(
        self,
        classifier: Classifier,
        clips: Sequence[ClipFeatures | None],
        labels: NDArray[np.int64],
        parts: Sequence[Part],
        config: TrainConfig,
        *,
        mix_views: bool,
        looks: Sequence[Look],
        mirror: bool,
        learning: Learning | None = None,
        team: Team | None = None,
    ) -> None:
        self.classifier = classifier
        self.clips = clips
        self.labels = labels
        self.parts = parts
        self.config = config
        self.mix_views = mix_views
        self.looks = looks
        self.mirror = mirror
        self.learning = learning
        self.team = team or Team()
        self.epoch = 0
        self.best_epoch = 0
        self.diverged = False
        self._best = math.inf
        self._best_state: dict[str, Tensor] | None = None
        self._device = classifier.fusion.device
        self._held_out = np.concatenate([part.val for part in parts])
        self._networks = nn.ModuleDict({"classifier": classifier})
        if learning is not None:
            self._networks["encoder"] = learning.encoder
        self._optimisers = {
            name: AdamW(n.parameters(), config.weight_decay) for name, n in self._networks.items()
        }
        encoders = [] if learning is None else [learning.encoder]
        self._learning_parameters = [  # of each member: of what learns by itself, an encoder and each branch
            [
                [p for p in network.parameters() if p.requires_grad]
                for network in (*encoders, *classifier.branches(number))
            ]
            for number in range(len(parts))
        ]
        if learning is None or not learning.has_learned:
            for number, part in enumerate(parts):
                some = part.train[:: max(1, len(part.train) // _STATISTICS_CLIPS)]
                standardise(classifier.branches(number), self._features(some))

    def run(self) -> Iterator[EpochReport]:
        """Train to the end, until validation no longer improves (`patience`), or until it diverges."""
        if self.learning is not None and self.learning.has_learned and self._best_state is None:
            self._keep_if_best(self._validate()[0])
        while self.epoch < self.config.epochs and not self._out_of_patience() and not self.diverged:
            started = time.monotonic()
            self.epoch += 1
            train_loss = self._learn()
            self.diverged = not math.isfinite(train_loss)
            val_loss, val_top1 = self._validate()
            is_best = not self.diverged and self._keep_if_best(val_loss)
            rate = self._rate(self.epoch) * self.config.learning_rate
            seconds = time.monotonic() - started
            yield EpochReport(
                self.epoch, self.config.epochs, train_loss, val_loss, val_top1, rate, seconds, is_best
            )

    def finish(self) -> None:
        """Take the best epoch's weights; fit fusion and temperature on the held-out clips."""
        if self._best_state is not None:
            self._networks.load_state_dict(self._best_state)
        if len(self._held_out):
            weights, temperature = fit_fusion(self.held_out_scores(self.looks), self.held_out_labels)
            self.classifier.fusion.copy_(weights)
            self.classifier.temperature.copy_(temperature)
        self._networks.eval()

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed run needs: tensors and plain values."""
        return {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best": self._best,
            "best_state": self._best_state,
            "networks": self._networks.state_dict(),
            "optimisers": {name: optimiser.state() for name, optimiser in self._optimisers.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.epoch = state["epoch"]
        self.best_epoch = state["best_epoch"]
        self._best = state["best"]
        self._best_state = state["best_state"]
        self._networks.load_state_dict(state["networks"])
        for name, optimiser in self._optimisers.items():
            optimiser.restore(state["optimisers"][name])

    @property
    def has_best(self) -> bool:
        """Whether there are weights to take at the end."""
        return self._best_state is not None

    @property
    def held_out_labels(self) -> Tensor:
        """The classes of the held-out clips, int64 `(N,)`, part after part."""
        return torch.from_numpy(self.labels[self._held_out])

    @torch.inference_mode()
    def held_out_scores(self, looks: Sequence[Look]) -> Tensor:
        """Return the branches' log-probabilities `(S, N, K)` of the held-out clips, part after part."""
        self._networks.eval()
        scores = [
            self._scores(number, part.val, looks) for number, part in enumerate(self.parts) if len(part.val)
        ]
        return torch.cat(scores, dim=1)

    def _scores(self, number: int, indices: NDArray[np.int64], looks: Sequence[Look]) -> Tensor:
        """Return `(S, N, K)` of one member, each clip computed by one process of the team; on the CPU."""
        mine = indices[self.team.rank :: self.team.size]
        size = _PIXEL_CLIPS if self.learning is not None else max(len(mine), 1)
        groups = [mine[start : start + size] for start in range(0, len(mine), size)]
        network = partial(self._member, number)
        parts = [log_probabilities(network, clips, looks, self._device).cpu() for clips in self._read(groups)]
        if self.team.size == 1:
            return torch.cat(parts, dim=1)
        return torch.stack(self.team.gather([row for part in parts for row in part.unbind(1)]), dim=1)

    def _features(self, indices: NDArray[np.int64]) -> list[ClipFeatures]:
        return [clip for clip in (self.clips[i] for i in indices) if clip is not None]

    def _read(self, groups: Sequence[NDArray[np.int64]]) -> Iterator[list[ClipFeatures]]:
        """Yield the features of each group's clips, with pixels where the encoder learns."""
        reader = None if self.learning is None else self.learning.reader
        if reader is None:
            yield from map(self._features, groups)
            return
        for group, shown in zip(groups, reader.read(groups), strict=True):
            yield [
                replace(kept, sequences={**kept.sequences, **clip.sequences})
                for kept, clip in zip(self._features(group), shown, strict=True)
            ]

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return bool(patience and len(self._held_out) and self.epoch - self.best_epoch >= patience)

    def _learn(self) -> float:
        """Pass every member once over its training clips; return the mean loss."""
        rng = np.random.default_rng([self.config.seed, self.epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        self._networks.train()
        losses = [self._learn_member(number, part, rng) for number, part in enumerate(self.parts)]
        return float(np.mean(losses))

    def _learn_member(self, number: int, part: Part, rng: np.random.Generator) -> float:
        config = self.config
        order = rng.permutation(part.train)
        odds = rarity(self.labels[part.train], int(self.labels.max()) + 1)
        if config.balance == "sampler":
            chances = odds[self.labels[part.train]]
            order = rng.choice(part.train, len(part.train), p=chances / chances.sum())
        weights = (
            torch.tensor(odds, dtype=torch.float32, device=self._device) if config.balance == "loss" else None
        )
        batches = np.array_split(order, math.ceil(len(order) / config.batch_size))
        losses = []
        for done, (some, step) in enumerate(zip(batches, self._steps(batches, rng), strict=True), 1):
            rate = self._rate(self.epoch - 1 + done / len(batches))
            losses.append(self._take(number, step, weights, rate) * len(some))
        return float(torch.stack(losses).sum()) / len(order)

    def _steps(self, batches: Sequence[NDArray[np.int64]], rng: np.random.Generator) -> Iterator[Step]:
        """Yield what is computed of each batch."""
        mixup, learning = self.config.mixup, self.learning
        mine = [rows_of(len(some), self.team.rank, self.team.size) for some in batches]
        shown: Iterator[list[ClipFeatures]] = iter(())
        if learning is not None and learning.reader is not None:
            shown = learning.reader.read([some[rows] for some, rows in zip(batches, mine, strict=True)])
        for some, rows in zip(batches, mine, strict=True):
            clips = self._features(some)
            choices = choose(clips, rng, mix_views=self.mix_views, mirror=self.mirror)
            batch = training_batch(clips, choices)
            if learning is None:
                yield Step.draw(batch, self.labels[some], rows, mixup, rng, self._device)
                continue
            pixels = batch.sequences["rgb"]
            if learning.reader is not None:
                pixels = training_batch(next(shown), choices[rows]).sequences["rgb"]
                pixels = _padded(pixels, batch.masks["rgb"].shape[1])
            yield Step.draw_pixels(
                batch, pixels, self.labels[some], rows, mixup, rng, self._device, flips=learning.flips
            )

    def _take(self, number: int, step: Step, weights: Tensor | None, rate: float) -> Tensor:
        """Take one step of the optimisers at the learning rate `rate`; return the loss."""
        loss = torch.zeros((), device=self._device)
        in_parts = self.config.accumulate > 1 or self.team.size > 1
        drawn = torch.get_rng_state()
        for rows in step.parts(self.config.accumulate):
            if in_parts:  # what is drawn is drawn for the whole step, and each part takes its own
                torch.set_rng_state(drawn)
                self.classifier.compute(number, rows, len(step.labels))
            logits = self._member(number, *step.inputs(rows))
            part = step.loss(logits, rows, weights, self.config.label_smoothing)
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        networks = self._learning_parameters[number]
        if self.team.size > 1:
            learning = [parameter for parameters in networks for parameter in parameters]
            self.team.add([*(p.grad for p in learning if p.grad is not None), loss])
        for parameters in networks:
            clip([p.grad for p in parameters if p.grad is not None], _MAX_GRADIENT)
        for name, optimiser in self._optimisers.items():
            fine = name == "encoder" and self.learning is not None and self.learning.encoder.keeps_statistics
            peak = self.config.encoder_learning_rate if fine else self.config.learning_rate
            optimiser.step(rate * peak)
        return loss

    def _member(
        self,
        number: int,
        sequences: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        summaries: Mapping[str, Tensor],
    ) -> Tensor:
        """Return the logits of a member's branches, `(S, B, K)`, from features or from pixels."""
        if self.learning is not None:
            steps, mask = encode_clips(self._encode, sequences["rgb"], masks["rgb"])
            sequences, masks = {**sequences, "rgb": steps}, {**masks, "rgb": mask}
        return self.classifier.member(number, sequences, masks, summaries)

    def _encode(self, pictures: Tensor) -> Tensor:
        """Encode `(N, C, S, S)` for the gradient or, without one, a few at a time."""
        assert self.learning is not None
        encoder = self.learning.encoder
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.learning.bfloat16):
            if self.config.checkpointing and torch.is_grad_enabled():
                encoded = [
                    checkpoint(encoder, some, use_reentrant=False) for some in torch.split(pictures, _CHUNK)
                ]
                return torch.cat(encoded).float()
            if torch.is_grad_enabled():
                return encoder(pictures).float()  # type: ignore[no-any-return]
            return torch.cat([encoder(some) for some in torch.split(pictures, _CHUNK)]).float()

    def _rate(self, epochs: float) -> float:
        """Return the share of its peak that the learning rate has after so many epochs.

        A linear warm-up, then a cosine to zero (Loshchilov & Hutter 2017).
        """
        done = epochs / self.config.epochs
        warmup = self.config.warmup_epochs / self.config.epochs
        if done < warmup:
            share = (done + 1 / (self.config.epochs * 4)) / warmup
        else:
            share = 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1 - warmup, 1e-9)))
        return min(share, 1.0)

    def _validate(self) -> tuple[float | None, float | None]:
        """Return loss and top-1 of the held-out clips, all branches counting the same.

        The loss is what is left at the best temperature: a network that grows too sure of itself is
        put right at the end, so that alone shall not end its training.
        """
        if not len(self._held_out):
            return None, None
        fused = self.held_out_scores([Look()]).mean(0)
        target = self.held_out_labels
        sharpened = (fused / _TEMPERATURES.view(-1, 1, 1)).log_softmax(-1)
        loss = -float(
            sharpened.gather(-1, target.expand(len(_TEMPERATURES), -1)[..., None]).mean((1, 2)).max()
        )
        return loss, float((fused.argmax(1) == target).double().mean())

    def _keep_if_best(self, val_loss: float | None) -> bool:
        """Keep the weights when validation got better; without one, those of the last epoch."""
        if val_loss is not None and not val_loss < self._best:  # nor one that is no number
            return False
        self._best = math.inf if val_loss is None else val_loss
        self.best_epoch = self.epoch
        self._best_state = {name: value.clone() for name, value in self._networks.state_dict().items()}
        return True


def _padded(pixels: Values, length: int) -> Values:
    """Bring `(B, T, S, S, C)` to the length that the step's longest clip has, wherever that is computed."""
    padded: Values = np.zeros((len(pixels), length, *pixels.shape[2:]), pixels.dtype)
    padded[:, : pixels.shape[1]] = pixels
    return padded


def rarity(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Return a weight for every class, `(K,)`: inverse to its clips, 1 on average over the clips."""
    counts = np.bincount(labels, minlength=num_classes)
    weights: NDArray[np.float64] = len(labels) / np.maximum(counts, 1) / max(int((counts > 0).sum()), 1)
    return weights


def standardise(branches: Iterable[Branch], clips: Sequence[ClipFeatures]) -> None:
    """Measure mean and spread of the features over the training clips and fix them in the branches."""
    batch = view_batch(clips)
    for branch in branches:
        if branch.spec.fixed:
            steps = torch.from_numpy(batch.sequences[branch.spec.stream]).float()
            mask = torch.from_numpy(batch.masks[branch.spec.stream])
            rows = branch.prepare(steps, mask)[mask]
            std = rows.std(0, correction=0)
            if branch.spec.one_scale:
                std = std.square().mean().sqrt().expand_as(std)
            branch.standardise.fit(rows.mean(0), std)
        for name, layers in branch.join.items():
            summary = torch.from_numpy(batch.summaries[name]).float()
            assert isinstance(layers, nn.Sequential)
            assert isinstance(layers[0], Standardise)
            layers[0].fit(summary.mean(0), summary.std(0, correction=0))
