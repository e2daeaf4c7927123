"""Are the clips that `review --budget` chooses worth more than random ones?

    python -m tests.benchmarks.active_choice PICTURES [--seeds 5] [--start 5] [--budget 50]

PICTURES has train/ and test/. A model is trained on a few pictures of each class. Each method then chooses
some of the other training pictures, which get their true labels, and a model is trained on all labelled
pictures. Prints top-1 on the test pictures. k-means (Zhdanov, "Diverse mini-batch active learning", 2019)
clusters the encoder's features, weighted by uncertainty, and takes the picture nearest to each centre.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from vidlstm.config import ModelConfig, TrainConfig
from vidlstm.data.samples import find_dataset
from vidlstm.engine.extraction.clips import Clips, extract_clips
from vidlstm.engine.extraction.open import open_extractor
from vidlstm.engine.extraction.reading import ReadRequest
from vidlstm.engine.review.budget import choose
from vidlstm.engine.review.items import ReviewItem, ReviewList
from vidlstm.engine.scoring import score
from vidlstm.engine.training.prepare import make_trainer, start_model
from vidlstm.models.checkpoint import Model, rgb_encoder
from vidlstm.records import is_unknown
from vidlstm.settings import DataSettings, MachineSettings

Indices = NDArray[np.int64]


def extract(data: Path) -> tuple[ModelConfig, Clips]:
    """Return the default model for the pictures, and their features."""
    dataset = find_dataset(DataSettings(data))
    config = ModelConfig.default(dataset.kind, dataset.classes)
    request, encoder = ReadRequest.for_training(config), rgb_encoder(config, seed=0)
    with open_extractor(request, encoder, MachineSettings(workers=1), cache=True) as extractor:
        extraction = extract_clips(extractor, dataset)
        while True:
            try:
                next(extraction)
            except StopIteration as end:
                return config, end.value


class Trial:
    """One seed: the labelled pictures at the start, and the others.

    Args:
        config: The model.
        clips: All pictures.
        start: Number of labelled pictures of each class.
        seed: Seed of the choice and the training.
    """

    def __init__(self, config: ModelConfig, clips: Clips, start: int, seed: int) -> None:
        self.config, self.clips, self.seed = config, clips, seed
        self.rng, self.labels = np.random.default_rng(seed), clips.labels()
        subsets = np.array([sample.split for sample in clips.dataset.samples])
        train, self.test = np.flatnonzero(subsets == "train"), np.flatnonzero(subsets == "test")
        classes = range(len(config.classes))
        first = [self.rng.permutation(train[self.labels[train] == k])[:start] for k in classes]
        self.labelled: Indices = np.concatenate(first)
        self.others: Indices = np.setdiff1d(train, self.labelled)
        self.model = self.train(self.labelled)
        self.scored = score(self.model, clips, self.others.tolist())

    def train(self, chosen: Indices) -> Model:
        """Train on some pictures."""
        model = start_model(self.config, self.clips, None, self.seed)
        training = replace(TrainConfig.default(self.config), seed=self.seed)
        trainer = make_trainer(model, self.clips, sorted(chosen.tolist()), training)
        for _ in trainer.run():
            pass
        trainer.finish()
        return model

    def accuracy(self, model: Model) -> float:
        """Return top-1 on the test pictures."""
        found = score(model, self.clips, self.test.tolist())
        return float(
            np.mean([np.argmax(s.scores) == self.labels[i] for s, i in zip(found, self.test, strict=True)])
        )

    def at_random(self, number: int) -> Indices:
        """Choose at random."""
        return self.rng.permutation(self.others)[:number]

    def by_review(self, number: int) -> Indices:
        """Choose like `review --budget`."""
        items = []
        for i, record in zip(self.others.tolist(), self.scored, strict=True):
            top = sorted(zip(self.config.classes, record.scores, strict=True), key=lambda pair: -pair[1])
            unknown = is_unknown(top[0][0], record.novelty or 0.0)
            items.append(ReviewItem(str(i), suggested=top[0][0], top=tuple(top), unknown=unknown))
        chosen = choose(ReviewList(tuple(items), self.config.classes), number)
        return np.array([int(item.path) for item in chosen.items], np.int64)

    def by_margin(self, number: int) -> Indices:
        """Choose the least certain."""
        return self.others[np.argsort(1 - self._doubt())[:number]]

    def by_classes(self, number: int) -> Indices:
        """Choose the least certain of every suggested class in turn."""
        order = np.argsort(1 - self._doubt())
        suggested = np.array([np.argmax(self.scored[i].scores) for i in order])
        turns = [np.count_nonzero(suggested[:place] == name) for place, name in enumerate(suggested)]
        return self.others[order[np.argsort(turns, kind="stable")[:number]]]

    def by_clusters(self, number: int) -> Indices:
        """Choose one from each cluster of the encoder's features, weighted by uncertainty."""
        vectors = np.stack([self._vector(i) for i in self.others.tolist()])
        vectors -= vectors.mean(0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        clusters = KMeans(number, n_init=3, random_state=self.seed).fit(vectors, sample_weight=self._doubt())
        distances = clusters.transform(vectors)
        near = [np.where(clusters.labels_ == k, distances[:, k], np.inf).argmin() for k in range(number)]
        return self.others[near]

    def _doubt(self) -> NDArray[np.float64]:
        best = np.sort([record.scores for record in self.scored], axis=1)
        return np.asarray(1 - best[:, -1] + best[:, -2])

    def _vector(self, index: int) -> NDArray[np.float32]:
        values = self.clips.features(index).sequences["rgb"][0].astype(np.float32)
        return np.asarray(values.reshape(-1, values.shape[-1]).mean(0))


def main() -> None:
    """Measure every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--start", type=int, default=5)
    parser.add_argument("--budget", type=int, default=50)
    options = parser.parse_args()
    config, clips = extract(options.pictures)
    found: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        trial = Trial(config, clips, options.start, seed)
        ways = {
            "random": trial.at_random(options.budget),
            "review --budget": trial.by_review(options.budget),
            "margin": trial.by_margin(options.budget),
            "classes in turn": trial.by_classes(options.budget),
            "k-means": trial.by_clusters(options.budget),
        }
        found.setdefault("start", []).append(trial.accuracy(trial.model))
        for way, chosen in ways.items():
            model = trial.train(np.concatenate([trial.labelled, chosen]))
            found.setdefault(way, []).append(trial.accuracy(model))
        print(f"seed {seed}: { ({way: round(values[-1], 3) for way, values in found.items()}) }", flush=True)
    for way, values in found.items():
        print(f"{way:26} mean {np.mean(values):.3f}")


if __name__ == "__main__":
    main()
