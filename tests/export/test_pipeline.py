"""`export_tflite` from model to file: what it promises of the file, and what it refuses."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from export import Clustering, FineTuning, GateError, InputError, Pruning, Worker, export_tflite
from export.tflite_file.audit import audit
from export.tflite_file.interpreter import Interpreter
from keras_classics import train
from keras_classics.datasets.parts import Dataset


def data_of(mnist: Dataset, count: int = 1000) -> dict:
    test = (mnist.test.images(slice(count)), mnist.test.labels[:count])
    return {"calibration": mnist.calibration.images(), "evaluation": test, "input_range": (0.0, 1.0)}


@pytest.mark.backends
def test_float_file_computes_what_the_model_computes(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    path = tmp_path / "new" / "lenet.tflite"
    report = export_tflite(lenet, path, evaluation=data_of(mnist)["evaluation"], worker=worker)
    assert report.parity["relative_rms"] <= 1e-5
    assert report.accuracy == report.float_accuracy > 0.9
    assert report.evaluated == 1000
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.size_bytes == path.stat().st_size
    assert report.ops == {"FULLY_CONNECTED": 3, "CONV_2D": 2, "MAX_POOL_2D": 2, "RESHAPE": 1, "SOFTMAX": 1}
    assert report.input == {
        "name": report.input["name"], "shape": [1, 32, 32, 1], "dtype": "float32", "scale": None, "zero_point": None
    }  # fmt: skip
    written = json.loads(path.with_suffix(".json").read_text())
    assert written["sha256"] == report.sha256
    assert written["calibration"] is None
    assert sorted(file.name for file in path.parent.iterdir()) == ["lenet.json", "lenet.tflite"]


@pytest.mark.backends
@pytest.mark.parametrize("ptq", ["tuned", "plain"])
def test_int8_file_is_integer_only_and_keeps_its_accuracy(
    ptq: str, lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    path = tmp_path / "lenet.tflite"
    report = export_tflite(lenet, path, "int8", ptq=ptq, worker=worker, **data_of(mnist))
    assert report.fully_integer
    assert report.requantizations == 0
    assert report.input["dtype"] == report.output["dtype"] == "int8"
    assert report.calibration["count"] == 200
    assert report.float_accuracy - report.accuracy <= 0.01
    assert report.parity["sqnr_db"] > 15
    assert report.size_bytes < 80_000
    if ptq == "tuned":
        assert report.input["scale"] == pytest.approx(1 / 255, rel=1e-6)
    interpreter = Interpreter(path)
    outputs = interpreter.run([mnist.test.images()])[0]
    assert (outputs.argmax(1) == mnist.test.labels).mean() == report.accuracy


def test_io_types_and_logits(lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker) -> None:
    options = data_of(mnist, 100)
    sqnr = []
    for io in ("uint8", "float32"):
        report = export_tflite(lenet, tmp_path / f"{io}.tflite", "int8", io=io, worker=worker, **options)
        assert report.input["dtype"] == report.output["dtype"] == io
        assert audit(report.path).float_islands == []
        assert report.fully_integer == (io == "uint8")
        sqnr.append(report.parity["sqnr_db"])
    assert sqnr[0] == pytest.approx(sqnr[1], abs=1)  # both before the softmax
    report = export_tflite(lenet, tmp_path / "logits.tflite", "int8", logits=True, worker=worker, **options)
    assert "SOFTMAX" not in report.ops
    assert report.output["scale"] > 1 / 256


@pytest.mark.backends
def test_quantization_aware_training_helps_what_it_trains(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    before = lenet.get_weights()
    qat = FineTuning.on_arrays(mnist.train.images(), mnist.train.labels, epochs=1)
    report = export_tflite(lenet, tmp_path / "lenet.tflite", "int8", qat=qat, worker=worker, **data_of(mnist))
    assert report.fully_integer
    assert report.accuracy >= report.float_accuracy - 0.005
    assert 0 < report.qat["ptq_accuracy"] <= 1
    assert len(report.qat["history"]) == 1
    for weight, same in zip(before, lenet.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)  # the caller's model is as it was
    carried = keras.saving.load_model(report.keras_model)
    assert train.accuracy(carried, mnist.test) == pytest.approx(report.keras_accuracy)
    assert abs(report.keras_accuracy - report.accuracy) <= 0.005
    assert any(np.any(a != b) for a, b in zip(before, carried.get_weights(), strict=True))


@pytest.mark.slow
def test_depthwise_kernels_have_a_scale_for_each_channel_after_qat(
    mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    model = train.build("mobilenet_v2", mnist, alpha=0.35)
    qat = FineTuning.on_arrays(mnist.train.images(slice(64)), mnist.train.labels[:64], epochs=1)
    report = export_tflite(
        model, tmp_path / "slim.tflite", "int8", qat=qat, gate=False, worker=worker, **data_of(mnist, 50)
    )
    scales = audit(report.path).weight_scales
    depthwise = [count for name, count in scales.items() if "DEPTHWISE" in name]
    assert len(depthwise) == 17
    assert min(depthwise) > 1
    assert report.fully_integer
    assert abs(report.keras_accuracy - report.float_accuracy) < 0.2


def test_a_model_that_int8_cannot_carry_is_refused(
    spoiled: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    model, path = spoiled, tmp_path / "spoiled.tflite"
    path.write_bytes(b"the good file of yesterday")
    options = data_of(mnist)
    with pytest.raises(GateError, match=r"accuracy fell by \d+\.\d+ points.*limit 1"):
        export_tflite(model, path, "int8", worker=worker, **options)
    assert path.read_bytes() == b"the good file of yesterday"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(GateError, match=r"SQNR is .* dB \(least 10\)"):
        export_tflite(model, path, "int8", worker=worker, **options | {"evaluation": None})
    report = export_tflite(model, path, "int8", gate=False, worker=worker, **options)
    assert not report.gate["passed"]
    assert report.float_accuracy > 0.9
    assert report.accuracy < 0.5


def test_weights_that_are_not_finite_are_refused_even_without_a_gate(
    lenet: keras.Model, tmp_path: Path, worker: Worker
) -> None:
    kernel, bias = lenet.get_layer("predictions").get_weights()
    lenet.get_layer("predictions").set_weights([kernel * np.float32(np.inf), bias])
    with pytest.raises(InputError, match="layer 'predictions' has values in its kernel that are not finite"):
        export_tflite(lenet, tmp_path / "nan.tflite", gate=False, worker=worker)
    assert not list(tmp_path.iterdir())


SHAPE = (20, 32, 32, 1)
REFUSED = {
    "noise": (lambda data: {"calibration": np.random.default_rng(0).random(SHAPE, np.float32)}, "look like noise"),
    "constant": (lambda data: {"calibration": np.full(SHAPE, 0.5, np.float32)}, "is constant"),
    "not finite": (lambda data: {"calibration": np.full(SHAPE, np.nan, np.float32)}, "not finite"),
    "range": (
        lambda data: {"calibration": data["calibration"] * 255},
        r"reaches from 0 to 255 .* input range is 0 to 1",
    ),
    "shape": (lambda data: {"calibration": data["calibration"][:, 2:30, 2:30]}, r"shape \(28, 28, 1\) .* takes \(32"),
    "evaluation range": (
        lambda data: {"evaluation": (data["evaluation"][0] * 255, data["evaluation"][1])},
        r"evaluation data reaches from 0 to 255 .* input range is 0 to 1",
    ),
    "empty": (lambda data: {"calibration": data["calibration"][:0]}, "at least one"),
    "inputs": (lambda data: {"calibration": (data["calibration"],) * 2}, "2 arrays and the model 1 inputs: image"),
    "overlap": (lambda data: {"calibration": data["evaluation"][0][:5]}, "5 samples are in both"),
    "missing": (lambda data: {"calibration": None}, "needs representative data"),
    "io": (lambda data: {"io": "int4"}, "io= is 'int4'; it takes int8, uint8, float32"),
    "labels": (lambda data: {"evaluation": (data["evaluation"][0], [1, 2])}, "100 samples and 2 labels"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_data_is_refused_with_the_reason(
    case: str, lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    change, message = REFUSED[case]
    options = data_of(mnist, 100)
    with pytest.raises(InputError, match=message) as caught:
        export_tflite(lenet, tmp_path / "no.tflite", "int8", worker=worker, **options | change(options))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(b"PK\x03\x04 no flatbuffer")
    for read in (Interpreter, audit):
        with pytest.raises(InputError, match="is not a TFLite file"):
            read(path)


def test_pruning_clustering_and_qat_keep_each_others_structure(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    digits, labels = mnist.train.images(), mnist.train.labels

    def tuning(**options) -> FineTuning:
        return FineTuning.on_arrays(digits, labels, epochs=1, **options)

    before = lenet.get_weights()
    report = export_tflite(
        lenet,
        tmp_path / "small.tflite",
        "int8",
        prune=Pruning(tuning(learning_rate=2e-3), sparsity=0.7),
        cluster=Clustering(tuning(), clusters=16),
        qat=tuning(),
        max_drop=3.0,
        worker=worker,
        **data_of(mnist),
    )
    assert 0.69 <= report.sparsity <= 0.8
    assert report.values_per_channel <= 16
    assert report.fully_integer
    assert report.gzip_bytes < 0.5 * report.size_bytes
    for weight, same in zip(before, lenet.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, same)
    carried = keras.saving.load_model(report.keras_model)
    kernel = carried.get_layer("c5").kernel.numpy()
    assert (kernel == 0).mean() >= 0.69
    assert len(np.unique(kernel)) <= 16
    assert train.accuracy(carried, mnist.test) == pytest.approx(report.keras_accuracy)
