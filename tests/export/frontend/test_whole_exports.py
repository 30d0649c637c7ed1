"""Models of opened layers through the whole export: float, int8, indices, masks, and what has no 8-bit kernel."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from export import InputError, Worker, export_tflite
from export.data.probing import probing_samples
from export.frontend.read import read_graph


def reviews() -> keras.Model:
    """A classifier of texts: embeddings with masks, heads of attention, a recurrent layer."""
    keras.utils.set_random_seed(0)
    ids = layers.Input((12,), dtype="int32", name="ids")
    # Of the size that training gives: TFLite's 8-bit tanh has steps of 1/128, in which Keras's ±0.05 would vanish.
    spread = keras.initializers.RandomNormal(stddev=1.0, seed=0)
    x = layers.Embedding(300, 8, mask_zero=True, embeddings_initializer=spread)(ids)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True))(x)
    return keras.Model(ids, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def texts(count: int) -> np.ndarray:
    ids = np.random.default_rng(0).integers(1, 300, (count, 12))
    for row in range(count):
        ids[row, 12 - row % 9 :] = 0
    return ids


@pytest.mark.slow
def test_a_model_of_indices_and_masks_goes_through(tmp_path: Path, worker: Worker) -> None:
    model = reviews()
    report = export_tflite(model, tmp_path / "float.tflite", worker=worker)
    assert report.parity["relative_rms"] <= 1e-5
    assert report.parity["compared_on"] == "uniform noise"
    assert report.input["dtype"] == "int32"
    report = export_tflite(
        model, tmp_path / "int8.tflite", "int8", calibration=texts(32), gate=False, io="float32", worker=worker
    )
    assert report.input["dtype"] == "int32"
    assert report.keep_float is None
    assert report.parity["sqnr_db"] >= 12


def test_noise_has_masked_steps_and_indices_within_the_vocabulary() -> None:
    (ids,) = probing_samples(read_graph(reviews()), {"ids": "int32"}, 4)
    assert 2 < ids.max() < 300
    assert ids.min() >= 0
    assert (ids[::2, 9:] == 0).all()
    assert (ids[1::2, 9:] != 0).any()


def waves() -> keras.Model:
    image = layers.Input((8, 8, 3))
    x = ops.sin(layers.Conv2D(4, 3, name="conv")(image) * 3)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def test_what_has_no_8_bit_kernel_stays_in_float_and_the_report_says_so(tmp_path: Path, worker: Worker) -> None:
    keras.utils.set_random_seed(0)
    model = waves()
    samples = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype(np.float32).cumsum(axis=1).cumsum(axis=2)
    report = export_tflite(
        model, tmp_path / "int8.tflite", "int8", calibration=samples, ptq="plain", gate=False, worker=worker
    )
    assert report.ops["SIN"] == 1
    assert report.keep_float is not None
    assert any(name.startswith("sin") for name in report.keep_float.operations)
    with pytest.raises(InputError, match=r"no integer kernel for sine .*; export as int8, where it stays in float"):
        export_tflite(model, tmp_path / "wide.tflite", "int16x8", calibration=samples, worker=worker)


def test_a_subclassed_model_and_an_open_one_are_exported_at_a_size(tmp_path: Path, worker: Worker) -> None:
    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.conv = layers.Conv2D(4, 3)

        def call(self, x):
            return ops.mean(self.conv(x), axis=(1, 2))

    open_image = layers.Input((None, None, 3))
    for model in (Subclassed(), keras.Model(open_image, layers.Conv2D(2, 3)(open_image))):
        report = export_tflite(model, tmp_path / "model.tflite", input_shape=(8, 6, 3), worker=worker)
        assert report.input["shape"] == [1, 8, 6, 3]
        assert report.parity["relative_rms"] <= 1e-5
