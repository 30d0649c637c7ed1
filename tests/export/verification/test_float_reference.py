"""The graph is compared with the model in the dtypes that the model takes and computes in."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from export import GateError, Worker, export_tflite
from export.tflite_file.interpreter import Interpreter
from export.verification import float_reference


def network(dtype: str = "float32", first: layers.Layer | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), dtype=dtype)
    x = first(image) if first else image
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, activation="relu")(x))
    return keras.Model(image, layers.Dense(4)(layers.Flatten()(x)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_a_policys_model_is_exported_in_float32(policy: str, tmp_path: Path, worker: Worker) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy(before)
    report = export_tflite(model, tmp_path / "a.tflite", worker=worker)
    check = json.loads((tmp_path / "a.json").read_text())["self_check"]
    assert check["compute_dtype"] == policy.removeprefix("mixed_")
    assert 1e-6 < check["relative_rms"] < check["limit"]
    exact = network()
    exact.set_weights(model.get_weights())
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    np.testing.assert_allclose(
        Interpreter(tmp_path / "a.tflite").run([images])[0], exact.predict(images, verbose=0), rtol=1e-4, atol=1e-5
    )
    assert report.parity["relative_rms"] < 1e-5


def test_a_graph_that_is_off_names_the_policy(tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(float_reference.GRAPH_PARITY, "bfloat16", 1e-9)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(
        GateError, match=r"read from the model differs from it in bfloat16 by .* \(relative RMS, limit 1e"
    ):
        export_tflite(model, tmp_path / "a.tflite", gate=False, worker=worker)


def test_a_nested_models_policy_counts() -> None:
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(4, dtype="mixed_float16")])
    image = keras.Input((8,))
    assert float_reference.compute_dtype(keras.Model(image, inner(image))) == "float16"
    assert float_reference.compute_dtype(network()) == "float32"


@pytest.mark.parametrize(("mode", "io"), [("float32", "float32"), ("int8", "uint8")])
def test_a_model_of_bytes(mode: str, io: str, tmp_path: Path, worker: Worker) -> None:
    model = network("uint8", layers.Rescaling(1 / 255))
    images = (255 * np.random.default_rng(0).random((40, 8, 8, 3)).cumsum(axis=1) / 8).astype(np.uint8)
    given = {} if mode == "float32" else {"calibration": images[:20], "input_range": (0, 255)}
    report = export_tflite(model, tmp_path / "a.tflite", mode, io=io, worker=worker, **given)
    assert report.self_check["relative_rms"] < 1e-5
    expected = model.predict(images[20:], verbose=0)
    (found,) = Interpreter(tmp_path / "a.tflite").run([images[20:]])
    assert np.sqrt(np.square(found - expected).mean() / expected.var()) < (1e-4 if mode == "float32" else 0.05)
    if mode == "int8":
        assert (report.input["dtype"], report.input["scale"], report.input["zero_point"]) == ("uint8", 1, 0)
    evaluated = export_tflite(model, tmp_path / "b.tflite", evaluation=(images, np.zeros(40, int)), worker=worker)
    assert evaluated.accuracy == evaluated.float_accuracy == (model.predict(images, verbose=0).argmax(1) == 0).mean()
