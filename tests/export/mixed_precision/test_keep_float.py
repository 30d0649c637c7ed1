"""Layers that stay in float in an int8 file: exactly those, and at a price that the report tells."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from export import FineTuning, GateError, InputError, Worker, export_tflite
from export.frontend.read import read_graph
from export.mixed_precision import latency
from export.mixed_precision.keep_float import float_operations
from export.passes.fold_batch_normalization import fold_batch_normalization
from export.tflite_file.audit import audit
from export.verification.islands import unexpected_islands
from keras_classics import train
from keras_classics.datasets.parts import Dataset


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is measured as ever, only not as well."""
    monkeypatch.setattr(latency, "ROUNDS", 3)


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = layers.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(image)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="second")(x)
    x = layers.ReLU(6.0, name="clip")(layers.BatchNormalization(name="norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.MaxPooling2D(name="pool")(layers.Add(name="sum")([x, y]))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="classes")(layers.Flatten(name="flat")(x)))


@pytest.fixture
def blocks() -> dict:
    images = np.random.default_rng(0).random((16, 4, 4, 3), np.float32).repeat(4, axis=1).repeat(4, axis=2)
    return {"calibration": images, "input_range": (0, 1), "gate": False}


CONVOLUTION, DEPTHWISE = "CONV_2D", "DEPTHWISE_CONV_2D"
KEPT = {
    "second": [CONVOLUTION],  # with the ReLU6 that is fused with it
    "norm": [CONVOLUTION],  # folded into it
    "depthwise": [DEPTHWISE],
    "pool": ["MAX_POOL_2D", "RESHAPE"],
    "class*": ["FULLY_CONNECTED", "SOFTMAX"],
    "*": [CONVOLUTION, CONVOLUTION, DEPTHWISE, "ADD", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"],
}


@pytest.mark.parametrize("io", ["int8", pytest.param("float32", marks=pytest.mark.slow)])
def test_exactly_the_named_layers_compute_in_float(
    io: str, model: keras.Model, blocks: dict, tmp_path: Path, worker: Worker
) -> None:
    for layer, operators in KEPT.items():
        report = export_tflite(model, tmp_path / "a.tflite", "int8", io=io, keep_float=[layer], worker=worker, **blocks)
        found = audit(report.path)
        assert [island.split()[0] for island in found.float_islands] == operators, layer
        assert "CAST" not in report.ops
        assert report.input["dtype"] == report.output["dtype"] == io
        assert report.parity["relative_rms"] < 0.05
        price = report.keep_float["latency_over_int8"]
        assert 0 < price["low"] <= price["ratio"] <= price["high"]


def test_a_layer_in_float_mends_what_int8_breaks(
    spoiled: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    options = {
        "calibration": mnist.calibration.images(),
        "evaluation": (mnist.test.images(), mnist.test.labels),
        "input_range": (0, 1),
        "worker": worker,
    }
    with pytest.raises(GateError, match="accuracy fell"):
        export_tflite(spoiled, tmp_path / "a.tflite", "int8", **options)
    report = export_tflite(spoiled, tmp_path / "a.tflite", "int8", keep_float=["up", "down"], **options)
    assert report.keep_float["operations"] == ["down", "up", "up/1"]
    assert report.ops["FULLY_CONNECTED"] == 5
    assert len(audit(report.path).float_islands) == 2
    simulated = report.tuning["held_out_sqnr_db"]["rounded"]  # of other samples, and a mean of theirs
    assert simulated == pytest.approx(report.parity["sqnr_db"], abs=5)
    assert report.float_accuracy - report.accuracy <= 0.01


def test_training_leaves_a_float_layer_unquantized(mnist: Dataset, tmp_path: Path, worker: Worker) -> None:
    model = train.build("lenet5", mnist)
    images, labels = mnist.train.images(slice(64)), mnist.train.labels[:64]
    report = export_tflite(
        model,
        tmp_path / "a.tflite",
        "int8",
        calibration=mnist.calibration.images(slice(16)),
        qat=FineTuning.on_arrays(images, labels, epochs=1),
        keep_float=["c3"],
        gate=False,
        worker=worker,
    )
    assert [island.split()[0] for island in audit(report.path).float_islands] == ["CONV_2D"]
    assert report.keep_float["operations"][0] == "c3"


def test_an_unknown_layer_is_refused_with_names_that_are_near(
    model: keras.Model, blocks: dict, tmp_path: Path, worker: Worker
) -> None:
    with pytest.raises(InputError, match=r"no layer 'depthwize' to keep in float; near names are depthwise$"):
        export_tflite(model, tmp_path / "a.tflite", "int8", keep_float=["depthwize"], worker=worker, **blocks)
    with pytest.raises(InputError, match="is the text 'pool'; give a list"):
        export_tflite(model, tmp_path / "a.tflite", "int8", keep_float="pool", worker=worker, **blocks)
    with pytest.raises(InputError, match="of an int8 file in float and the mode is int16x8"):
        export_tflite(model, tmp_path / "a.tflite", "int16x8", keep_float=["pool"], worker=worker, **blocks)
    assert not list(tmp_path.iterdir())


def test_a_nested_models_name_stands_for_its_layers(model: keras.Model) -> None:
    image = layers.Input((16, 16, 3))
    graph = read_graph(keras.Model(image, model(image)))
    fold_batch_normalization(graph)
    scope = model.name
    assert float_operations(graph, [scope], {}) == set(graph.operations) - set(graph.inputs)
    assert float_operations(graph, [f"{scope}/first"], {}) == {f"{scope}/first", f"{scope}/first/1"}
    assert float_operations(graph, [], {}) == frozenset()


def test_other_float_islands_are_still_found(model: keras.Model, blocks: dict, tmp_path: Path, worker: Worker) -> None:
    report = export_tflite(model, tmp_path / "a.tflite", "int8", keep_float=["pool", "sum"], worker=worker, **blocks)
    graph, found = read_graph(model), audit(report.path)
    assert unexpected_islands(graph, found, frozenset({"sum", "pool", "flat"})) == []
    (island,) = unexpected_islands(graph, found, frozenset({"pool", "flat"}))
    assert island.startswith("ADD sum/")
