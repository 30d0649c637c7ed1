"""The worker's faults come back as exceptions that say what happened."""

import os
import signal

import numpy as np
import pytest
from keras import Input, Model, layers

from export import ConversionError, FineTuning, InputError, Worker
from export.frontend.read import read_graph
from export.quantization.ranges import calibrations


def small_graph():
    image = Input((4, 4, 1), name="image")
    return read_graph(Model(image, layers.Dense(3, name="dense")(layers.Flatten()(image))))


def test_a_fault_in_the_worker_is_raised_here_and_the_worker_goes_on(worker: Worker) -> None:
    graph = small_graph()
    graph.operations["dense"].attributes["nonsense"] = 1
    with pytest.raises(ConversionError, match=r"layer 'dense' \(dense\)"):
        worker.convert(graph, "float32")
    assert worker.convert(small_graph(), "float32")[4:8] == b"TFL3"


def test_training_that_fails_leaves_the_worker_usable(worker: Worker) -> None:
    graph = small_graph()
    images = np.random.default_rng(0).random((8, 4, 4, 1), np.float32)
    ranges = calibrations(graph, worker, [images], None)["mean"]
    wrong_shape = FineTuning.on_arrays(images[:, :2], np.zeros(8, np.int64), batch_size=4)
    options = wrong_shape.options() | {"preserve_sparsity": False, "preserve_clusters": False}
    with pytest.raises(ConversionError, match="incompatible"):
        worker.train("train_quantized", graph, options, wrong_shape.stream(), ranges=ranges, keep_float=[])
    assert worker.convert(small_graph(), "float32")[4:8] == b"TFL3"


def test_a_worker_that_dies_is_reported() -> None:
    with Worker() as worker:
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(ConversionError, match=r"ended with code -9 \(out of memory\?\)"):
            worker.convert(small_graph(), "float32")


def test_a_missing_converter_is_an_error_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError, match=r"No module named 'tensorflow'.*pip install 'keras-classics\[export\]'"):
        Worker()


def test_another_process_takes_over_before_trainings_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.client.MOST_KEPT", 0)
    graph = small_graph()
    images = np.random.default_rng(0).random((8, 4, 4, 1), np.float32)
    training = FineTuning.on_arrays(images, np.arange(8) % 3, batch_size=4)
    options = training.options() | {"preserve_sparsity": False, "preserve_clusters": False}
    trained, processes = [], []
    with Worker() as worker:
        ranges = calibrations(graph, worker, [images], None)["mean"]
        for _ in range(2):
            settings = {"ranges": ranges, "keep_float": []}
            trained.append(worker.train("train_quantized", graph, options, training.stream(), **settings)[0])
            processes.append(worker._process.pid)
    assert processes[0] != processes[1]
    for name, array in trained[0].items():
        np.testing.assert_array_equal(array, trained[1][name])
