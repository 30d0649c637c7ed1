"""Architectures of keras.applications that people put on devices go through: float, int8, training in 8 bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from export import FineTuning, Worker, export_tflite

# (constructor, pixels a side, input range)
ARCHITECTURES = {
    "MobileNet": (64, (-1, 1)),
    "MobileNetV2": (64, (-1, 1)),
    "MobileNetV3Small": (64, (0, 255)),
    "MobileNetV3Large": (64, (0, 255)),
    "VGG16": (32, (-1, 1)),
    "ResNet50": (64, (-1, 1)),
    "ResNet50V2": (64, (-1, 1)),
    "DenseNet121": (64, (-1, 1)),
    "InceptionV3": (96, (-1, 1)),
    "Xception": (96, (-1, 1)),
    "EfficientNetB0": (64, (0, 255)),
    "EfficientNetV2B0": (64, (0, 255)),
    "NASNetMobile": (64, (-1, 1)),
    "ConvNeXtTiny": (32, (0, 255)),
    "InceptionResNetV2": (80, (-1, 1)),
}
# Of the logits; agreement says little of random weights, and rounding adds up over InceptionV3's 95 layers.
LEAST_SQNR_DB = dict.fromkeys(ARCHITECTURES, 15) | {"InceptionV3": 12}


def photos(side: int, low: float, high: float) -> np.ndarray:
    """Cut-outs of photographs, (32, side, side, 3), in the given range."""
    from PIL import Image
    from skimage import data

    cuts = []
    for photo in (data.chelsea(), data.coffee()):
        height, width = photo.shape[:2]
        for row in range(4):
            for column in range(4):
                cut = photo[row * height // 6 :, column * width // 6 :][: height // 3, : width // 3]
                cuts.append(np.asarray(Image.fromarray(cut).resize((side, side))))
    return np.stack(cuts).astype(np.float32) / 255 * (high - low) + low


def subject(name: str, live_in: Any) -> tuple[keras.Model, dict[str, Any]]:
    """A model with random weights, and photos as an export takes them."""
    side, input_range = ARCHITECTURES[name]
    keras.utils.set_random_seed(0)
    images = photos(side, *input_range)
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10)
    return live_in(model, images), {"calibration": images, "input_range": input_range}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_goes_through(
    name: str, tmp_path: Path, worker: Worker, live_in: Callable[[keras.Model, np.ndarray], keras.Model]
) -> None:
    model, data = subject(name, live_in)
    report = export_tflite(model, tmp_path / "float.tflite", evaluation=None, worker=worker)
    assert report.parity["relative_rms"] <= 1e-4
    report = export_tflite(model, tmp_path / "int8.tflite", "int8", gate=False, **data, worker=worker)
    assert report.fully_integer
    assert report.requantizations == 0
    assert report.parity["relative_rms"] <= 10 ** (-LEAST_SQNR_DB[name] / 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_is_trained_in_8_bits(
    name: str, tmp_path: Path, worker: Worker, live_in: Callable[[keras.Model, np.ndarray], keras.Model]
) -> None:
    model, data = subject(name, live_in)
    before = model.get_weights()
    training = FineTuning.on_arrays(data["calibration"], None, batch_size=8, epochs=2, distill=True)
    report = export_tflite(
        model, tmp_path / "int8.tflite", "int8", ptq="plain", qat=training, gate=False, **data, worker=worker
    )
    assert report.fully_integer
    assert report.requantizations == 0
    assert report.parity["sqnr_db"] >= 10
    after = keras.saving.load_model(report.keras_model).get_weights()
    kernels = [np.any(old != new) for old, new in zip(before, after, strict=True) if old.ndim > 1]
    assert np.mean(kernels) > 0.99
