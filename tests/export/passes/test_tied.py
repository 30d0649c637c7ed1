"""Layers that are used in two places: trained with one set of weights, or left as they are."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from export import FineTuning, Worker, export_tflite
from export.data.samples import smooth_images
from export.frontend.read import read_graph
from export.passes.simplify import simplify
from export.verification.parity import keras_outputs, relative_rms

SHAPE = (12, 12, 1)


def siamese() -> keras.Model:
    """Two images through one block and one dense layer."""
    keras.utils.set_random_seed(0)
    block = keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(8, 3, use_bias=False, name="convolution"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
        ],
        name="block",
    )
    embedding = layers.Dense(6, name="embedding")
    images = [layers.Input(SHAPE, name=name) for name in ("left", "right")]
    left, right = (embedding(block(image)) for image in images)
    x = layers.ReLU()(layers.Subtract()([left, right]))
    return keras.Model(images, layers.Dense(2, activation="softmax", name="order")(x))


@pytest.fixture
def pairs() -> dict:
    images = smooth_images(SHAPE, 96)
    left, right = images[:48], images[48:]
    labels = (left.mean(axis=(1, 2, 3)) > right.mean(axis=(1, 2, 3))).astype(np.int64)
    training = FineTuning.on_arrays([left[:32], right[:32]], labels[:32], batch_size=8, epochs=2)
    return {
        "calibration": (left[:32], right[:32]),
        "evaluation": ((left[32:], right[32:]), labels[32:]),
        "training": training,
    }


def test_both_places_train_one_set_of_weights(pairs: dict, tmp_path: Path, worker: Worker) -> None:
    model, training = siamese(), pairs.pop("training")
    before = model.get_layer("block").get_layer("convolution").get_weights()[0]
    report = export_tflite(model, tmp_path / "a.tflite", "int8", qat=training, gate=False, worker=worker, **pairs)
    assert report.fully_integer
    assert report.parity["sqnr_db"] > 15
    carried = keras.saving.load_model(report.keras_model)
    after = carried.get_layer("block").get_layer("convolution").get_weights()[0]
    assert np.abs(after - before).max() > 1e-4
    graph = read_graph(carried)
    simplify(graph)
    samples = [array[:8] for array in pairs["calibration"]]
    found = worker.evaluate(graph, graph.outputs, samples)
    assert relative_rms(keras_outputs(carried, samples), found) <= 1e-5


def test_what_shares_all_its_weights_is_tied() -> None:
    graph = read_graph(siamese())
    simplify(graph)
    tied = {name: operation.tied for name, operation in graph.operations.items() if operation.tied}
    assert tied == {
        "block/convolution": "block/convolution",
        "block/convolution/1": "block/convolution",
        "embedding": "embedding",
        "embedding/1": "embedding",
    }
    assert graph.operations["block/convolution/1"].trainable == ["kernel", "bias"]
    assert not any(graph.operations[name].compressible for name in tied)


def test_places_with_different_normalizations_are_left_as_they_are() -> None:
    image = layers.Input(SHAPE)
    shared = layers.Conv2D(4, 3, name="shared")
    branches = [layers.BatchNormalization(name=name)(shared(image)) for name in ("one", "other")]
    model = keras.Model(image, layers.Add()(branches))
    model.get_layer("other").gamma.assign([1.0, 2.0, 3.0, 4.0])
    graph = read_graph(model)
    simplify(graph)
    assert [graph.operations[name].trainable for name in ("shared", "shared/1")] == [[], []]
    assert not any(operation.tied for operation in graph.operations.values())
