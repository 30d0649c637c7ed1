"""What training makes small: losses on targets, and the distance from a float model's outputs."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import tf_keras

from export.ir.graph import Graph
from export.worker import execute

Objective = Callable[[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]], tf.Tensor]
"""The loss of a batch's inputs, its targets and the graph's outputs."""
# How much the divergence of class probabilities counts beside the relative squared error of the logits: a few values
# were tried on the tuning photos of benchmarks/photos.py, none swept.
DIVERGENCE_WEIGHT = 0.02


def objective(teacher: Graph | None) -> Objective:
    """The loss.

    Without targets, for each sample the squared error of the logits relative to the teacher's, and of classifiers a
    little of the divergence from the teacher's class probabilities. With class numbers their cross entropy, and as much
    of the divergence, which keeps what the float model had learned (Hinton et al. 2015, section 2).
    """

    def loss(inputs: list[tf.Tensor], targets: list[tf.Tensor], outputs: list[tf.Tensor]) -> tf.Tensor:
        on_targets = sum(class_loss(*pair) for pair in zip(targets, outputs, strict=True)) if targets else 0.0
        if teacher is None:
            return on_targets
        values = execute.run(teacher, inputs)
        expected = [values[teacher.logits(name)] for name in teacher.outputs]
        pairs = list(zip(expected, outputs, strict=True))
        if targets:
            return on_targets + sum(_divergence(*pair) for pair in pairs)
        return sum(_relative_error(*pair) + DIVERGENCE_WEIGHT * _divergence(*pair) for pair in pairs)

    return loss


def class_loss(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross entropy of the logits with class numbers."""
    return tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)(target, logits)


def _relative_error(expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    axes = list(range(1, expected.shape.rank))
    power = tf.reduce_sum(tf.square(expected), axes) + tf_keras.backend.epsilon()
    return tf.reduce_mean(tf.reduce_sum(tf.square(found - expected), axes) / power)


def _divergence(expected: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Of the class probabilities, the mean over samples; 0 of what are no logits of classes."""
    if expected.shape.rank != 2 or expected.shape[1] == 1:
        return tf.constant(0.0)
    logs = tf.nn.log_softmax(expected) - tf.nn.log_softmax(found)
    return tf.reduce_mean(tf.reduce_sum(tf.nn.softmax(expected) * logs, 1))
