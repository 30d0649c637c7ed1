"""Quantization-aware training, and how any training of an export goes on from the given weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.client import Worker
from export.data.samples import Inputs, blended
from export.errors import InputError
from export.ir.graph import Graph
from export.quantization.scales import Ranges, learnable, runnable
from export.worker.protocol import Batch, Trained, TrainingLength, TrainQuantized, TrainStepSizes
from keras_classics.datasets.augment import Augmentation

Batches = Iterable[tuple[Any, np.ndarray | None]]
LEARNING_RATE = 5e-4  # of Adam, for weights as they are
STEP_LEARNING_RATE = 0.008  # of Adam, for kernels in steps of their 8-bit grids
# Steps and batch size of distillation on images without labels, of which there are few.
DISTILLATION_STEPS = 1800
DISTILLATION_BATCH = 8
PHOTO_AUGMENTATION = Augmentation(shift=0.1, zoom=0.25, horizontal_flip=True, fill="nearest")


@dataclass(frozen=True)
class FineTuning:
    """How to go on training a model under a constraint.

    Attributes:
        batches: gives the batches of one epoch, (inputs, class numbers), for the epoch's number;
            inputs are float32 in the model's own range, (n, …) or a tuple or list of them.
        steps_per_epoch: how many batches an epoch has.
        epochs: how many there are.
        learning_rate: of Adam, decaying to zero along a cosine. Quantization-aware training of kernels
            without a structure measures it in steps of the 8-bit kernel. None takes 0.008 of these, or 5e-4.
        distill: train towards the float model's outputs alone, and not the class numbers, which may then be None;
            half of the batches are blends of their samples. For quantization-aware training, where the class
            numbers are otherwise joined by the float model's class probabilities, unless kernels have a structure.
    """

    batches: Callable[[int], Batches]
    steps_per_epoch: int
    epochs: int = 2
    learning_rate: float | None = None
    distill: bool = False

    @classmethod
    def on_arrays(
        cls, inputs: Any, labels: np.ndarray | None, batch_size: int = 32, seed: int = 0, **options: Any
    ) -> FineTuning:
        """Train on arrays in memory, shuffled anew in each epoch."""
        arrays = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
        count = len(arrays[0])
        size = min(batch_size, count)

        def batches(epoch: int) -> Batches:
            order = np.random.default_rng([seed, epoch]).permutation(count)
            for start in range(0, count - size + 1, size):
                chosen = order[start : start + size]
                yield [array[chosen] for array in arrays], None if labels is None else labels[chosen]

        return cls(batches, count // size, **options)

    @classmethod
    def on_photos(cls, photos: np.ndarray, seed: int = 0) -> FineTuning:
        """Distill on photos without labels, moved, zoomed and mirrored anew in each epoch, for 1,800 steps of 8.

        Args:
            photos: float32 (N, height, width, channels), in the model's own range.
            seed: of their order and changes.

        Raises:
            InputError: they have other axes, or there is none.
        """
        if photos.ndim != 4 or not len(photos):
            raise InputError(f"photos have the shape {photos.shape}; give (N, height, width, channels), one at least")
        plain = cls.on_arrays(photos, None, DISTILLATION_BATCH, seed)

        def batches(epoch: int) -> Batches:
            random = np.random.default_rng([seed, epoch, 1])
            for (images,), _ in plain.batches(epoch):
                yield PHOTO_AUGMENTATION(images, random), None

        epochs = math.ceil(DISTILLATION_STEPS / plain.steps_per_epoch)
        return cls(batches, plain.steps_per_epoch, epochs, distill=True)

    def stream(self) -> Iterator[Batch]:
        """All batches of all epochs, as the worker takes them."""
        random = np.random.default_rng(0)
        for arrays, labels in self._batches():
            if self.distill:
                arrays = blended(arrays, random)
            if labels is None and not self.distill:
                raise InputError("training without class numbers needs distill=True")
            yield Batch(arrays, () if self.distill else (np.asarray(labels, np.int64),))

    def samples(self, count: int) -> Inputs:
        """The first inputs of the training, (count, …) each, or fewer where it has no more."""
        found: list[Inputs] = []
        for arrays, _ in self._batches():
            found.append(arrays)
            if sum(len(batch[0]) for batch in found) >= count:
                break
        return [np.concatenate(each)[:count] for each in zip(*found, strict=True)]

    def _batches(self) -> Iterator[tuple[Inputs, np.ndarray | None]]:
        for epoch in range(self.epochs):
            for inputs, labels in self.batches(epoch):
                arrays = inputs if isinstance(inputs, tuple | list) else [inputs]
                yield [np.asarray(array, np.float32) for array in arrays], labels

    @property
    def length(self) -> TrainingLength:
        """How long it is."""
        return TrainingLength(self.steps_per_epoch, self.epochs)


def train_quantized(
    graph: Graph,
    worker: Worker,
    ranges: Ranges,
    keep_float: frozenset[str],
    training: FineTuning,
    teacher: Graph,
    preserve_sparsity: bool = False,
    preserve_clusters: bool = False,
) -> tuple[Ranges, dict[str, Any]]:
    """Train the graph's weights in place under simulated int8.

    Kernels with a structure keep it, and the ranges stay; the others are trained on their 8-bit grids, and
    ranges with them. Operations of `keep_float` are trained as they are.

    Args:
        teacher: the float model, for distillation; of kernels without a structure, beside labels as well.
        preserve_sparsity, preserve_clusters: the structure that kernels have.

    Returns:
        The ranges, and for the report what was done.
    """
    trained: Trained
    if preserve_sparsity or preserve_clusters:
        structured = TrainQuantized(
            graph=graph,
            length=training.length,
            teacher=teacher if training.distill else None,
            ranges=ranges,
            keep_float=keep_float,
            learning_rate=training.learning_rate or LEARNING_RATE,
            preserve_sparsity=preserve_sparsity,
            preserve_clusters=preserve_clusters,
        )
        trained = worker.run(structured, training.stream())
    else:
        free = TrainStepSizes(
            graph=graph,
            length=training.length,
            teacher=teacher,
            ranges=ranges,
            shared=learnable(graph, ranges, keep_float),
            keep_float=keep_float,
            learning_rate=training.learning_rate or STEP_LEARNING_RATE,
        )
        trained = worker.run(free, training.stream())
    graph.set_weights(trained.weights)
    record = {"epochs": training.epochs, "distilled": training.distill, "history": trained.history}
    return runnable(graph, trained.ranges or ranges, keep_float), record
