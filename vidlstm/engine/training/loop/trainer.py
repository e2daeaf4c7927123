"""The training loop on extracted features; it yields a record per epoch.

The randomness of an epoch depends only on the seed and the epoch's number. So a run that is resumed after
any epoch gives exactly the same result as an uninterrupted run, bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidlstm.config import TrainConfig
from vidlstm.engine.distributed import World
from vidlstm.engine.training.loop.encoder_training import EncoderTraining
from vidlstm.engine.training.loop.fusion import fit_fusion
from vidlstm.engine.training.loop.members import Part
from vidlstm.engine.training.loop.networks import Networks, branch_scores
from vidlstm.engine.training.loop.optimiser import AdamW, clip, rate_after
from vidlstm.engine.training.loop.statistics import rarity, standardise
from vidlstm.engine.training.loop.steps import Step, align_members, pad, rows_of
from vidlstm.engine.views import View
from vidlstm.errors import UsageError
from vidlstm.features.batches import ClipFeatures, choose, training_batch
from vidlstm.models.classifier import Classifier
from vidlstm.records import EpochReport

_STATISTICS_CLIPS = 1000  # approximate number of clips for the standardisation
_TEMPERATURES = torch.tensor([1.15**power for power in range(-6, 13)])  # 0.43 to 5.4
_NOVELTY_CLIPS = 2000  # approximate number of each member's training clips for the novelty
_MAX_GRADIENT = 1.0  # maximum norm of a branch's gradient


class Trainer:
    """Trains all members of a classifier together, on features.

    Each member is validated on the clips that it holds out. Early stopping and the best epoch are decided
    on all of these together; fusion and temperature are fitted on them, too.

    Args:
        classifier: On its device; trained in place.
        clips: Features of every clip; None for clips that are in no part.
        labels: Class of every clip, int64 `(N,)`.
        parts: Training and validation clips, one part per member.
        config: How to train.
        mix_views: Each step of a sequence may come from a different view (see `choose`).
        views: Views whose scores are averaged in scoring.
        mirror: Also train on mirrored clips.
        encoder_training: How the encoder is trained, in place; None if it is frozen.
        world: The processes of a distributed training.
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
        views: Sequence[View],
        mirror: bool,
        encoder_training: EncoderTraining | None = None,
        world: World | None = None,
    ) -> None:
        self.classifier = classifier
        self.labels = labels
        self.parts = parts
        self.config = config
        self.mix_views = mix_views
        self.views = views
        self.mirror = mirror
        self.encoder_training = encoder_training
        self.world = world or World()
        self.epoch = 0
        self.best_epoch = 0
        self.diverged = False
        self._best = math.inf
        self._best_state: dict[str, Tensor] | None = None
        self._device = classifier.fusion.device
        self._held_out = np.concatenate([part.val for part in parts])
        self._networks = Networks(
            classifier, clips, parts, encoder_training, self.world, checkpointing=config.checkpointing
        )
        self._optimisers = {
            name: AdamW(n.parameters(), config.weight_decay) for name, n in self._networks.modules.items()
        }
        # Gradients are clipped separately for every member of every branch, and for the encoder.
        self._clipped = [
            (member, *branch.parameters_of(member))
            for branch in classifier.branches
            for member in range(len(parts))
        ]
        if encoder_training is not None:
            self._clipped.append((0, [], [*encoder_training.encoder.parameters()]))
        if encoder_training is None or not encoder_training.warm_start:
            for number, part in enumerate(parts):
                sample = part.train[:: max(1, len(part.train) // _STATISTICS_CLIPS)]
                standardise(classifier, number, self._networks.features(sample))

    def run(self) -> Iterator[EpochReport]:
        """Train until the last epoch, until validation stops improving (`patience`), or until divergence."""
        warm_start = self.encoder_training is not None and self.encoder_training.warm_start
        if warm_start and self._best_state is None:
            self._keep_if_best(self._validate()[0])
        while not self.is_over:
            started = time.monotonic()
            self.epoch += 1
            train_loss = self._train_epoch()
            val_loss, val_top1 = self._validate()
            # The losses of an epoch do not show what its last step does to the weights.
            losses = (train_loss, self._weight_sum() if val_loss is None else val_loss)
            self.diverged = not all(map(math.isfinite, losses))
            is_best = not self.diverged and self._keep_if_best(val_loss)
            rate = rate_after(self.epoch, self.config) * self.config.learning_rate
            seconds = time.monotonic() - started
            yield EpochReport(
                self.epoch, self.config.epochs, train_loss, val_loss, val_top1, rate, seconds, is_best
            )

    def finish(self) -> None:
        """Load the best epoch's weights; fit fusion, calibration and novelty on the held-out clips.

        Raises:
            UsageError: Training diverged in the first epoch.
        """
        if self.diverged and not self.has_best:
            raise UsageError(
                f"training diverged: the loss is not a number in epoch {self.epoch}; "
                f"try a `learning_rate` below {self.config.learning_rate:g}"
            )
        self.load_best()
        self.calibrate()

    def load_best(self) -> None:
        """Load the best epoch's weights."""
        if self._best_state is not None:
            self._networks.modules.load_state_dict(self._best_state)

    def calibrate(self, *, novelty: bool = True) -> None:
        """Fit fusion, calibration and, if wanted, `novelty` on the held-out clips."""
        if len(self._held_out):
            outputs = self._networks.outputs([part.val for part in self.parts], self.views)
            weights, temperature, floor = fit_fusion(
                branch_scores(outputs), self.held_out_labels, self.num_held_out
            )
            self.classifier.fusion.copy_(weights)
            self.classifier.temperature.copy_(temperature)
            self.classifier.floor.copy_(floor)
            if novelty and all(outputs):
                self._fit_novelty(outputs)
        self._networks.modules.eval()

    def state(self) -> dict[str, Any]:
        """Return everything needed to resume: tensors and plain values."""
        return {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best": self._best,
            "best_state": self._best_state,
            "networks": self._networks.modules.state_dict(),
            "optimisers": {name: optimiser.state() for name, optimiser in self._optimisers.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.epoch = state["epoch"]
        self.best_epoch = state["best_epoch"]
        self._best = state["best"]
        self._best_state = state["best_state"]
        self._networks.modules.load_state_dict(state["networks"])
        for name, optimiser in self._optimisers.items():
            optimiser.restore(state["optimisers"][name])

    @property
    def is_over(self) -> bool:
        """Whether `run` would train no further epoch."""
        return self.epoch >= self.config.epochs or self._out_of_patience() or self.diverged

    @property
    def has_best(self) -> bool:
        """Whether there are weights of a best epoch."""
        return self._best_state is not None

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Indices of the held-out clips, `(N,)`, part after part."""
        return self._held_out

    @property
    def num_held_out(self) -> int:
        """Number of different held-out clips; two members may hold out the same ones."""
        return len(np.unique(self._held_out))

    @property
    def held_out_labels(self) -> Tensor:
        """Classes of the held-out clips, int64 `(N,)`, part after part."""
        return torch.from_numpy(self.labels[self._held_out])

    def held_out_scores(self, views: Sequence[View]) -> Tensor:
        """Return the branches' log-probabilities `(S, N, K)` of the held-out clips, part after part."""
        return branch_scores(self._networks.outputs([part.val for part in self.parts], views))

    def _fit_novelty(self, held_out: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> None:
        """Fit the novelty on each member's vectors of its training clips and of its held-out clips.

        Args:
            held_out: What `Networks.outputs` returns for the held-out clips.
        """
        samples = [self._sample(part.train) for part in self.parts]
        labels = [torch.from_numpy(self.labels[clips]) for clips in samples]
        train, others = (
            [torch.stack([vector for _, vector in rows]) for rows in outputs]
            for outputs in (self._networks.outputs(samples, self.views), held_out)
        )
        if all(bool(vectors.isfinite().all()) for vectors in (*train, *others)):
            novelty = self.classifier.novelty.cpu()  # like the vectors
            novelty.fit(train, labels, others)
            novelty.to(self._device)

    def _sample(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return about `_NOVELTY_CLIPS` of the clips, evenly spaced, with at least one of every class."""
        first = np.unique(self.labels[clips], return_index=True)[1]
        return clips[np.union1d(first, np.arange(0, len(clips), -(-len(clips) // _NOVELTY_CLIPS)))]

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return bool(patience and len(self._held_out) and self.epoch - self.best_epoch >= patience)

    def _train_epoch(self) -> float:
        """Train every member on its training clips once; return the mean loss."""
        rng = np.random.default_rng([self.config.seed, self.epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        self._networks.modules.train()
        config = self.config
        rarities = [rarity(self.labels[part.train], int(self.labels.max()) + 1) for part in self.parts]
        orders = [self._order(part, rare, rng) for part, rare in zip(self.parts, rarities, strict=True)]
        weights = None
        if config.balance == "loss":
            weights = torch.tensor(np.stack(rarities), dtype=torch.float32, device=self._device)
        number = math.ceil(max(map(len, orders)) / config.batch_size)
        batches = [
            align_members(rows, [part.train[0] for part in self.parts])
            for rows in zip(*(np.array_split(order, number) for order in orders), strict=True)
        ]
        losses = []
        for done, step in enumerate(self._steps(batches, rng), 1):
            rate = rate_after(self.epoch - 1 + done / number, config)
            losses.append(self._take_step(step, weights, rate))  # not read yet, so that the GPU does not wait
        counts = torch.from_numpy(np.stack([real.sum(1) for _, real in batches]))
        lengths = torch.tensor([len(order) for order in orders])
        return float(((torch.stack(losses).cpu() * counts).sum(0) / lengths).mean())

    def _order(
        self, part: Part, class_weights: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Return a member's training clips in the order of this epoch."""
        if self.config.balance != "sampler":
            return rng.permutation(part.train)
        weights = class_weights[self.labels[part.train]]
        return rng.choice(part.train, len(part.train), p=weights / weights.sum())

    def _steps(
        self, batches: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]], rng: np.random.Generator
    ) -> Iterator[Step]:
        """Yield the step of each batch: a padded table of clips and its mask, see `align_members`."""
        mixup, encoder_training = self.config.mixup, self.encoder_training
        local = [rows_of(table.shape[1], self.world.rank, self.world.size) for table, _ in batches]
        read: Iterator[list[ClipFeatures]] = iter(())
        if encoder_training is not None and encoder_training.reader is not None:  # there is one member
            read = encoder_training.reader.read(
                [table[0, rows] for (table, _), rows in zip(batches, local, strict=True)]
            )
        for (table, real), rows in zip(batches, local, strict=True):
            clips = self._networks.features(table.ravel())
            choices = choose(clips, rng, mix_views=self.mix_views, mirror=self.mirror)
            batch = training_batch(clips, choices)
            if encoder_training is None:
                yield Step.draw(batch, self.labels[table], real, rows, mixup, rng, self._device)
                continue
            pixels = batch.sequences["rgb"]
            if encoder_training.reader is not None:
                pixels = training_batch(next(read), choices[rows]).sequences["rgb"]
                pixels = pad(pixels, batch.masks["rgb"].shape[1])
            yield Step.draw_pixels(
                batch,
                pixels,
                self.labels[table[0]],
                rows,
                mixup,
                rng,
                self._device,
                flips=encoder_training.flips,
            )

    def _take_step(self, step: Step, weights: Tensor | None, rate: float) -> Tensor:
        """Take one optimiser step with learning rate `rate`; return the members' losses `(M,)`."""
        losses = torch.zeros(len(self.parts), device=self._device)
        in_parts = self.config.accumulate > 1 or self.world.size > 1
        rng_state = torch.get_rng_state()
        for rows in step.parts(self.config.accumulate):
            if in_parts:  # each part draws the dropout of the whole step and uses its own rows
                torch.set_rng_state(rng_state)
                self.classifier.compute(rows, step.length)
            logits = self.classifier.classify(self._networks.describe(*step.inputs(rows)))
            part = step.loss(logits, rows, weights, self.config.label_smoothing)
            part.sum().backward()  # type: ignore[no-untyped-call]
            losses += part.detach()
        if self.world.size > 1:
            gradients = [p.grad for p in self._networks.modules.parameters() if p.grad is not None]
            self.world.all_reduce([*gradients, losses])
        for member, shared, separate in self._clipped:
            views = [p.grad.view(len(self.parts), -1)[member] for p in shared if p.grad is not None]
            clip([*views, *(p.grad for p in separate if p.grad is not None)], _MAX_GRADIENT)
        encoder = None if self.encoder_training is None else self.encoder_training.encoder
        for name, optimiser in self._optimisers.items():
            peak = self.config.learning_rate
            if name == "encoder" and encoder is not None and encoder.keeps_statistics:
                peak = self.config.encoder_learning_rate  # the encoder is pretrained
            optimiser.step(rate * peak)
        return losses

    def _validate(self) -> tuple[float | None, float | None]:
        """Return loss and top-1 on the held-out clips, with equal weights of the branches.

        The loss is the one at the best temperature: overconfidence is corrected by calibration after
        training, so it should not trigger early stopping.
        """
        if not len(self._held_out):
            return None, None
        fused = self.held_out_scores([View()]).mean(0)
        target = self.held_out_labels
        sharpened = (fused / _TEMPERATURES.view(-1, 1, 1)).log_softmax(-1)
        loss = -float(
            sharpened.gather(-1, target.expand(len(_TEMPERATURES), -1)[..., None]).mean((1, 2)).max()
        )
        return loss, float((fused.argmax(1) == target).double().mean())

    def _weight_sum(self) -> float:
        """Return a number that is finite if all weights are."""
        return float(sum(p.detach().abs().mean() for p in self._networks.modules.parameters()))

    def _keep_if_best(self, val_loss: float | None) -> bool:
        """Keep the weights if the validation loss improved; without validation, always."""
        if val_loss is not None and not val_loss < self._best:  # False for NaN, too
            return False
        self._best = math.inf if val_loss is None else val_loss
        self.best_epoch = self.epoch
        self._best_state = {
            name: value.clone() for name, value in self._networks.modules.state_dict().items()
        }
        return True
