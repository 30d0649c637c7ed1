"""One run of a file gives what its softmax takes as well as its outputs."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from export import Worker, export_tflite
from export.tflite_file.interpreter import Interpreter

IMAGES = np.random.default_rng(0).random((3, 8, 8, 2), np.float32)


def two_heads() -> keras.Model:
    image = layers.Input((8, 8, 2), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="convolution")(image)
    x = layers.Flatten()(x)
    heads = [layers.Dense(2, name="plain")(x), layers.Dense(5, activation="softmax", name="class")(x)]
    return keras.Model(image, heads)


def test_the_softmaxs_input_is_one_more_output(tmp_path: Path, worker: Worker) -> None:
    path = tmp_path / "a.tflite"
    export_tflite(two_heads(), path, worker=worker)
    outputs = Interpreter(path).run([IMAGES])
    file = Interpreter(path, with_logits=True)
    found = file.run([IMAGES])
    for expected, array in zip(outputs, found[:2], strict=True):
        np.testing.assert_array_equal(array, expected)
    assert file.logits == [0, 2] if found[0].shape[1] == 2 else [2, 1]
    powers = np.exp(found[2])
    probabilities = next(array for array in outputs if array.shape[1] == 5)
    np.testing.assert_allclose(powers / powers.sum(1, keepdims=True), probabilities, rtol=1e-5)


def test_a_file_without_a_softmax_has_its_outputs_alone(tmp_path: Path, worker: Worker) -> None:
    path = tmp_path / "a.tflite"
    model = two_heads()
    export_tflite(keras.Model(model.input, model.outputs[0]), path, worker=worker)
    file = Interpreter(path, with_logits=True)
    assert file.logits == [0]
    assert len(file.run([IMAGES])) == 1
