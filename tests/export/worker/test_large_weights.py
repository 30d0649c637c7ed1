"""Large kernels bypass the converter: the file must hold each of them, in its place, all the same."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from export import Worker, export_tflite
from export.tflite_file.interpreter import Interpreter


@pytest.fixture(scope="module")
def wide() -> keras.Model:
    """Two equal dense layers, a convolution and a dense layer on three axes, all with large kernels."""
    keras.utils.set_random_seed(0)
    inputs = layers.Input((8, 8, 64))
    x = layers.Conv2D(512, 3, strides=2, activation="relu", name="convolution")(inputs)
    x = layers.Dense(512, activation="relu", name="three_axes")(layers.Reshape((9, 512))(x))
    x = layers.GlobalAveragePooling1D()(x)
    twins = [layers.Dense(512, activation="relu", name=name) for name in ("one", "other")]
    for twin in twins:
        x = twin(x)
    twins[1].set_weights(twins[0].get_weights())
    return keras.Model(inputs, layers.Dense(600, name="last")(x))


@pytest.mark.parametrize(("mode", "limit"), [("float32", 1e-5), ("dynamic", 3e-2)])
def test_large_kernels_arrive(mode: str, limit: float, wide: keras.Model, tmp_path: Path, worker: Worker) -> None:
    report = export_tflite(wide, tmp_path / "wide.tflite", mode, worker=worker, gate=False)
    assert report.parity["relative_rms"] <= limit


def test_equal_kernels_are_stored_once(wide: keras.Model, tmp_path: Path, worker: Worker) -> None:
    export_tflite(wide, tmp_path / "wide.tflite", worker=worker)
    assert (tmp_path / "wide.tflite").stat().st_size < 4 * (wide.count_params() - 512 * 512 + 10_000)


def test_file_has_no_stand_in_left(wide: keras.Model, tmp_path: Path, worker: Worker) -> None:
    export_tflite(wide, tmp_path / "wide.tflite", worker=worker)
    images = np.random.default_rng(1).random((4, 8, 8, 64), np.float32)
    found = Interpreter(tmp_path / "wide.tflite").run([images])[0]
    np.testing.assert_allclose(found, wide.predict_on_batch(images), rtol=1e-4, atol=1e-5)
