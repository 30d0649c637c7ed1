"""The table of kinds, what is lowered to it, and what the worker computes are of one mind."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from export.frontend.read import read_graph
from export.ir.graph import Operation
from export.ir.kinds import FUNCTIONS, KINDS, traits

NOT_COMPUTED = {"input", "batch_normalization"}  # an input is given, and a normalization is folded before


def every_kind() -> keras.Model:
    """A model whose layers are lowered to every kind and every function of the table."""
    keras.utils.set_random_seed(0)
    ops = keras.ops
    image = layers.Input((8, 8, 4), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", activation="relu")(image))
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = layers.Conv2DTranspose(4, 3, padding="same")(layers.PReLU()(x))
    x = layers.MaxPooling2D(2, padding="same", strides=1)(layers.AveragePooling2D(2, padding="same", strides=1)(x))
    x = layers.UpSampling2D(2)(layers.Cropping2D(2)(x))
    x = ops.minimum(ops.maximum(x - ops.tanh(x), -x), 3.0) * layers.LeakyReLU()(x)
    x = x / (ops.exp(layers.Activation("gelu")(x)) + 1.5)
    x = ops.clip(x, 0, 2) + ops.sigmoid(x) + ops.abs(x) + ops.hard_silu(x)
    x = ops.log(1.0 + ops.sqrt(ops.relu(x))) * ops.rsqrt(1.0 + ops.relu(x))
    x = layers.ZeroPadding2D(1)(layers.Concatenate()([x, layers.Permute((2, 1, 3))(x)]))
    rows = ops.matmul(ops.max(x, axis=1), ops.transpose(ops.min(x, axis=2), (0, 2, 1)))
    vector = layers.Concatenate()([ops.sum(rows, axis=1), ops.mean(rows, axis=2)])
    flat = layers.Flatten()(layers.Reshape((4, 5))(vector))
    flat = ops.sin(flat) + ops.cos(flat) + ops.floor(flat) + ops.ceil(flat) + ops.round(flat) + ops.arctan2(flat, flat)
    flat = ops.where(
        ops.logical_or(flat > 0, flat < -1), flat, ops.take(np.array([1.0, 2.0]), ops.argmax(flat[:, :2], 1))[:, None]
    )
    flat = (
        ops.take(ops.top_k(flat, 5)[0], [3, 1, 0, 2, 4], axis=1) * ops.cast(ops.top_k(flat, 5)[1], "float32")
        + ops.zeros_like(flat)[:, :5]
    )
    flat = ops.where(ops.isfinite(flat), flat, 0.0)
    flat += ops.cast(ops.argmin(flat, axis=1, keepdims=True), "float32")
    return keras.Model(image, layers.Dense(5, activation="softmax")(flat))


def test_every_kind_is_lowered_to_and_computed() -> None:
    from export.worker import operations

    lowered = list(read_graph(every_kind()).operations.values())
    assert {operation.kind for operation in lowered} == set(KINDS)
    assert {operation.function for operation in lowered} - {""} == set(FUNCTIONS)
    assert set(operations.OPERATIONS) == set(KINDS) - NOT_COMPUTED
    assert set(operations.FUNCTIONS) == set(FUNCTIONS)


def test_weights_have_the_roles_of_their_kind() -> None:
    for operation in read_graph(every_kind()).operations.values():
        assert set(operation.weights) <= set(operation.traits.roles), operation.name


def test_an_activation_behaves_as_its_function() -> None:
    relu = Operation("a", "activation", ["b"], (4,), {"function": "relu6"})
    assert relu.traits is FUNCTIONS["relu6"]
    assert relu.function == "relu6"
    assert Operation("a", "gate", ["b"], (4,), {"function": "x"}, {"kernel": np.ones(1)}).function == ""
    for kind, attributes, message in (("gate", {}, "no kind"), ("activation", {"function": "gate"}, "no activation")):
        with pytest.raises(ValueError, match=message):
            traits(kind, attributes)


def test_the_table_needs_neither_keras_nor_tensorflow() -> None:
    script = "import sys, export.ir.kinds, export.ir.channels, export.quantization.scales; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"keras", "tensorflow", "jax", "torch", "export.client"} & set(result.stdout.split())
