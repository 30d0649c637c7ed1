"""Every architecture of ours goes through, float and int8, its own layers included."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_classics as kc
from export import Worker, export_tflite
from export.data.samples import smooth_images
from keras_classics import registry

SMALL = {
    "lenet5": {},
    "lenet5 1998": {"variant": "1998"},
    "alexnet": {"input_shape": (67, 67, 3)},
    "alexnet one_weird_trick": {"input_shape": (63, 63, 3), "variant": "one_weird_trick"},
    "vgg11": {},
    "vgg16": {"batch_norm": True},
    "resnet18": {},
    "resnet18 padded": {"shortcut": "A"},
    "resnet20": {},
    "resnet50": {},
    "googlenet": {},
    "googlenet normalized": {"batch_norm": True},
    "mobilenet_v1": {},
    "mobilenet_v2": {},
}
FAST = ("lenet5 1998",)


@pytest.mark.parametrize(
    "case", [case if case in FAST else pytest.param(case, marks=pytest.mark.slow) for case in SMALL]
)
def test_small_model_goes_through(
    case: str, tmp_path: Path, worker: Worker, live_in: Callable[[keras.Model, np.ndarray], keras.Model]
) -> None:
    name = case.split()[0]
    arguments = {"input_shape": registry.entry(name).small_input_shape, "classes": 10} | SMALL[case]
    images = smooth_images(arguments["input_shape"])
    model = live_in(kc.create_model(name, **arguments), images)
    report = export_tflite(model, tmp_path / "float.tflite", worker=worker)
    assert report.parity["relative_rms"] <= 5e-5
    report = export_tflite(model, tmp_path / "int8.tflite", "int8", calibration=images, gate=False, worker=worker)
    assert report.fully_integer
    assert report.parity["relative_rms"] <= 0.3  # random weights: outputs hardly vary about their mean
    grouped = [count for operator, count in report.ops.items() if operator == "CONV_2D"]
    if name == "alexnet":
        assert grouped == [7 if case == "alexnet" else 5]  # one for each layer, two for the LRN bands


def test_the_names_in_the_registry_have_a_small_shape_of_their_own() -> None:
    assert {case.split()[0] for case in SMALL} <= set(kc.list_models())
    for name in kc.list_models():
        assert np.prod(registry.entry(name).small_input_shape) <= 3 * 80 * 80
