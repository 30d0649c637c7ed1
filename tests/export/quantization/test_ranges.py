"""Which tensors get a range, and which."""

import keras
import numpy as np
from keras import layers

import keras_classics as kc
from export import Worker
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.quantization.ranges import calibrations
from export.quantization.scales import quantized_tensors


def test_mobilenet_v2_quantizes_inputs_block_ends_and_activations() -> None:
    graph = read_graph(kc.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35))
    simplify(graph)
    names = quantized_tensors(graph)
    assert names[0] == "image"
    assert "stem_relu" in names
    assert "stem_conv" not in names  # fused with its ReLU6
    assert "stage2_block1_project_conv" in names
    assert "stage2_block2_add" in names
    assert "stem_pad" not in names  # keeps its input's scale
    assert names[-2:] == ["predictions", "predictions/1"]  # logits and softmax


def test_ranges_are_means_of_each_samples_extremes(worker: Worker) -> None:
    image = layers.Input((4, 4, 1), name="image")
    x = layers.ReLU(name="relu")(layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(image))
    x = layers.Dense(2, kernel_initializer="ones", name="logits")(layers.Flatten()(x))
    model = keras.Model(image, layers.Softmax(name="softmax")(x))
    samples = np.zeros((4, 4, 4, 1), np.float32)
    samples[:, 0, 0, 0] = [1, 1, 1, 5]
    samples[:, 1, 1, 0] = -3
    ranges = calibrations(read_graph(model), worker, [samples], None)["mean"]
    assert ranges["image"] == (-3, 5)
    assert ranges["relu"] == (0, 2)
    assert ranges["logits"] == (0, 5)  # outputs keep the greatest, since clipped logits tie
    assert ranges["softmax"] == (0, 255 / 256)


def test_what_is_concatenated_shares_a_range(worker: Worker) -> None:
    image = layers.Input((4, 4, 1), name="image")
    large = layers.Conv2D(1, 1, use_bias=False, kernel_initializer=keras.initializers.Constant(9), name="large")(image)
    small = layers.Conv2D(1, 1, use_bias=False, kernel_initializer=keras.initializers.Constant(-2), name="small")(image)
    pooled = layers.MaxPooling2D(1)(small)
    joined = layers.Concatenate()([layers.Concatenate()([large, pooled]), image])
    model = keras.Model(image, layers.Conv2D(1, 1, name="end")(joined))
    samples = np.random.default_rng(0).random((8, 4, 4, 1), np.float32)
    ranges = calibrations(read_graph(model), worker, [samples], (0.0, 1.0))["mean"]
    assert ranges["large"] == ranges["small"] == ranges["image"]
    low, high = ranges["large"]
    assert -2 < low < -1.5
    assert 7 < high < 9
