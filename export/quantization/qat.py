"""Quantization-aware training, and how any training of an export goes on from the given weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.client import Worker
from export.data.samples import Inputs, as_inputs, blended
from export.errors import InputError
from export.ir.graph import Graph
from export.quantization.scales import Ranges, learnable, runnable
from export.quantization.targets import Objective
from export.vocabulary import DISTILLATION_STEPS
from export.worker.protocol import (
    Batch,
    Loss,
    Trained,
    TrainingLength,
    TrainingRequest,
    TrainQuantized,
    TrainStepSizes,
)
from keras_classics.datasets.augment import Augmentation

Batches = Iterable[tuple[Any, ...]]
LEARNING_RATE = 5e-4  # of Adam, for weights as they are
STEP_LEARNING_RATE = 0.008  # of Adam, for kernels in steps of their 8-bit grids
DISTILLATION_BATCH = 8  # of images without labels, of which there are few
PHOTO_AUGMENTATION = Augmentation(shift=0.1, zoom=0.25, horizontal_flip=True, fill="nearest")


@dataclass(frozen=True)
class FineTuning:
    """How to go on training a model under a constraint.

    Without `loss`, each output has the one that goes with it and its targets, of which the first batch tells: a softmax
    the cross entropy with class numbers or, of targets in its own shape, with probabilities; a sigmoid the binary cross
    entropy, of masks position by position; any other output with whole numbers in its shape without the last axis, or
    with one-hot rows, these cross entropies of its values as logits; and else the mean squared error.

    Attributes:
        batches: gives the batches of one epoch, (inputs, targets) or (inputs, targets, sample weights), for the
            epoch's number. Inputs are in the model's own range, (n, …) or a tuple, list or dict of them; targets
            are (n, …) or a tuple, list or dict of them by output, of which a dict may leave some out; sample
            weights are (n,) or, by position, (n, …), for all outputs or by output.
        steps_per_epoch: how many batches an epoch has.
        epochs: how many there are.
        learning_rate: of Adam, decaying to zero along a cosine. Quantization-aware training of kernels
            without a structure measures it in steps of the 8-bit kernel. None takes 0.008 of these, or 5e-4.
        distill: train towards the float model's outputs alone, and not the targets, which may then be None;
            half of the batches are blends of their samples. For quantization-aware training, where the loss is
            otherwise joined by the distance from the float model's outputs, unless kernels have a structure: of cross
            entropies the divergence from its probabilities, else the same loss with its outputs as targets.
        loss: a name that Keras knows ("mse", "binary_crossentropy", "dice", …), a loss of `keras.losses`, or
            "module:function", a function of (targets, outputs) written in TensorFlow, or a tuple, list or dict of
            them by output, None for the loss that goes with it. Cross entropies are taken from what an output's
            softmax or sigmoid takes, and of outputs without either from their values as logits.
    """

    batches: Callable[[int], Batches]
    steps_per_epoch: int
    epochs: int = 2
    learning_rate: float | None = None
    distill: bool = False
    loss: Any = None

    def __post_init__(self) -> None:
        if self.distill and self.loss is not None:
            raise InputError("distill=True learns from the float model's outputs alone; leave loss out")

    @classmethod
    def on_arrays(
        cls,
        inputs: Any,
        targets: Any,
        batch_size: int = 32,
        seed: int = 0,
        *,
        sample_weight: Any = None,
        **options: Any,
    ) -> FineTuning:
        """Train on arrays in memory, shuffled anew in each epoch; what is left of a last batch is left out.

        Args:
            inputs, targets, sample_weight: those of all samples, (N, …) each, as `batches` has them of a batch.
            batch_size: samples in a batch.
            seed: of the order.
            **options: other attributes.

        Raises:
            InputError: the arrays are of different lengths, or empty.
        """
        whole = (inputs, targets, sample_weight)
        arrays = [array for value in whole for array in _arrays(value)]
        if not all(np.ndim(array) for array in arrays):
            raise InputError("training takes arrays, or a tuple, list or dict of them; give NumPy arrays")
        counts = [len(array) for array in arrays]
        if len(set(counts)) != 1 or not counts[0]:
            raise InputError(
                "inputs, targets and sample weights must be of the same number of samples, one at least; they are of "
                + ", ".join(map(str, counts))
            )
        count = counts[0]
        size = min(batch_size, count)

        def batches(epoch: int) -> Batches:
            order = np.random.default_rng([seed, epoch]).permutation(count)
            for start in range(0, count - size + 1, size):
                chosen = order[start : start + size]
                yield tuple(_taken(value, chosen) for value in whole)

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
            for images, *_ in plain.batches(epoch):
                yield PHOTO_AUGMENTATION(images, random), None

        epochs = math.ceil(DISTILLATION_STEPS / plain.steps_per_epoch)
        return cls(batches, plain.steps_per_epoch, epochs, distill=True)

    def prepared(self, graph: Graph) -> tuple[Sequence[Loss], Iterator[Batch]]:
        """The losses of the graph's outputs, and all batches of all epochs, as the worker takes them.

        Raises:
            InputError: targets of the first batch do not go with the outputs or losses; of a later one, when it is
                taken from the iterator.
        """
        raw = self._batches(graph)
        if self.distill:
            return (), self._distilled(raw)
        first = next(raw, None)
        if first is None:
            raise InputError("training has no batches; give some for every epoch")
        if first[1] is None:
            raise InputError("training without targets needs distill=True")
        objective = Objective.chosen(graph, first[1], self.loss)

        def fitted(batch: tuple[Inputs, Any, Any]) -> Batch:
            inputs, targets, weights = batch
            count = len(inputs[0])
            return Batch(inputs, objective.fitted(targets, count), objective.weights(weights, count))

        start = fitted(first)
        return objective.losses, itertools.chain([start], map(fitted, raw))

    def samples(self, graph: Graph, count: int) -> Inputs:
        """The first inputs of the training, (count, …) each, or fewer where it has no more."""
        found: list[Inputs] = []
        for arrays, *_ in self._batches(graph):
            found.append(arrays)
            if sum(len(batch[0]) for batch in found) >= count:
                break
        return [np.concatenate(each)[:count] for each in zip(*found, strict=True)]

    def _distilled(self, batches: Iterator[tuple[Inputs, Any, Any]]) -> Iterator[Batch]:
        random = np.random.default_rng(0)
        for inputs, *_ in batches:
            yield Batch(blended(inputs, random))

    def _batches(self, graph: Graph) -> Iterator[tuple[Inputs, Any, Any]]:
        """Inputs in the graph's order, targets and sample weights of each batch."""
        shapes = [graph.operations[name].shape for name in graph.inputs]
        for epoch in range(self.epochs):
            for inputs, *rest in self.batches(epoch):
                targets, weights = (*rest, None, None)[:2]
                arrays = as_inputs(inputs, graph.input_names, shapes, "a training batch")
                yield [np.asarray(array, np.float32) for array in arrays], targets, weights

    @property
    def length(self) -> TrainingLength:
        """How long it is."""
        return TrainingLength(self.steps_per_epoch, self.epochs)


def _arrays(value: Any) -> list[Any]:
    """All arrays in what is an array, a tuple, list or dict of them, or None."""
    if isinstance(value, Mapping):
        return list(value.values())
    return [each for each in (value if isinstance(value, tuple | list) else [value]) if each is not None]


def _taken(value: Any, chosen: np.ndarray) -> Any:
    """The chosen samples of the same."""
    if isinstance(value, Mapping):
        return {name: each[chosen] for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_taken(each, chosen) for each in value]
    return None if value is None else np.asarray(value)[chosen]


def fit(worker: Worker, request: TrainingRequest, batches: Iterable[Batch]) -> Trained:
    """Train; raises InputError where the loss grew beyond all numbers."""
    trained = worker.run(request, batches)
    for row in trained.history:
        if not math.isfinite(row["loss"]):
            raise InputError(
                f"the {request.task} diverged: its loss is {row['loss']} in epoch {row['epoch']:.0f}; "
                "give a lower learning rate, and check that inputs and targets are finite"
            )
    return trained


def train_quantized(
    graph: Graph,
    worker: Worker,
    ranges: Ranges,
    keep_float: frozenset[str],
    training: FineTuning,
    teacher: Graph,
    preserve_sparsity: bool = False,
    preserve_clusters: bool = False,
) -> tuple[Ranges, list[dict[str, float]]]:
    """Train the graph's weights in place under simulated int8.

    Kernels with a structure keep it, and the ranges stay; the others are trained on their 8-bit grids, and
    ranges with them. Operations of `keep_float` are trained as they are.

    Args:
        teacher: the float model, for distillation; of kernels without a structure, beside labels as well.
        preserve_sparsity, preserve_clusters: the structure that kernels have.

    Returns:
        The ranges, and the mean loss of each epoch.
    """
    losses, batches = training.prepared(graph)
    request: TrainingRequest
    if preserve_sparsity or preserve_clusters:
        request = TrainQuantized(
            graph=graph,
            length=training.length,
            losses=losses,
            teacher=teacher if training.distill else None,
            ranges=ranges,
            keep_float=keep_float,
            learning_rate=training.learning_rate or LEARNING_RATE,
            preserve_sparsity=preserve_sparsity,
            preserve_clusters=preserve_clusters,
        )
    else:
        request = TrainStepSizes(
            graph=graph,
            length=training.length,
            losses=losses,
            teacher=teacher,
            ranges=ranges,
            shared=learnable(graph, ranges, keep_float),
            keep_float=keep_float,
            learning_rate=training.learning_rate or STEP_LEARNING_RATE,
        )
    trained = fit(worker, request, batches)
    graph.set_weights(trained.weights)
    return runnable(graph, trained.ranges or ranges, keep_float), trained.history
