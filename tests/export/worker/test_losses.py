"""Losses of the worker are those that Keras computes from the outputs, also where it takes them from logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from export.frontend.read import read_graph
from export.quantization.targets import CLASSES, Objective
from export.worker.protocol import TrainingLength, TrainStepSizes

COUNT, CLASS_COUNT = 6, 4
VALUES = np.random.default_rng(0).normal(size=(COUNT, CLASS_COUNT)).astype(np.float32)
ONE_HOT = np.eye(CLASS_COUNT, dtype=np.float32)[np.arange(COUNT) % CLASS_COUNT]
WEIGHTS = np.linspace(0.2, 1.5, COUNT).astype(np.float32)
CASES: dict[str, tuple[str, np.ndarray]] = {
    "sparse_categorical_crossentropy": ("softmax", np.arange(COUNT) % CLASS_COUNT),
    "categorical_crossentropy": ("softmax", ONE_HOT),
    "categorical_focal_crossentropy": ("softmax", ONE_HOT),
    "kl_divergence": ("softmax", (ONE_HOT + 0.1) / 1.4),
    "binary_crossentropy": ("sigmoid", ONE_HOT),
    "binary_focal_crossentropy": ("sigmoid", ONE_HOT),
    "dice": ("sigmoid", ONE_HOT),
    "tversky": ("sigmoid", ONE_HOT),
    "poisson": ("exponential", np.abs(VALUES[::-1])),
}


def objective(loss: Any, activation: str, targets: np.ndarray, teacher: bool = False) -> Any:
    """The worker's loss of outputs that end in an activation, and the targets as it takes them."""
    from export.worker.losses import objective

    inputs = layers.Input((CLASS_COUNT,), name="values")
    graph = read_graph(keras.Model(inputs, layers.Activation(activation, name="output")(inputs)))
    chosen = Objective.chosen(graph, targets, loss)
    request = TrainStepSizes(
        graph=graph,
        length=TrainingLength(1, 1),
        losses=chosen.losses,
        teacher=graph if teacher else None,
        ranges={},
        shared={},
        learning_rate=1.0,
    )
    return objective(request), chosen


def value(loss: Any, activation: str, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Of `VALUES` before the activation."""
    computed, chosen = objective(loss, activation, targets)
    before = VALUES if activation in ("softmax", "sigmoid") else activated(activation)
    return float(computed([VALUES], chosen.fitted(targets, COUNT), chosen.weights(weights, COUNT), [before]))


def activated(activation: str) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(keras.activations.get(activation)(VALUES)))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_by_name_is_keras_s(name: str, weighted: bool) -> None:
    if weighted and name in ("dice", "tversky"):
        pytest.skip("of a whole batch")
    activation, targets = CASES.get(name, ("tanh", VALUES[::-1] / 3))
    weights = WEIGHTS if weighted else None
    expected = getattr(keras.losses, CLASSES[name])()(targets, activated(activation), sample_weight=weights)
    assert value(name, activation, targets, weights) == pytest.approx(float(expected), rel=2e-5)


@pytest.mark.parametrize(
    ("loss", "activation", "targets"),
    [
        (keras.losses.Huber(delta=0.3), "linear", VALUES[::-1]),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.2), "softmax", ONE_HOT),
        (keras.losses.BinaryFocalCrossentropy(gamma=1.5, apply_class_balancing=True, alpha=0.7), "sigmoid", ONE_HOT),
        (keras.losses.SparseCategoricalCrossentropy(ignore_class=1), "softmax", np.arange(COUNT) % CLASS_COUNT),
        (keras.losses.MeanSquaredError(reduction="sum"), "linear", VALUES[::-1]),
        (keras.losses.Tversky(alpha=0.2, beta=0.8), "sigmoid", ONE_HOT),
        (keras.losses.Dice(axis=1), "sigmoid", ONE_HOT),
        (keras.losses.mean_absolute_error, "linear", VALUES[::-1]),
        (keras.losses.CosineSimilarity(axis=-1), "linear", VALUES[::-1]),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_loss_of_keras_keeps_its_arguments(loss: Any, activation: str, targets: np.ndarray) -> None:
    expected = np.mean(keras.ops.convert_to_numpy(loss(targets, activated(activation))))
    assert value(loss, activation, targets) == pytest.approx(float(expected), rel=2e-5)


@pytest.mark.parametrize(("activation", "name"), [("softmax", "categorical_crossentropy"), ("sigmoid", "bce")])
def test_a_cross_entropy_is_exact_where_probabilities_are_0(activation: str, name: str) -> None:
    """At logits of 100, float32 probabilities are exactly 0 and 1, and Keras's loss of them is cut off at 16."""
    computed, chosen = objective(name, activation, ONE_HOT)
    targets = chosen.fitted(ONE_HOT, COUNT)
    found = float(computed([VALUES], targets, [], [100 * (1 - ONE_HOT) - 100 * ONE_HOT]))
    assert found == pytest.approx(200 + np.log(3) if activation == "softmax" else 100, rel=1e-5)


@pytest.mark.parametrize(
    "name", ["mse", "mae", "categorical_crossentropy", "sparse_categorical_crossentropy", "bce", "kld"]
)
def test_the_distance_from_the_teacher_is_least_at_its_own_outputs(name: str) -> None:
    import tensorflow as tf

    activation = {"mse": "linear", "mae": "linear", "bce": "sigmoid"}.get(name, "softmax")
    targets = np.arange(COUNT) % CLASS_COUNT if name.startswith("sparse") else ONE_HOT
    with_teacher, chosen = objective(name, activation, targets, teacher=True)
    alone, _ = objective(name, activation, targets)
    fitted = chosen.fitted(targets, COUNT)

    def distance(outputs: np.ndarray) -> float:
        given = ([tf.constant(VALUES)], fitted, [], [tf.constant(outputs)])
        return float(with_teacher(*given) - alone(*given))

    at_teacher = distance(VALUES)
    assert at_teacher == pytest.approx(0, abs=1e-6)
    random = np.random.default_rng(1)
    for _ in range(5):
        assert distance(VALUES + random.normal(0, 0.2, VALUES.shape).astype(np.float32)) > at_teacher


def test_a_function_of_a_module_is_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "return tf.reduce_mean((targets - outputs) ** 4, 1)"
    module = f"import tensorflow as tf\ndef quartic(targets, outputs):\n    {body}\n"
    (tmp_path / "losses_of_mine.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path))
    expected = np.mean((VALUES[::-1] - VALUES) ** 4, axis=1)
    assert value("losses_of_mine:quartic", "linear", VALUES[::-1]) == pytest.approx(expected.mean(), rel=1e-5)
    weighted = value("losses_of_mine:quartic", "linear", VALUES[::-1], WEIGHTS)
    assert weighted == pytest.approx((expected * WEIGHTS).mean(), rel=1e-5)
