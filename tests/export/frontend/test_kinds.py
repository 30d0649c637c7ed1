"""Each kind of layer and operation that the bridges know: the same numbers in float, and integers only in int8."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_classics as kc
from export import Worker
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.passes.simplify import simplify
from export.quantization.ranges import calibrations
from export.tflite_file.audit import audit
from export.tflite_file.interpreter import Interpreter
from export.verification.parity import keras_outputs, relative_rms

FACTORS = np.array([0.5, -1.0, 2.0, 0.25], np.float32)


def positive(x: Any) -> Any:
    return ops.relu(x) + 0.5


# From images (6, 8, 4) to anything.
KINDS: dict[str, Callable[[Any], Any]] = {
    "subtract": lambda x: ops.tanh(x) - x,
    "subtract constant": lambda x: x - FACTORS,
    "constant minus": lambda x: 1.0 - x,
    "multiply channels": lambda x: x * FACTORS,
    "divide by constant": lambda x: x / 3.0,
    "divide": lambda x: x / positive(x),
    "batch axis in a constant": lambda x: x + FACTORS.reshape(1, 1, 1, 4),
    "negative": lambda x: -x,
    "square": ops.square,
    "power": lambda x: x**3,
    "root": lambda x: ops.sqrt(ops.relu(x)),
    "power of a half": lambda x: ops.relu(x) ** 0.5,
    "reciprocal root": lambda x: ops.rsqrt(positive(x)),
    "absolute": ops.abs,
    "exponential": ops.exp,
    "logarithm": lambda x: ops.log(positive(x)),
    "maximum": lambda x: ops.maximum(ops.relu(x), -x),
    "maximum with constant": lambda x: ops.maximum(x, 0.1),
    "clip": lambda x: ops.clip(x, -0.5, 0.75),
    "clip around zero": lambda x: ops.clip(x, -1.0, 1.0),
    "clip to one": lambda x: ops.clip(x, 0.0, 1.0),
    "clip from zero": lambda x: ops.clip(x, 0.0, 1.5),
    "mean of rows": lambda x: ops.mean(x, axis=1),
    "mean of channels": lambda x: ops.mean(x, axis=-1, keepdims=True) * x,
    "always zero": lambda x: ops.exp(ops.minimum(ops.relu(x), 0.0)) - 1.0 + x,
    "sum": lambda x: ops.sum(x, axis=(1, 2)),
    "greatest": lambda x: ops.max(x, axis=[1, 2], keepdims=True),
    "least": lambda x: ops.min(x, axis=2),
    "attention": lambda x: x * ops.sigmoid(ops.mean(x, axis=(1, 2), keepdims=True)),
    "reshape": lambda x: ops.reshape(x, (-1, 12, 4, 4)),
    "flatten": lambda x: ops.reshape(x, (-1, 192)),
    "transpose": lambda x: ops.transpose(x, (0, 2, 1, 3)),
    "swap axes": lambda x: ops.swapaxes(x, 1, -1),
    "move axis": lambda x: ops.moveaxis(x, -1, 1),
    "squeeze": lambda x: ops.squeeze(ops.mean(x, axis=1, keepdims=True), axis=1),
    "expand": lambda x: ops.expand_dims(ops.mean(x, axis=1), axis=1),
    "pad": lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))),
    "concatenate": lambda x: ops.concatenate([x, ops.relu(x)], axis=-1),
    "stack": lambda x: ops.stack([ops.mean(x, axis=1), ops.max(x, axis=1)], axis=1),
    "split": lambda x: ops.multiply(*ops.split(x, 2, axis=-1)),
    "split at": lambda x: ops.concatenate(ops.split(x, [1, 3], axis=1)[::-1], axis=1),
    "slice": lambda x: x[:, 1:5:2, ::3, ...],
    "slice of channels": lambda x: x[..., 1:3],
    "index": lambda x: x[:, 2, :, None, -1],
    "matmul": lambda x: ops.matmul(ops.mean(x, axis=1), ops.transpose(ops.mean(x, axis=2), (0, 2, 1))),
    "softmax": ops.softmax,
    "softmax of rows": lambda x: ops.softmax(x, axis=1),
    "max pooling": lambda x: ops.max_pool(x, 2, 2, padding="same"),
    "average pooling": lambda x: ops.average_pool(x, 2, 1),
    "resize": lambda x: ops.image.resize(x, (9, 4)),
    "relu to a limit": lambda x: keras.activations.relu(x, max_value=0.5),
    "relu with everything": layers.ReLU(max_value=0.5, negative_slope=0.1),
    "leaky relu": lambda x: ops.leaky_relu(x, 0.3),
    "elu": layers.ELU(0.7),
    "selu": ops.selu,
    "gelu": ops.gelu,
    "exact gelu": layers.Activation("gelu"),
    "softplus": ops.softplus,
    "softsign": ops.softsign,
    "silu": ops.silu,
    "mish": layers.Activation("mish"),
    "hard silu": ops.hard_silu,
    "hard sigmoid": ops.hard_sigmoid,
    "hard tanh": layers.Activation("hard_tanh"),
    "log sigmoid": ops.log_sigmoid,
    "PReLU": layers.PReLU(alpha_initializer="glorot_uniform"),
    "PReLU by channel": layers.PReLU(alpha_initializer="glorot_uniform", shared_axes=[1, 2]),
    "PReLU of vectors": lambda x: layers.PReLU(alpha_initializer="random_normal")(ops.mean(x, axis=(1, 2))),
    "Average": lambda x: layers.Average()([x, ops.tanh(x), ops.relu(x)]),
    "Subtract": lambda x: layers.Subtract()([x, ops.relu(x)]),
    "Maximum": lambda x: layers.Maximum()([x, -x]),
    "Minimum": lambda x: layers.Minimum()([x, -x]),
    "Dot": lambda x: layers.Dot(1)([ops.mean(x, axis=(1, 2)), ops.max(x, axis=(1, 2))]),
    "UpSampling2D": layers.UpSampling2D((2, 3)),
    "UpSampling2D, bilinear": layers.UpSampling2D(2, interpolation="bilinear"),
    "Resizing": layers.Resizing(5, 9, "nearest"),
    "Cropping2D": layers.Cropping2D(((1, 0), (2, 1))),
    "Permute": layers.Permute((3, 1, 2)),
    "RepeatVector": lambda x: layers.RepeatVector(3)(ops.mean(x, axis=(1, 2))),
    "Conv2DTranspose": layers.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu"),
    "Conv2DTranspose, valid": layers.Conv2DTranspose(5, (2, 4), strides=(3, 1), use_bias=False),
    "Conv2DTranspose and norm": lambda x: layers.ReLU()(layers.BatchNormalization()(layers.Conv2DTranspose(5, 3)(x))),
    "Conv1D": lambda x: layers.Conv1D(5, 3, strides=2, activation="relu")(layers.Reshape((48, 4))(x)),
    "Conv1D, causal": lambda x: layers.Conv1D(4, 3, dilation_rate=2, padding="causal")(layers.Reshape((48, 4))(x)),
    "pooling 1D": lambda x: layers.MaxPooling1D(3)(layers.AveragePooling1D(2)(layers.Reshape((48, 4))(x))),
    "global pooling 1D": lambda x: layers.GlobalAveragePooling1D()(layers.Reshape((48, 4))(x)),
    "padding 1D": lambda x: layers.Cropping1D(2)(layers.ZeroPadding1D((1, 4))(layers.Reshape((48, 4))(x))),
    "dense on rows": layers.Dense(6, activation="relu"),
    "LayerNormalization": layers.LayerNormalization(),
    "RMSNormalization": layers.RMSNormalization(),
    "LocalResponseNormalization": kc.layers.LocalResponseNormalization(3, alpha=0.5),
    "LocalResponseNormalization in blocks": lambda x: kc.layers.LocalResponseNormalization(7, alpha=0.5)(
        layers.Conv2D(48, 1)(x)
    ),
    "Rescaling by channel": layers.Rescaling([1.0, 0.5, 2.0, 3.0], [0.1, 0.0, -1.0, 0.5]),
    "Normalization": layers.Normalization(mean=[0.1, -0.2, 0.3, 0.0], variance=[1.0, 0.5, 2.0, 3.0]),
    "Normalization by one number": layers.Normalization(axis=None, mean=0.3, variance=2.0, invert=True),
    "augmentation": lambda x: layers.RandomFlip()(layers.RandomRotation(0.1)(layers.RandomZoom(0.2)(x))),
}


def network(middle: Callable[[Any], Any]) -> keras.Model:
    """`middle` between two layers with weights, so that nothing of it stands at the edge of the file."""
    keras.utils.set_random_seed(0)
    image = layers.Input((6, 8, 3), name="image")
    if isinstance(middle, layers.Layer):
        middle = type(middle).from_config(middle.get_config())
    x = middle(layers.Conv2D(4, 3, padding="same", use_bias=False)(image))
    return keras.Model(image, layers.Dense(8, name="end")(layers.Flatten()(x)))


def graph_of(model: keras.Model) -> Graph:
    graph = read_graph(model)
    simplify(graph)
    return graph


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 6, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_exact_in_float_and_integer_in_int8(
    kind: str, samples: np.ndarray, tmp_path: Path, worker: Worker
) -> None:
    model = network(KINDS[kind])
    graph = graph_of(model)
    expected = keras_outputs(model, [samples])
    assert relative_rms(expected, worker.evaluate(graph, graph.outputs, [samples])) <= 1e-5

    ranges = calibrations(graph, worker, [samples], None)["mean"]
    path = tmp_path / "int8.tflite"
    path.write_bytes(worker.convert(graph, "int8", "int8", ranges=ranges))
    found = audit(path)
    assert found.fully_integer, found.float_islands
    assert found.requantizations == 0
    assert relative_rms(expected, Interpreter(path).run([samples])) <= 0.05
