"""Transposed convolutions are trained like the others, and their kernels find back into Keras's order of axes."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from export import FineTuning, Worker, export_tflite
from export.data.samples import smooth_images
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.verification.parity import keras_outputs, relative_rms

SHAPE = (8, 8, 3)


def upscaler() -> keras.Model:
    """Doubles an image's sides; with a normalization behind its transposed convolution."""
    keras.utils.set_random_seed(0)
    image = layers.Input(SHAPE)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="convolution")(image)
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same", use_bias=False, name="transposed")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="normalization")(x))
    model = keras.Model(image, layers.Conv2D(3, 1, name="colours")(x))
    model.get_layer("normalization").set_weights(list(np.random.default_rng(0).uniform(0.5, 1.5, (4, 5))))
    return model


def test_its_kernel_is_trained_and_carried_back(tmp_path: Path, worker: Worker) -> None:
    images = smooth_images(SHAPE, 64)
    model = upscaler()
    before = model.get_layer("transposed").get_weights()[0]
    training = FineTuning.on_arrays(images[:48], None, batch_size=8, epochs=4, distill=True)
    report = export_tflite(
        model, tmp_path / "a.tflite", "int8", qat=training, calibration=images[:48], gate=False, worker=worker
    )
    assert report.fully_integer
    assert report.parity["relative_rms"] < 10 ** (-30 / 20)
    carried = keras.saving.load_model(report.keras_model)
    after = carried.get_layer("transposed").get_weights()[0]
    assert after.shape == before.shape
    assert 1e-4 < np.abs(after - before).max() < 0.1
    graph = read_graph(carried)
    simplify(graph)
    found = worker.evaluate(graph, graph.outputs, [images[48:]])
    assert relative_rms(keras_outputs(carried, [images[48:]]), found) <= 1e-5
    assert relative_rms(keras_outputs(upscaler(), [images[48:]]), found) < 0.05
