"""What training makes small: losses on targets, and the distance from a float model's outputs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from export.ir.graph import Graph
from export.worker import execute
from export.worker.protocol import Loss, TrainingRequest, imported

Tensors = Sequence[tf.Tensor]
Objective = Callable[[Tensors, Tensors, Tensors, Tensors], tf.Tensor]
"""The loss of a batch's inputs, its targets, their weights and the outputs of `loss_inputs`."""
DIVERGENCE_WEIGHT = 0.02
"""How much the divergence of class probabilities counts beside the relative squared error of the logits.

A few values were tried on the tuning photos of benchmarks/photos.py, none swept.
"""
CATEGORICAL = ("SparseCategoricalCrossentropy", "CategoricalCrossentropy", "CategoricalFocalCrossentropy")
BINARY = ("BinaryCrossentropy", "BinaryFocalCrossentropy")
ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}
REDUCTIONS = {"sum_over_batch_size": "sum_over_batch_size", "mean": "sum_over_batch_size", "sum": "sum"}
"""Keras 3's names of how the losses of samples are joined, in tf_keras."""


def loss_inputs(graph: Graph, losses: Sequence[Loss]) -> list[str]:
    """The operation whose value stands for each output: of a softmax its logits, and of a sigmoid that has targets.

    From these a cross entropy can be taken without the rounding of probabilities near 0 and 1.
    """
    targeted = {loss.output for loss in losses}
    names = []
    for index, name in enumerate(graph.outputs):
        operation = graph.operations[name]
        before = operation.function == "softmax" or (operation.function == "sigmoid" and index in targeted)
        names.append(operation.inputs[0] if before else name)
    return names


def objective(request: TrainingRequest) -> Objective:
    """The loss of a training.

    An output with targets has their loss and, with a teacher, as much of what ties it to the teacher, which keeps what
    the float model had learned (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2): of
    cross entropies the divergence from the teacher's probabilities, and of other losses the same loss with the
    teacher's outputs as targets. An output without targets has, for each sample, the squared error relative to the
    teacher's output (of a softmax: its logits) and, of class probabilities, a little of the divergence.
    """
    terms = [_Term(loss, request.graph) for loss in request.losses]
    targeted = {term.output for term in terms}
    teacher = request.teacher

    def loss(inputs: Tensors, targets: Tensors, weights: Tensors, outputs: Tensors) -> tf.Tensor:
        given = weights or [None] * len(targets)
        total = sum(
            term(target, outputs[term.output], weight)
            for term, target, weight in zip(terms, targets, given, strict=True)
        )
        if teacher is None:
            return total
        values = execute.run(teacher, list(inputs))
        expected = [values[name] for name in loss_inputs(teacher, request.losses)]
        total += sum(term.distance(expected[term.output], outputs[term.output]) for term in terms)
        others = [pair for i, pair in enumerate(zip(expected, outputs, strict=True)) if i not in targeted]
        return total + sum(_relative_error(*pair) + DIVERGENCE_WEIGHT * _class_divergence(*pair) for pair in others)

    return loss


class _Term:
    """The loss of one output.

    Attributes:
        output: its position in the graph.
    """

    def __init__(self, loss: Loss, graph: Graph) -> None:
        self.output = loss.output
        function = graph.operations[graph.outputs[loss.output]].function
        linear = not function and bool(loss.config.get("from_logits"))
        self._categorical = loss.name in CATEGORICAL and (function == "softmax" or linear)
        self._binary = loss.name in BINARY and (function == "sigmoid" or linear)
        self._from_logits = self._categorical or self._binary
        self._activation = ACTIVATIONS.get(function, tf.identity)
        self._loss = _function(loss, self._from_logits)
        # A teacher gives no class numbers.
        self._for_teacher = tf_keras.losses.KLDivergence() if loss.name == CATEGORICAL[0] else self._loss

    def __call__(self, target: tf.Tensor, value: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
        """Of targets."""
        return self._loss(target, self._output(value), sample_weight=weight)

    def distance(self, expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        """From a teacher's value of the same output."""
        if self._categorical:
            return _divergence(expected, found)
        if self._binary:
            return _binary_divergence(expected, found)
        return self._for_teacher(self._output(expected), self._output(found))

    def _output(self, value: tf.Tensor) -> tf.Tensor:
        return value if self._from_logits else self._activation(value)


def _function(loss: Loss, from_logits: bool) -> Callable[..., tf.Tensor]:
    if ":" in loss.name:
        return _imported(loss)
    config = dict(loss.config)
    reduction = config.pop("reduction", "mean")
    if loss.name in ("Dice", "Tversky"):
        return _Tversky(**config)
    config["reduction"] = REDUCTIONS[reduction]
    if loss.name in (*CATEGORICAL, *BINARY):
        config["from_logits"] = from_logits
    return getattr(tf_keras.losses, loss.name)(**config)


def _imported(loss: Loss) -> Callable[..., tf.Tensor]:
    with _searching(loss.search_path):
        function = imported(loss.name)

    def weighted(target: tf.Tensor, output: tf.Tensor, sample_weight: tf.Tensor | None = None) -> tf.Tensor:
        losses = function(target, output)
        return tf.reduce_mean(losses if sample_weight is None else losses * sample_weight)

    return weighted


@contextlib.contextmanager
def _searching(folders: Sequence[str]) -> Iterator[None]:
    """Let modules be found where the exporting process finds them."""
    before = list(sys.path)
    sys.path.extend(folder for folder in folders if folder not in before)
    try:
        yield
    finally:
        sys.path[:] = before


class _Tversky:
    """Keras 3's Tversky loss, of which Dice is the one with both weights at a half; tf_keras has neither."""

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> None:
        self._alpha, self._beta, self._axis = alpha, beta, axis

    def __call__(self, target: tf.Tensor, output: tf.Tensor, sample_weight: None = None) -> tf.Tensor:
        common, missed, wrong = (
            tf.reduce_sum(each, self._axis) for each in (target * output, target * (1 - output), (1 - target) * output)
        )
        whole = common + self._alpha * missed + self._beta * wrong + tf_keras.backend.epsilon()
        return tf.reduce_mean(1 - common / whole)


def _relative_error(expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    axes = list(range(1, expected.shape.rank))
    power = tf.reduce_sum(tf.square(expected), axes) + tf_keras.backend.epsilon()
    return tf.reduce_mean(tf.reduce_sum(tf.square(found - expected), axes) / power)


def _class_divergence(expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """The divergence of what may be logits of classes; 0 of what is none."""
    if expected.shape.rank != 2 or expected.shape[1] == 1:
        return tf.constant(0.0)
    return _divergence(expected, found)


def _divergence(expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Of the class probabilities on the last axis, by their logits; the mean over samples and positions."""
    logs = tf.nn.log_softmax(expected) - tf.nn.log_softmax(found)
    return tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(expected) * logs, -1))


def _binary_divergence(expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Of probabilities of yes and no, by their logits; the mean over all of them."""
    share = tf.sigmoid(expected)
    yes = tf.math.log_sigmoid(expected) - tf.math.log_sigmoid(found)
    no = tf.math.log_sigmoid(-expected) - tf.math.log_sigmoid(-found)
    return tf.reduce_mean(share * yes + (1 - share) * no)
