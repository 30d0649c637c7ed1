"""Transfer learning as people write it: a published base without input shape, augmentation, a new head."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from export import FineTuning, Worker, export_tflite
from export.frontend.read import read_graph

CLASSES = 3
PIXELS = 96


def photos(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth images of three kinds of colours, pixels from 0 to 255, and their kinds."""
    random = np.random.default_rng(0)
    kinds = np.arange(count) % CLASSES
    coarse = random.uniform(0, 1, (count, 6, 6, 3)) + np.eye(3)[kinds][:, None, None] * 0.7
    places = np.linspace(0, 5, PIXELS)
    low = np.minimum(places.astype(int), 4)
    share = (places - low)[:, None]
    rows = coarse[:, low] * (1 - share)[..., None] + coarse[:, low + 1] * share[..., None]
    columns = rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share
    return (columns / 1.7 * 255).astype(np.float32), kinds


def transfer(live_in: Callable[[keras.Model, np.ndarray], keras.Model], rates: Sequence[float]) -> keras.Model:
    """The form of Keras's guide. At the first learning rate the head is trained, at the second all."""
    keras.utils.set_random_seed(0)
    images, kinds = photos(24)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, alpha=0.35)
    live_in(base, images / 127.5 - 1)
    base.trainable = False
    image = keras.Input((PIXELS, PIXELS, 3), name="image")
    augmentation = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)]
    x = keras.Sequential(augmentation, name="augmentation")(image)
    x = keras.applications.mobilenet_v2.preprocess_input(x)
    x = layers.GlobalAveragePooling2D()(base(x, training=False))
    model = keras.Model(image, layers.Dense(CLASSES, name="head")(layers.Dropout(0.2)(x)))
    for base.trainable, rate in zip((False, True), rates, strict=False):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss)
        model.fit(images, kinds, batch_size=8, epochs=1, verbose=0)
    return model


def test_a_base_without_input_shape_is_exported_in_float(
    tmp_path: Path, worker: Worker, live_in: Callable[[keras.Model, np.ndarray], keras.Model]
) -> None:
    model = transfer(live_in, ())
    report = export_tflite(model, tmp_path / "transfer.tflite", worker=worker, evaluation=photos(24))
    assert report.parity["relative_rms"] <= 1e-5
    assert report.accuracy == report.float_accuracy
    assert read_graph(model).operations["mobilenetv2_0.35_None/Conv1"].shape == (PIXELS // 2, PIXELS // 2, 16)


@pytest.mark.slow
@pytest.mark.parametrize("fine_tuned", [False, True])
@pytest.mark.parametrize("trained_in_8_bits", [False, True])
def test_a_base_without_input_shape_is_exported_in_8_bits(
    fine_tuned: bool,
    trained_in_8_bits: bool,
    tmp_path: Path,
    worker: Worker,
    live_in: Callable[[keras.Model, np.ndarray], keras.Model],
) -> None:
    model = transfer(live_in, (1e-2, 1e-5) if fine_tuned else (1e-2,))
    images, kinds = photos(24)
    training = FineTuning.on_arrays(images, kinds, batch_size=8, epochs=1) if trained_in_8_bits else None
    report = export_tflite(
        model,
        tmp_path / "transfer.tflite",
        "int8",
        calibration=images,
        input_range=(0, 255),
        qat=training,
        min_sqnr=10,
        worker=worker,
    )
    assert report.fully_integer
    if trained_in_8_bits:
        found = keras.saving.load_model(report.keras_model)
        before = model.get_layer("mobilenetv2_0.35_None").get_layer("Conv1").kernel
        after = found.get_layer("mobilenetv2_0.35_None").get_layer("Conv1").kernel
        assert np.any(np.asarray(before) != np.asarray(after))
        assert len(found.trainable_variables) == len(model.trainable_variables)
