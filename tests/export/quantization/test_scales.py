"""In which range each output of an int8 file is stored."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from export.client import Worker
from export.errors import CalibrationWarning, InputError
from export.frontend.read import read_graph
from export.ir.graph import Arrays, Graph
from export.passes.simplify import simplify
from export.pipeline import export_tflite
from export.quantization.scales import home_of_range, quantized_tensors, step_of


@pytest.fixture
def graph() -> Graph:
    """Layers with and without a fused activation, and chains that keep their input's scale."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 4), name="image")
    x = layers.ReLU(name="relu")(layers.Conv2D(4, 3, padding="same", name="conv")(image))
    pooled = layers.MaxPooling2D(2, name="pool")(layers.ZeroPadding2D(1, name="pad")(x))
    other = layers.Conv2D(4, 3, strides=2, padding="same", name="other")(x)
    joined = layers.Concatenate(name="join")([layers.Cropping2D(((0, 1), (0, 1)), name="crop")(pooled), other])
    x = layers.Flatten(name="flat")(joined)
    graph = read_graph(keras.Model(image, layers.Dense(3, activation="softmax", name="dense")(x)))
    simplify(graph)
    return graph


def test_the_range_is_that_of_what_is_stored(graph: Graph) -> None:
    names = quantized_tensors(graph)
    assert names == ["image", "relu", "other", "dense", "dense/1"]
    ranges = {name: (0.0, float(255 * index)) for index, name in enumerate(names, 1)}
    homes = {name: home_of_range(graph, ranges, name) for name in graph.operations}
    assert homes == {name: name for name in names} | {
        "conv": "relu", "pad": "relu", "pool": "relu", "crop": "relu", "join": "relu", "flat": "relu",
    }  # fmt: skip
    assert [step_of(graph, ranges, name) for name in ("image", "conv", "pool", "other")] == [1.0, 2.0, 2.0, 3.0]


def test_what_stays_in_float_has_no_step_and_no_step_of_what_follows(graph: Graph) -> None:
    from export.worker.learned_ranges import output_step

    in_float = {"dense"}
    ranges = dict.fromkeys(quantized_tensors(graph, {*in_float, "dense/1"}), (0.0, 255.0))
    assert "dense/1" in ranges
    assert home_of_range(graph, ranges, "dense") is None
    weights: Arrays = graph.operations["dense"].weights
    assert output_step(graph, ranges, "dense") == pytest.approx(np.abs(weights["kernel"]).max() / 255)
    assert output_step(graph, ranges, "conv") == 1.0


def test_a_bias_beyond_all_that_comes_out_is_refused_by_the_layers_name(worker: Worker, tmp_path: Path) -> None:
    """As a normalization's mean of 1e10 leaves it: XNNPACK refuses a file with it, and says no more than a number."""
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(image))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="relu")(x))
    model = keras.Model(image, layers.Dense(3, name="dense")(x))
    gamma, beta, mean, variance = model.get_layer("norm").get_weights()
    model.get_layer("norm").set_weights([gamma, beta, mean + 1e10, variance])
    ramp = np.linspace(0, 2, 8)[:, None, None] + np.linspace(0, 3, 8)[:, None] * np.array([1.0, 2, 3])
    images = 0.5 + 0.5 * np.sin(np.linspace(0, 3, 40)[:, None, None, None] + ramp)
    with (
        pytest.warns(CalibrationWarning),
        pytest.raises(InputError, match=r"layer 'conv' has a bias of 1e\+10 .*--keep-float conv"),
    ):
        export_tflite(model, tmp_path / "a.tflite", "int8", calibration=images.astype(np.float32), worker=worker)
    assert not any(tmp_path.iterdir())
