"""The training loop on features that are there: epochs come out as records.

An epoch's randomness follows from the seed and the epoch's number alone. So a run that is resumed
from the state after any epoch ends bit for bit where the unbroken run ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vidlstm.config import TrainConfig
from vidlstm.data.loading import Batch, ClipFeatures, training_batch, view_batch
from vidlstm.engine.augmentation import augment
from vidlstm.engine.evaluation import Look, log_probabilities, to_tensors
from vidlstm.engine.fusion import fit_fusion
from vidlstm.engine.optimiser import AdamW
from vidlstm.models.classifier import Branch, Classifier, Standardise
from vidlstm.models.encoders import Encoder, encode_clips
from vidlstm.records import EpochReport

_STATISTICS_CLIPS = 1000  # clips that the standardisation is measured on, about
_TEMPERATURES = torch.tensor([1.15**power for power in range(-6, 13)])  # 0.43 to 5.4
_MAX_GRADIENT = 1.0  # norm that a branch's gradient is clipped to (Pascanu et al. 2013)


@dataclass(frozen=True)
class Part:
    """What one member learns from, and the clips held out from it."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]


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
        mix_views: Every step may take another view (see `training_batch`).
        looks: At each clip when it is scored.
        mirror: Train on mirrored clips too.
        encoder: Of the `rgb` stream, whose features are pixels then; it learns with the rest.
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
        encoder: Encoder | None = None,
    ) -> None:
        self.classifier = classifier
        self.encoder = encoder
        parts_that_learn = (
            {"classifier": classifier} if encoder is None else {"classifier": classifier, "encoder": encoder}
        )
        self._networks = nn.ModuleDict(parts_that_learn)
        self.clips = clips
        self.labels = labels
        self.parts = parts
        self.config = config
        self.mix_views = mix_views
        self.looks = looks
        self.mirror = mirror
        self.epoch = 0
        self.best_epoch = 0
        self._best = math.inf
        self._best_state: dict[str, Tensor] | None = None
        self._device = classifier.fusion.device
        self._held_out = np.concatenate([part.val for part in parts])
        self._optimiser = AdamW(self._networks.parameters(), config.weight_decay)
        for number, part in enumerate(parts):
            some = part.train[:: max(1, len(part.train) // _STATISTICS_CLIPS)]
            standardise(classifier.branches(number), self._features(some))

    def run(self) -> Iterator[EpochReport]:
        """Train to the end, or until validation has not improved for `patience` epochs."""
        while self.epoch < self.config.epochs and not self._out_of_patience():
            started = time.monotonic()
            self.epoch += 1
            train_loss = self._learn()
            val_loss, val_top1 = self._validate()
            is_best = self._keep_if_best(val_loss)
            rate = self._rate(self.epoch)
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
            "optimiser": self._optimiser.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.epoch = state["epoch"]
        self.best_epoch = state["best_epoch"]
        self._best = state["best"]
        self._best_state = state["best_state"]
        self._networks.load_state_dict(state["networks"])
        self._optimiser.restore(state["optimiser"])

    @property
    def held_out_labels(self) -> Tensor:
        """The classes of the held-out clips, int64 `(N,)`, part after part."""
        return torch.from_numpy(self.labels[self._held_out])

    @torch.inference_mode()
    def held_out_scores(self, looks: Sequence[Look]) -> Tensor:
        """Return the branches' log-probabilities `(S, N, K)` of the held-out clips, part after part."""
        self._networks.eval()
        return torch.cat(
            [
                log_probabilities(
                    partial(self._logits, number), self._features(part.val), looks, self._device
                )
                for number, part in enumerate(self.parts)
                if len(part.val)
            ],
            dim=1,
        )

    def _features(self, indices: NDArray[np.int64]) -> list[ClipFeatures]:
        return [clip for clip in (self.clips[i] for i in indices) if clip is not None]

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
        num_batches = math.ceil(len(order) / config.batch_size)
        losses = []
        learning = [list(network.parameters()) for network in self._learning(number)]
        for step, some in enumerate(np.array_split(order, num_batches)):
            batch = training_batch(self._features(some), rng, mix_views=self.mix_views, mirror=self.mirror)
            loss = self._loss(number, batch, self.labels[some], weights, rng)
            loss.backward()  # type: ignore[no-untyped-call]
            for parameters in learning:
                torch.nn.utils.clip_grad_norm_(parameters, _MAX_GRADIENT)
            self._optimiser.step(self._rate(self.epoch - 1 + (step + 1) / num_batches))
            losses.append(loss.detach() * len(some))
        return float(torch.stack(losses).sum()) / len(order)

    def _learning(self, member: int) -> list[nn.Module]:
        """Return what learns by itself: each branch, and an encoder that is not frozen."""
        encoder = [] if self.encoder is None else [self.encoder]
        return [*encoder, *self.classifier.branches(member)]

    def _logits(
        self,
        member: int,
        sequences: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        summaries: Mapping[str, Tensor],
    ) -> Tensor:
        """Return the logits of a member's branches, `(S, B, K)`, from features or from pixels."""
        if self.encoder is not None:
            steps, mask = encode_clips(self.encoder, sequences["rgb"], masks["rgb"])
            sequences, masks = {**sequences, "rgb": steps}, {**masks, "rgb": mask}
        return self.classifier.member(member, sequences, masks, summaries)

    def _loss(
        self,
        member: int,
        batch: Batch,
        labels: NDArray[np.int64],
        weights: Tensor | None,
        rng: np.random.Generator,
    ) -> Tensor:
        """Return the sum of the branches' losses; each branch gets its own gradient from it."""
        sequences, masks, summaries = to_tensors(batch, self._device)
        if self.encoder is not None:
            sequences["rgb"] = augment(sequences["rgb"], mirror=self.mirror)
        target = torch.from_numpy(labels).to(self._device)
        other, share = target, 1.0
        if self.config.mixup:
            # Mixup (Zhang et al. 2018) of features; the mix is as long as the longer of the two.
            share = float(rng.beta(self.config.mixup, self.config.mixup))
            order = torch.from_numpy(rng.permutation(len(target))).to(self._device)
            sequences = {name: share * x + (1 - share) * x[order] for name, x in sequences.items()}
            summaries = {name: share * x + (1 - share) * x[order] for name, x in summaries.items()}
            masks = {name: mask | mask[order] for name, mask in masks.items()}
            other = target[order]
        logits = self._logits(member, sequences, masks, summaries)
        return torch.stack(
            [
                share * F.cross_entropy(branch, target, weights, label_smoothing=self.config.label_smoothing)
                + (1 - share)
                * F.cross_entropy(branch, other, weights, label_smoothing=self.config.label_smoothing)
                for branch in logits
            ]
        ).sum()

    def _rate(self, epochs: float) -> float:
        """Return the learning rate after so many epochs: linear warm-up, then a cosine to zero.

        (Loshchilov & Hutter 2017.)
        """
        done = epochs / self.config.epochs
        warmup = self.config.warmup_epochs / self.config.epochs
        if done < warmup:
            share = (done + 1 / (self.config.epochs * 4)) / warmup
        else:
            share = 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1 - warmup, 1e-9)))
        return self.config.learning_rate * min(share, 1.0)

    def _validate(self) -> tuple[float | None, float | None]:
        """Return loss and top-1 of the held-out clips, all branches counting the same.

        The loss is what is left at the best temperature: a network that grows too sure of itself is
        put right at the end, so that alone shall not end its training.
        """
        if not len(self._held_out):
            return None, None
        fused = self.held_out_scores([Look()]).mean(0)
        target = self.held_out_labels.to(self._device)
        sharpened = (fused / _TEMPERATURES.to(fused).view(-1, 1, 1)).log_softmax(-1)
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
