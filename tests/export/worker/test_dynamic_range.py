"""Which weights a dynamic-range file has in 8 bits."""

from pathlib import Path

import keras
from keras import layers

from export import Worker, export_tflite
from export.tflite_file.audit import audit


def test_only_kernels_that_gain_by_it_are_in_8_bits(tmp_path: Path, worker: Worker) -> None:
    image = layers.Input((8, 8, 16), name="image")
    x = layers.Conv2D(32, 1, activation="relu", name="few")(image)  # 512 weights
    x = layers.Conv2D(32, 3, activation="relu", name="many")(x)  # 9,216
    x = layers.DepthwiseConv2D(3, depth_multiplier=8, name="depthwise")(x)  # 2,304
    x = layers.Dense(10, name="dense")(layers.Flatten(name="flat")(x))  # 40,960
    report = export_tflite(keras.Model(image, x), tmp_path / "a.tflite", "dynamic", gate=False, worker=worker)
    scales = audit(report.path).weight_scales
    assert {name.split(":")[1]: count for name, count in scales.items()} == {"CONV_2D": 32, "FULLY_CONNECTED": 10}
    assert report.ops["CONV_2D"] == 2


def test_a_network_of_small_kernels_stays_as_it_is(tmp_path: Path, worker: Worker) -> None:
    image = layers.Input((8, 8, 3), name="image")
    model = keras.Model(image, layers.Conv2D(8, 3, name="few")(image))
    dynamic = export_tflite(model, tmp_path / "dynamic.tflite", "dynamic", worker=worker)
    assert not audit(dynamic.path).weight_scales
    assert dynamic.parity["relative_rms"] < 1e-5
