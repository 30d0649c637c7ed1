"""`export_tflite` in somebody's script: silent, with progress and errors that can be used."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from export import ConversionError, FineTuning, Worker, export_tflite

SCRIPT = """
import sys, keras, numpy as np
from keras import layers
from export import FineTuning, export_tflite
image = layers.Input((8, 8, 1), name="image")
x = layers.Conv2D(4, 3, activation="relu")(image)
model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))
images = np.linspace(0, 1, 16 * 64, dtype="float32").reshape(16, 8, 8, 1)
labels = np.arange(16) % 3
model.compile(loss="sparse_categorical_crossentropy")
model.fit(images, labels, verbose=0)
options = dict(calibration=images, input_range=(0, 1), gate=False)
export_tflite(model, sys.argv[1] + "/float.tflite")
qat = FineTuning.on_arrays(images, labels, epochs=1, batch_size=8)
export_tflite(model, sys.argv[1] + "/int8.tflite", "int8", qat=qat, **options)
assert "tensorflow_model_optimization" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_training_script_hears_nothing(backend: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment |= {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-W", "error::UserWarning", "-c", SCRIPT, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr == ""
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "float.json", "float.tflite", "int8.json", "int8.keras", "int8.tflite"
    ]  # fmt: skip


@pytest.fixture
def small() -> keras.Model:
    image = layers.Input((8, 8, 1), name="image")
    return keras.Model(image, layers.Dense(3, name="classes")(layers.Flatten()(image)))


def test_the_converter_talks_only_when_it_is_asked_to(
    small: keras.Model, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for verbose in (False, True):
        capfd.readouterr()
        with Worker(verbose=verbose) as worker:
            export_tflite(small, tmp_path / "a.tflite", worker=worker)
        out, err = capfd.readouterr()
        assert out == ""
        assert bool(err) == verbose


def test_long_steps_report_how_far_they_are(small: keras.Model, tmp_path: Path) -> None:
    images = np.linspace(0, 1, 16 * 64, dtype=np.float32).reshape(16, 8, 8, 1)
    qat = FineTuning.on_arrays(images, np.arange(16) % 3, epochs=2, batch_size=4)
    heard: list[dict] = []
    with Worker(progress=heard.append) as worker:
        export_tflite(small, tmp_path / "a.tflite", "int8", calibration=images, qat=qat, gate=False, worker=worker)
    training = [message for message in heard if message["step"] == "quantization-aware training"]
    assert [message["done"] for message in training] == list(range(1, 9))
    assert {message["total"] for message in training} == {8}
    assert all(message["loss"] > 0 for message in training)


def test_what_the_worker_cannot_do_names_the_layer(
    small: keras.Model,
    tmp_path: Path,
    worker: Worker,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # the checks of graphs, which would find it before the worker does
    from export import register_bridge
    from export.frontend.builder import _LAYERS

    @keras.saving.register_keras_serializable("tests")
    class Strange(layers.Layer):
        def call(self, x):
            return x

    model = keras.Model(small.input, Strange(name="oddity")(small.output))
    register_bridge(Strange)(lambda build, layer, x: build.add("multiply", x, weights={"factor": np.full(7, 2.0)}))
    try:
        with pytest.raises(ConversionError, match=r"layer 'oddity' \(multiply\)") as caught:
            export_tflite(model, tmp_path / "a.tflite", worker=worker)
    finally:
        del _LAYERS[Strange]
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
