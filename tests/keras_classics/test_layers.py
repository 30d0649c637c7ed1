"""The layers and the loss that Keras lacks, against their papers' formulas in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import keras_classics as kc
from keras_classics import layers, lenet

pytestmark = pytest.mark.backends
IMAGES = np.random.default_rng(0).standard_normal((2, 8, 9, 6)).astype("float32")


def run(layer: keras.Layer, x: Any = IMAGES) -> np.ndarray:
    return ops.convert_to_numpy(layer(x))


@pytest.mark.parametrize(("size", "alpha", "beta", "k"), [(5, 1e-4, 0.75, 2.0), (3, 0.5, 0.5, 1.0), (1, 1.0, 1.0, 0.5)])
def test_local_response_normalization_is_the_papers_sum(size: int, alpha: Any, beta: float, k: float) -> None:
    expected = np.empty_like(IMAGES)
    for channel in range(IMAGES.shape[-1]):
        near = IMAGES[..., max(0, channel - size // 2) : channel + size // 2 + 1]
        expected[..., channel] = IMAGES[..., channel] / (k + alpha * (near**2).sum(axis=-1)) ** beta
    given = run(layers.LocalResponseNormalization(size, alpha, beta, k))
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)


def test_local_response_normalization_agrees_with_the_mean_convention() -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())
    expected = torch.nn.functional.local_response_norm(x, 5, alpha=0.3, beta=0.75, k=1.0).numpy().transpose(0, 2, 3, 1)
    given = run(layers.LocalResponseNormalization(5, alpha=0.3 / 5, k=1.0))
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)


def test_local_response_normalization_does_not_overflow_in_half_precision() -> None:
    layer = layers.LocalResponseNormalization(alpha=1e-4, dtype="mixed_float16")
    given = run(layer, np.full((1, 2, 2, 4), 1000, "float16"))
    assert given.dtype == np.float16
    assert np.isfinite(given).all()
    assert (given > 0).all()


@pytest.mark.parametrize("arguments", [{"size": 4}, {"size": 0}, {"k": 0.0}])
def test_local_response_normalization_refuses_what_has_no_meaning(arguments: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        layers.LocalResponseNormalization(**arguments)


@pytest.mark.parametrize("options", [{"groups": 2}, {"groups": 3, "strides": 2, "padding": "same"}, {"groups": 1}])
def test_a_grouped_convolution_is_that_of_keras(options: dict[str, Any]) -> None:
    ours, theirs = layers.GroupedConv2D(12, 3, **options), keras.layers.Conv2D(12, 3, **options)
    theirs.build(IMAGES.shape)
    ours.build(IMAGES.shape)
    ours.set_weights([np.random.default_rng(1).standard_normal(w.shape) for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(run(ours), run(theirs), rtol=1e-4, atol=1e-5)
    assert isinstance(ours, keras.layers.Conv2D)


def test_the_padded_identity_subsamples_and_adds_channels_of_zeros() -> None:
    given = run(layers.PaddedIdentity(10, 2))
    np.testing.assert_array_equal(given[..., :6], IMAGES[:, ::2, ::2])
    assert given.shape == (2, 4, 5, 10)
    assert not given[..., 6:].any()


def test_a_centered_padded_identity_has_as_many_zeros_before_as_after() -> None:
    given = run(layers.PaddedIdentity(10, 2, centered=True))
    np.testing.assert_array_equal(given[..., 2:8], IMAGES[:, ::2, ::2])
    assert not given[..., :2].any()
    assert not given[..., 8:].any()


def test_trainable_subsampling_adds_multiplies_and_shifts() -> None:
    layer = layers.TrainableSubsampling()
    blocks = IMAGES[:, :, :8].reshape(2, 4, 2, 4, 2, 6)
    np.testing.assert_allclose(run(layer), blocks.mean(axis=(2, 4)), rtol=1e-5, atol=1e-6)
    coefficient, bias = np.arange(1, 7, dtype="float32"), np.linspace(-1, 1, 6, dtype="float32")
    layer.set_weights([coefficient, bias])
    np.testing.assert_allclose(run(layer), blocks.sum(axis=(2, 4)) * coefficient + bias, rtol=1e-5, atol=1e-5)


def test_a_connection_table_is_a_convolution_with_the_missing_pairs_at_zero() -> None:
    layer = layers.ConnectionTableConv2D(lenet.TABLE_1, 5)
    layer.build(IMAGES.shape)
    layer.set_weights([np.random.default_rng(1).standard_normal(weight.shape) for weight in layer.weights])
    kernel = ops.convert_to_numpy(layer.full_kernel())
    connected = np.zeros((6, 16), bool)
    for output, inputs in enumerate(lenet.TABLE_1):
        connected[list(inputs), output] = True
    assert kernel.shape == (5, 5, 6, 16)
    assert (kernel[:, :, connected] != 0).all()
    assert not kernel[:, :, ~connected].any()
    full = keras.layers.Conv2D(16, 5)
    full.build(IMAGES.shape)
    full.set_weights([kernel, layer.get_weights()[1]])
    np.testing.assert_allclose(run(layer), run(full), rtol=1e-4, atol=1e-5)


def test_a_connection_table_refuses_maps_that_the_input_lacks() -> None:
    with pytest.raises(ValueError, match="6 channels"):
        layers.ConnectionTableConv2D([[0, 6]], 3).build(IMAGES.shape)


def test_the_papers_table_1() -> None:
    assert [len(inputs) for inputs in lenet.TABLE_1] == [3] * 6 + [4] * 9 + [6]
    assert len({tuple(inputs) for inputs in lenet.TABLE_1}) == 16
    readers = [sum(channel in inputs for inputs in lenet.TABLE_1) for channel in range(6)]
    assert readers == [10] * 6


def test_scaled_tanh_maps_one_to_one() -> None:
    given = run(layers.ScaledTanh(), np.array([[-1.0, 0.0, 1.0, 100.0]], "float32"))
    np.testing.assert_allclose(given, [[-1, 0, 1, 1.7159]], atol=1e-4)


def test_radial_basis_functions_give_minus_the_squared_distances() -> None:
    codes = np.array(lenet.codes(10))
    points = np.random.default_rng(0).uniform(-1.7, 1.7, (3, 84)).astype("float32")
    expected = -((points[:, None] - codes) ** 2).sum(axis=-1)
    np.testing.assert_allclose(run(layers.EuclideanRadialBasisFunction(codes), points), expected, rtol=1e-5)


def test_each_code_is_a_picture_of_its_own() -> None:
    codes = np.array(lenet.codes(10))
    assert codes.shape == (10, 84)
    assert set(codes.ravel()) == {-1, 1}
    differing = (codes[:, None] != codes).sum(axis=-1)
    assert differing[~np.eye(10, dtype=bool)].min() >= 8
    seven = codes[7].reshape(12, 7)
    assert (seven[0] == 1).all()
    assert (seven[10:] == -1).all()


def test_the_loss_is_equation_9() -> None:
    distances = np.array([[1.0, 4.0, 9.0], [30.0, 2.0, 5.0]])
    labels, penalty = np.array([0, 2]), 3.0
    expected = [
        row[label] + np.log(np.exp(-penalty) + np.exp(-row).sum()) for row, label in zip(distances, labels, strict=True)
    ]
    loss = kc.MaximumAPosteriori(penalty, reduction="none")
    for given in (labels, labels[:, None]):
        np.testing.assert_allclose(ops.convert_to_numpy(loss(given, -distances)), expected, rtol=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.rubbish_penalty == penalty


@pytest.mark.parametrize(
    "layer",
    [
        layers.LocalResponseNormalization(3, 0.1, 0.5, 1.5),
        layers.GroupedConv2D(4, 3, groups=2),
        layers.PaddedIdentity(9, 2),
        layers.PaddedIdentity(9, 2, centered=True),
        layers.TrainableSubsampling(3),
        layers.ConnectionTableConv2D([[0, 1], [2], [3, 4, 5]], 3),
        layers.ScaledTanh(),
        layers.EuclideanRadialBasisFunction([[1, -1, 1, 1, 1, -1], [-1, -1, 1, 1, -1, 1]]),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_every_layer_survives_a_file_and_knows_its_output_shape(layer: keras.Layer, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), layer])
    model.save(tmp_path / "layer.keras")
    again = keras.saving.load_model(tmp_path / "layer.keras", safe_mode=True)
    np.testing.assert_array_equal(run(again), run(model))
    assert type(again.layers[0]) is type(layer)
    assert tuple(layer.compute_output_shape(IMAGES.shape)) == run(layer).shape
