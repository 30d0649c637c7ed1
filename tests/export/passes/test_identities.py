"""What the converter takes out of a file is gone before ranges are set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from export import Worker, export_tflite
from export.data.samples import smooth_images
from export.frontend.read import read_graph
from export.passes.fold import absorbing_operations
from export.passes.simplify import simplify
from export.quantization.ranges import calibrations
from export.quantization.scales import of_one_scale
from export.tflite_file.audit import audit
from export.tflite_file.interpreter import Interpreter
from export.verification.parity import keras_outputs, relative_rms

ONES = np.ones((8, 8, 4), np.float32)


def over_ones(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """A reduction over an axis of size one."""
    return lambda x: ops.reshape(function(ops.reshape(x, (-1, 8, 8, 4, 1)), axis=-1), (-1, 8, 8, 4))


# From images (8, 8, 4) to the same; the kinds that are left of it.
NOTHING: dict[str, Callable[[Any], Any]] = {
    "times one": lambda x: x * 1.0,
    "times ones by channel": lambda x: x * ONES[0, 0],
    "times ones everywhere": lambda x: x * ONES,
    "plus nothing": lambda x: x + 0.0,
    "plus zeros everywhere": lambda x: x + 0 * ONES,
    "Rescaling": layers.Rescaling(1.0),
    "negative twice": lambda x: ops.negative(-x),
    "there and back": lambda x: (x * 2.0 + 1.0) * 0.5 - 0.5,
    "normalized to itself": layers.BatchNormalization(epsilon=0.0),
    "padding": layers.ZeroPadding2D(0),
    "cropping": layers.Cropping2D(0),
    "resizing": layers.Resizing(8, 8),
    "pool of one": layers.MaxPooling2D(1),
    "average of one": layers.AveragePooling2D(1),
    "one to concatenate": lambda x: ops.concatenate([x], axis=-1),
    "one to stack": lambda x: ops.squeeze(ops.stack([x], axis=1), axis=1),
    "leaky relu of slope one": lambda x: ops.leaky_relu(x, 1.0),
    "PReLU of slopes one": layers.PReLU(alpha_initializer="ones"),
    "mean of one": over_ones(ops.mean),
    "sum of one": over_ones(ops.sum),
    "greatest of one": over_ones(ops.max),
    "least of one": over_ones(ops.min),
}
LIMITS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "above zero": (lambda x: ops.maximum(x, 0.0), ["relu"]),
    "above zero by channel": (lambda x: ops.maximum(x, 0 * ONES[0, 0]), ["relu"]),
    "above zero twice": (lambda x: ops.maximum(ops.relu(x), 0.0), ["relu"]),
    "relu of what is positive": (lambda x: ops.relu(ops.exp(x)), ["exponential"]),
    "relu6 twice": (lambda x: ops.relu6(ops.relu6(x)), ["relu6"]),
    "between zero and six": (lambda x: ops.minimum(ops.maximum(x, 0.0), 6.0), ["relu6"]),
    "below six and above zero": (lambda x: ops.maximum(ops.minimum(x, 6.0), 0.0), ["relu6"]),
    "between minus one and one": (lambda x: ops.minimum(ops.maximum(x, -1.0), 1.0), ["relu_limited"]),
    "below one and above minus one": (lambda x: ops.maximum(ops.minimum(x, 1.0), -1.0), ["relu_limited"]),
    "between zero and one": (lambda x: ops.maximum(ops.minimum(x, 1.0), 0.0), ["relu"]),
}


def network(middle: Callable[[Any], Any]) -> keras.Model:
    """`middle` before a pool, whose input and output must have one scale."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3), name="image")
    if isinstance(middle, layers.Layer):
        middle = type(middle).from_config(middle.get_config())
    x = middle(layers.Conv2D(4, 3, padding="same", name="conv")(image))
    return keras.Model(image, layers.Dense(8, name="end")(layers.Flatten()(layers.MaxPooling2D(2, name="pool")(x))))


def check(model: keras.Model, path: Path, worker: Worker) -> list[str]:
    """Check the model's graph in float and, with a range of its own for each tensor, in int8; its operations."""
    samples = [np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)]
    graph = read_graph(model)
    simplify(graph)
    expected = keras_outputs(model, samples)
    assert relative_rms(expected, worker.evaluate(graph, graph.outputs, samples)) <= 1e-5
    ranges = dict(calibrations(graph, worker, samples, None)["extremes"])
    for index, names in enumerate(of_one_scale(graph, ranges)):
        wider = 1 + 0.03 * index
        ranges |= {name: (wider * ranges[name][0], wider * ranges[name][1]) for name in names}
    path.write_bytes(worker.convert(graph, "int8", "int8", ranges=ranges))
    assert audit(path).fully_integer
    assert audit(path).requantizations == 0
    assert relative_rms(expected, Interpreter(path).run(samples)) <= 0.1
    return [operation.function or operation.kind for operation in graph.operations.values()]


@pytest.mark.parametrize("kind", NOTHING)
def test_what_changes_nothing_is_gone(kind: str, tmp_path: Path, worker: Worker) -> None:
    kinds = check(network(NOTHING[kind]), tmp_path / "a.tflite", worker)
    assert kinds == ["input", "conv2d", "max_pool", "reshape", "dense"]


@pytest.mark.parametrize("kind", LIMITS)
def test_limits_are_the_activations_that_the_converter_writes(kind: str, tmp_path: Path, worker: Worker) -> None:
    middle, functions = LIMITS[kind]
    kinds = check(network(middle), tmp_path / "a.tflite", worker)
    assert [name for name in kinds if name in ("relu", "relu6", "relu_limited", "maximum", "exponential")] == functions


def test_an_output_that_is_an_input_stays_computed(tmp_path: Path, worker: Worker) -> None:
    for middle in (layers.Rescaling(1.0), lambda x: ops.negative(-x)):
        image = layers.Input((4, 4, 3))
        model = keras.Model(image, middle(image))
        samples = [np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)]
        export_tflite(model, tmp_path / "a.tflite", worker=worker)
        assert relative_rms(samples, Interpreter(tmp_path / "a.tflite").run(samples)) == 0


def test_layers_that_are_gone_have_a_place() -> None:
    image = layers.Input((8, 8, 3), name="image")
    x = layers.ZeroPadding2D(0, name="first")(image)
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = layers.Rescaling(2.0, name="doubled")(layers.ReLU(name="relu")(x))
    x = layers.ZeroPadding2D(0, name="nothing")(layers.Rescaling(3.0, 1.0, name="more")(x))
    graph = read_graph(keras.Model(image, layers.Conv2D(2, 3, name="last")(x)))
    homes = absorbing_operations(simplify(graph))
    assert set(homes.values()) <= set(graph.operations)
    assert {name: homes[name] for name in ("first", "doubled", "nothing", "more")} == {
        "first": "conv",
        "doubled": "last",
        "nothing": "last",
        "more": "last",
    }


def test_a_fresh_layer_normalization_before_a_pool(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.LayerNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    images = smooth_images((28, 28, 1), 48)
    report = export_tflite(model, tmp_path / "a.tflite", "int8", calibration=images, gate=False, worker=worker)
    assert report.fully_integer
    assert report.parity["sqnr_db"] > 10
