"""What models cost, against counts worked out by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from keras_classics import cost, model_cost


def test_worked_examples_of_the_source_text() -> None:
    assert cost.convolution_macs(28, 28, 5, 192, 32) == 120_422_400
    assert cost.convolution_macs(28, 28, 1, 192, 16) + cost.convolution_macs(28, 28, 5, 16, 32) == 12_443_648
    full = cost.convolution_macs(4, 4, 3, 3, 5)
    separable = cost.convolution_macs(4, 4, 3, 3, 3, groups=3) + cost.convolution_macs(4, 4, 1, 3, 5)
    assert (full, separable) == (2160, 672)
    assert separable / full == pytest.approx(1 / 3**2 + 1 / 5)


def test_same_pooling_example_of_the_source_text_set_right() -> None:
    image = np.array([[1, 3, 2, 1], [4, 6, 5, 7], [2, 1, 4, 9], [1, 3, 7, 6]], "float32").reshape(1, 4, 4, 1)
    expected = {
        2: [[6, 6, 7, 7], [6, 6, 9, 9], [3, 7, 9, 9], [3, 7, 7, 6]],
        3: [[6, 6, 7, 7], [6, 6, 9, 9], [6, 7, 9, 9], [3, 7, 9, 9]],
    }
    for size, result in expected.items():
        pooled = keras.ops.convert_to_numpy(layers.MaxPooling2D(size, 1, padding="same")(image))
        assert pooled[0, ..., 0].tolist() == result
        below_zero = keras.ops.convert_to_numpy(layers.MaxPooling2D(size, 1, padding="same")(image - 10))
        assert (below_zero + 10)[0, ..., 0].tolist() == result


def test_pointwise_example_of_the_source_text() -> None:
    image = np.array([[1, 2, 3, 6, 5, 8], [3, 5, 5, 1, 3, 4]], "float32").reshape(1, 2, 6, 1)
    pointwise = layers.Conv2D(2, 1, use_bias=False)
    pointwise.build(image.shape)
    pointwise.set_weights([np.array([2, 4], "float32").reshape(1, 1, 1, 2)])
    first, second = np.moveaxis(keras.ops.convert_to_numpy(pointwise(image))[0], -1, 0)
    assert first[0].tolist() == [2, 4, 6, 12, 10, 16]
    assert second[0, :3].tolist() == [4, 8, 12]


def test_worked_examples_as_models() -> None:
    bottleneck = keras.Sequential(
        [keras.Input((28, 28, 192)), layers.Conv2D(16, 1), layers.Conv2D(32, 5, padding="same")]
    )
    assert [row.macs for row in model_cost(bottleneck).layers] == [2_408_448, 10_035_200]
    separable = keras.Sequential([keras.Input((6, 6, 3)), layers.SeparableConv2D(5, 3)])
    assert model_cost(separable).macs == 672
    apart = keras.Sequential([keras.Input((6, 6, 3)), layers.DepthwiseConv2D(3), layers.Conv2D(5, 1)])
    assert [row.macs for row in model_cost(apart).layers] == [432, 240]


@pytest.mark.parametrize(
    ("layer", "input_shape", "macs"),
    [
        (layers.Conv1D(4, 3), (10, 2), 8 * 3 * 2 * 4),
        (layers.Conv2D(8, 3, strides=2, groups=2), (9, 9, 4), 16 * 9 * 2 * 8),
        (layers.Conv3D(2, 2), (3, 3, 3, 1), 8 * 8 * 2),
        (layers.DepthwiseConv1D(3), (10, 2), 8 * 3 * 2),
        (layers.Conv2DTranspose(5, 2, strides=2), (4, 4, 3), 16 * 4 * 3 * 5),
        (layers.Dense(7, use_bias=True), (6, 3), 6 * 3 * 7),
        (layers.BatchNormalization(), (4, 4, 3), 0),
        (layers.MaxPooling2D(), (4, 4, 3), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_macs_of_a_layer(layer: keras.Layer, input_shape: tuple[int, ...], macs: int) -> None:
    assert model_cost(keras.Sequential([keras.Input(input_shape), layer])).macs == macs


def test_a_shared_layer_counts_its_weights_once_and_its_work_at_each_call() -> None:
    image = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    result = model_cost(keras.Model(image, shared(shared(image))))
    assert result.parameters == 3 * 3 * 3 * 3 + 3
    assert result.macs == 2 * 64 * 81
    assert [row.parameters for row in result.layers] == [84, 0]


def test_nested_models_are_opened_under_their_names() -> None:
    inner_input = keras.Input((8, 8, 3))
    inner = keras.Model(inner_input, layers.Conv2D(4, 3, name="conv")(inner_input), name="inner")
    image = keras.Input((8, 8, 3))
    result = model_cost(keras.Model(image, layers.Flatten(name="flatten")(inner(image))))
    assert [row.name for row in result.layers] == ["inner/conv", "flatten"]
    assert result.macs == 36 * 27 * 4
    assert result.parameters == 27 * 4 + 4


def test_frozen_layers_are_not_trainable() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    model.layers[0].trainable = False
    result = model_cost(model)
    assert (result.parameters, result.trainable_parameters) == (23, 8)


def test_peak_activation_memory_frees_a_tensor_after_its_last_use() -> None:
    chain = keras.Sequential([keras.Input((10,)), layers.Dense(30), layers.Dense(20), layers.Dense(1)])
    assert model_cost(chain).peak_activation_bytes == 4 * (30 + 20)
    image = keras.Input((10,))
    residual = keras.Model(image, layers.Add()([image, layers.Dense(10)(layers.Dense(30)(image))]))
    assert model_cost(residual).peak_activation_bytes == 4 * (10 + 30 + 10)


def test_an_open_shape_is_refused_with_what_to_do() -> None:
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="fixed input_shape"):
        model_cost(model)


def test_csv_holds_a_row_for_each_layer(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(2, 3, name="conv"), layers.Flatten(name="flat")])
    model_cost(model).write_csv(tmp_path / "cost.csv")
    with (tmp_path / "cost.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["conv", "flat"]
    assert rows[0]["output_shape"] == "2×2×2"
    assert int(rows[0]["macs"]) == 4 * 9 * 2
    assert int(rows[0]["parameters"]) == 20
    assert int(rows[0]["activation_bytes"]) == 4 * 8
