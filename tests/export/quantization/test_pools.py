"""Pools at their input's scale: what is simulated in 8 bits is what the file computes."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from export import Worker
from export.data.samples import smooth_images
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.quantization.ranges import calibrations
from export.quantization.scales import home_of_range, quantized_tensors
from export.tflite_file.audit import audit
from export.tflite_file.interpreter import Interpreter
from export.worker.protocol import RoundWeights
from keras_classics.datasets.augment import Augmentation

SHAPE = (32, 32, 3)


def residual_network(pool: layers.Layer) -> keras.Model:
    """ResNet-8 of MLPerf Tiny, narrower, with any layer for its average at the end."""
    keras.utils.set_random_seed(0)

    def block(x: Any, filters: int, strides: int) -> Any:
        y = layers.Conv2D(filters, 3, strides, padding="same", activation="relu")(x)
        y = layers.Conv2D(filters, 3, padding="same")(y)
        x = layers.Conv2D(filters, 1, strides)(x) if strides > 1 else x
        return layers.ReLU()(layers.Add()([x, y]))

    image = layers.Input(SHAPE)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = block(block(block(x, 8, 1), 16, 2), 32, 2)
    return keras.Model(image, layers.Dense(10)(layers.Flatten()(pool(x))))


POOLS = {
    "whole": lambda: layers.AveragePooling2D(8),
    "windows": lambda: layers.AveragePooling2D(4),
    "overlapping": lambda: layers.AveragePooling2D(3, 2, padding="same"),
    "bilinear": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
}


@pytest.mark.parametrize("pool", POOLS)
def test_the_simulation_tells_the_files_noise(pool: str, tmp_path: Path, worker: Worker) -> None:
    images = Augmentation(shift=0.2, horizontal_flip=True)(smooth_images(SHAPE, 96), np.random.default_rng(0))
    graph = read_graph(residual_network(POOLS[pool]()))
    simplify(graph)
    ranges = calibrations(graph, worker, [images[:48]], (0.0, 1.0))["mean"]
    kernels = [name for name, operation in graph.operations.items() if operation.traits.has_kernel]
    (expected,) = worker.evaluate(graph, graph.outputs, [images[48:]])
    graph.set_weights(worker.run(RoundWeights(graph, kernels, [])).arrays)
    (simulated,) = worker.evaluate(graph, graph.outputs, [images[48:]], ranges)
    path = tmp_path / "a.tflite"
    path.write_bytes(worker.convert(graph, "int8", "int8", ranges=ranges))
    assert audit(path).fully_integer
    assert audit(path).requantizations == 0
    (computed,) = Interpreter(path).run([images[48:]])
    noise = [np.square(found - expected, dtype=np.float64).sum() for found in (simulated, computed)]
    assert abs(10 * np.log10(noise[0] / noise[1])) <= 0.3


def test_a_whole_average_has_a_scale_of_its_own_and_a_window_its_inputs(worker: Worker) -> None:
    for pool, kind in (("whole", "mean"), ("windows", "average_pool")):
        graph = read_graph(residual_network(POOLS[pool]()))
        simplify(graph)
        (average,) = [
            operation for operation in graph.operations.values() if operation.kind in ("mean", "average_pool")
        ]
        assert average.kind == kind
        ranges = calibrations(graph, worker, [smooth_images(SHAPE, 8)], (0.0, 1.0))["mean"]
        assert average.name in quantized_tensors(graph)
        source = home_of_range(graph, ranges, average.inputs[0])
        assert source is not None
        assert (ranges[average.name] == ranges[source]) == (kind == "average_pool")
