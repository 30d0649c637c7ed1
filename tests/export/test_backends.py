"""A file does not depend on the backend that the model was loaded under."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from export import Worker, export_tflite
from export.tflite_file.interpreter import Interpreter
from keras_classics.datasets.parts import Dataset

UNDER_TENSORFLOW = """
import sys, keras, numpy as np
from export import Worker, export_tflite
model_path, data, folder = sys.argv[1:]
calibration = np.load(data)
with Worker() as worker:
    for mode in ("float32", "int8"):
        model = keras.saving.load_model(model_path)
        options = dict(calibration=calibration, input_range=(0, 1), worker=worker)
        export_tflite(model, f"{folder}/{mode}.tflite", mode, **options)
"""


@pytest.mark.backends
def test_files_are_those_of_tensorflow(lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker) -> None:
    model_path, data, theirs = tmp_path / "lenet.keras", tmp_path / "data.npy", tmp_path / "tensorflow"
    lenet.save(model_path)
    calibration = mnist.calibration.images()
    np.save(data, calibration)
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", UNDER_TENSORFLOW, str(model_path), str(data), str(theirs)]
    subprocess.run(command, env=environment, check=True, capture_output=True)

    digits = [mnist.test.images()]
    for mode in ("float32", "int8"):
        model = keras.saving.load_model(model_path)
        path = tmp_path / f"{mode}.tflite"
        report = export_tflite(model, path, mode, calibration=calibration, input_range=(0, 1), worker=worker)
        assert report.versions["backend"].startswith(keras.backend.backend())
        other = json.loads((theirs / f"{mode}.json").read_text())
        assert other["versions"]["backend"].startswith("tensorflow")
        assert report.ops == other["ops"]
        ours = Interpreter(path).run(digits)[0]
        reference = Interpreter(theirs / f"{mode}.tflite").run(digits)[0]
        if mode == "float32":
            np.testing.assert_allclose(ours, reference, atol=1e-5)
        else:
            assert (ours.argmax(1) == reference.argmax(1)).mean() >= 0.995
