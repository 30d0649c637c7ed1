"""Constants behind a layer with a kernel: one operator in every mode, the same under built-in kernels and XNNPACK."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from export import Worker
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.quantization.ranges import calibrations
from export.tflite_file.interpreter import Interpreter
from export.verification.parity import keras_outputs, relative_rms

SHAPE = (8, 8, 3)
LAYERS: dict[str, Callable[[bool], Callable[[Any], Any]]] = {
    "transposed": lambda bias: layers.Conv2DTranspose(3, 4, use_bias=bias),
    "transposed with strides": lambda bias: layers.Conv2DTranspose(3, 3, strides=2, padding="same", use_bias=bias),
    "convolution": lambda bias: layers.Conv2D(3, 3, use_bias=bias),
    "depthwise": lambda bias: layers.DepthwiseConv2D(3, use_bias=bias),
    "dense": lambda bias: layers.Dense(3, use_bias=bias),
    "sequence": lambda bias: keras.Sequential([layers.Reshape((64, 3)), layers.Conv1D(3, 3, use_bias=bias)]),
}
CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "plus a number": lambda x: x + 0.5,
    "rescaled": lambda x: 2.0 * x - 1.0,
    "plus numbers by channel": lambda x: x + np.array([0.5, -0.5, 1.0], np.float32),
    "a channel times zero": lambda x: x * np.array([0, 1, 1], np.float32) + 0.5,
    "before relu": lambda x: ops.relu(x + 0.5),
    "beside itself": lambda x: ops.concatenate([x, x + 0.5], axis=-1),
}
LIMITS = {"float32": 1e-5, "float16": 2e-3, "dynamic": 1e-2, "int8": 0.05}


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("constants", CONSTANTS)
@pytest.mark.parametrize("layer", LAYERS)
def test_files_are_valid_and_right(layer: str, constants: str, use_bias: bool, tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    image = layers.Input(SHAPE)
    model = keras.Model(image, CONSTANTS[constants](LAYERS[layer](use_bias)(image)))
    samples = [np.random.default_rng(0).random((4, *SHAPE), np.float32)]
    expected = keras_outputs(model, samples)
    graph = read_graph(model)
    simplify(graph)
    alone = constants not in ("a channel times zero", "beside itself")
    assert {"add", "multiply"}.isdisjoint(operation.kind for operation in graph.operations.values()) or not alone
    ranges = calibrations(graph, worker, samples, (0.0, 1.0))["extremes"]
    for mode, limit in LIMITS.items():
        path = tmp_path / f"{mode}.tflite"
        path.write_bytes(worker.convert(graph, mode, "float32", **({"ranges": ranges} if mode == "int8" else {})))
        for built_in_kernels in (True, False):
            found = Interpreter(path, inspect=built_in_kernels).run(samples)
            assert relative_rms(expected, found) <= limit, (mode, built_in_kernels)
