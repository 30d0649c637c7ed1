"""Mixed precision by price: few layers in float mend what int8 loses, and the report says which and at what cost."""

from pathlib import Path

import keras
import numpy as np
import pytest

from export import FineTuning, GateError, InputError, Worker, export_tflite
from export.frontend.read import read_graph
from export.mixed_precision import latency
from export.passes.simplify import simplify
from export.quantization.ptq import tune
from export.tflite_file.audit import audit
from export.worker.protocol import MeasureSensitivity
from keras_classics.datasets.parts import Dataset


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is measured as ever, only not as well."""
    monkeypatch.setattr(latency, "ROUNDS", 3)


def data_of(mnist: Dataset) -> dict:
    evaluation = (mnist.test.images(slice(300)), mnist.test.labels[:300])
    return {"calibration": mnist.calibration.images(slice(64)), "evaluation": evaluation, "input_range": (0, 1)}


def test_the_layers_that_lose_the_accuracy_stay_in_float(
    cancelling: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    options = data_of(mnist) | {"worker": worker}
    with pytest.raises(GateError, match=r"accuracy fell by .*; try --qat, or --mixed, or --max-drop if that"):
        export_tflite(cancelling, tmp_path / "a.tflite", "int8", **options)
    report = export_tflite(cancelling, tmp_path / "a.tflite", "int8", mixed=True, **options)
    whole, *others = report.mixed["sets"]
    assert (whole["operations"], whole["passed"], whole["latency"]) == ([], False, None)
    assert whole["drop"]["points"] > 1
    assert [row["passed"] for row in others] == [False] * (len(others) - 1) + [True]
    assert {"up", "down"} <= set(others[-1]["operations"]) < set(read_graph(cancelling).operations)
    assert others[-1]["operations"] == report.keep_float["operations"]
    assert others[-1]["predicted"]["latency"] > 1
    assert report.drop["points"] <= 1
    assert report.gate["passed"]
    assert len(audit(report.path).float_islands) >= 2
    assert not report.fully_integer


@pytest.mark.slow
def test_a_goal_that_nothing_reaches_is_refused(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    options = data_of(mnist) | {"worker": worker, "mixed": True}
    report = export_tflite(lenet, tmp_path / "good.tflite", "int8", **options)
    assert report.mixed is None
    assert report.fully_integer
    message = r"SQNR is .* dB \(least 200\); no set of layers in float that is worth it mends that; try --qat$"
    with pytest.raises(GateError, match=message):
        export_tflite(lenet, tmp_path / "a.tflite", "int8", min_sqnr=200.0, **options)
    report = export_tflite(lenet, tmp_path / "a.tflite", "int8", min_sqnr=200.0, gate=False, **options)
    assert report.fully_integer
    assert "SQNR" in report.gate["faults"][-1]


def test_the_parts_of_the_noise_add_up(lenet: keras.Model, mnist: Dataset, worker: Worker) -> None:
    graph = read_graph(lenet)
    simplify(graph)
    samples = [mnist.calibration.images(slice(32))]
    tuned = tune(graph, worker, samples, (0.0, 1.0))
    names = [graph.logits(name) for name in graph.outputs]
    noise = worker.run(MeasureSensitivity(tuned.unrounded, tuned.graph, tuned.ranges, names, samples))
    (expected,) = worker.evaluate(tuned.unrounded, names, samples)
    (found,) = worker.evaluate(tuned.graph, names, samples, tuned.ranges)
    assert noise.signal == pytest.approx(np.square(expected).sum(), rel=1e-4)
    parts = sum(noise.tensors) + sum(noise.kernels)
    assert abs(10 * np.log10(np.square(found - expected).sum() / parts)) < 2
    assert min(noise.tensors) >= 0
    assert np.count_nonzero(noise.kernels) == 5


def test_mixed_precision_is_for_tuned_int8(lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker) -> None:
    training = FineTuning.on_arrays(mnist.train.images(slice(8)), mnist.train.labels[:8])
    for wrong in ({"mode": "float32"}, {"mode": "int8", "ptq": "plain"}, {"mode": "int8", "qat": training}):
        with pytest.raises(InputError, match="mixed= finds layers for int8 that is tuned and not trained"):
            export_tflite(lenet, tmp_path / "a.tflite", mixed=True, worker=worker, **data_of(mnist) | wrong)
