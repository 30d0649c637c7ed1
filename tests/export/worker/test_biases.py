"""Biases in int8, each in the units of its channel."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from export import Worker
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.quantization.ranges import calibrations

LAYERS: dict[str, Callable[[], layers.Layer]] = {
    "convolution": lambda: layers.Conv2D(5, 3, bias_initializer="ones"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, bias_initializer="ones"),
    "transposed": lambda: layers.Conv2DTranspose(5, 3, bias_initializer="ones"),
    "dense": lambda: layers.Dense(5, bias_initializer="ones"),
}


@pytest.mark.parametrize("mode", ["int8", "int16x8"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_bias_that_is_the_same_for_all_channels(layer: str, mode: str, tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 4))
    graph = read_graph(keras.Model(image, LAYERS[layer]()(image)))
    simplify(graph)
    samples = [np.random.default_rng(0).random((4, 8, 8, 4), np.float32)]
    data = {"ranges": calibrations(graph, worker, samples, None)["mean"]} if mode == "int8" else {"samples": samples}
    file = Interpreter(model_content=bytes(worker.convert(graph, mode, "float32", **data)))
    channels = graph.operations[graph.outputs[0]].shape[-1]
    biases = [
        file.get_tensor(tensor["index"]) * tensor["quantization_parameters"]["scales"]
        for tensor in file.get_tensor_details()
        if tensor["dtype"] in (np.int32, np.int64) and tuple(tensor["shape"]) == (channels,)
    ]
    assert len(biases) == 1
    np.testing.assert_allclose(biases[0], 1, atol=1e-3)
