"""The worker's faults come back as exceptions that say what happened."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import Input, Model, layers

from export import ConversionError, FineTuning, InputError, Worker, export_tflite
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.quantization.ranges import calibrations
from export.worker.protocol import (
    Batch,
    Cluster,
    CompareLayers,
    Convert,
    Evaluate,
    LearnEqualization,
    Loss,
    MeasureSensitivity,
    Observe,
    ObserveChannels,
    Prune,
    Request,
    RoundWeights,
    TrainingLength,
    TrainingRequest,
    TrainQuantized,
    TrainStepSizes,
)


@pytest.fixture(autouse=True)
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings of tests before these do not count: only what a test is about may replace a process."""
    monkeypatch.setattr("export.client.MOST_KEPT", math.inf)


def small_graph() -> Graph:
    image = Input((4, 4, 1), name="image")
    return read_graph(Model(image, layers.Dense(3, name="dense")(layers.Flatten()(image)), name="small"))


def broken_graph() -> Graph:
    """A graph whose dense kernel takes another number of inputs."""
    graph = small_graph()
    graph.operations["dense"].weights["kernel"] = np.ones((7, 3), np.float32)
    return graph


IMAGES = np.random.default_rng(0).random((64, 4, 4, 1), np.float32)
RANGES = {"image": (0.0, 1.0), "dense": (-3.0, 3.0)}
LENGTH = TrainingLength(steps_per_epoch=4, epochs=1)
CLASSES = Loss(0, "SparseCategoricalCrossentropy", {"from_logits": True})
# One request of each ability, for a graph.
REQUESTS: dict[str, Callable[[Graph], Request[Any]]] = {
    "convert": lambda graph: Convert(graph, "float32"),
    "evaluate": lambda graph: Evaluate(graph, ["dense"], [IMAGES]),
    "observe": lambda graph: Observe(graph, ["dense"], [IMAGES]),
    "observe channels": lambda graph: ObserveChannels(graph, ["dense"], [IMAGES]),
    "compare layers": lambda graph: CompareLayers(graph, {"dense": np.ones((64, 3), np.float32)}, [IMAGES]),
    "measure sensitivity": lambda graph: MeasureSensitivity(graph, graph, RANGES, ["dense"], [IMAGES]),
    "round weights": lambda graph: RoundWeights(graph, ["dense"], [IMAGES]),
}
TRAINING: dict[str, Any] = {"length": LENGTH, "losses": [CLASSES]}
TUNING: dict[str, Any] = {"ranges": RANGES, "shared": {"dense": "dense"}}
TRAININGS: dict[str, Callable[[Graph], TrainingRequest]] = {
    "train quantized": lambda graph: TrainQuantized(graph=graph, **TRAINING, ranges=RANGES, learning_rate=1e-3),
    "train step sizes": lambda graph: TrainStepSizes(
        graph=graph, **TRAINING, **TUNING, teacher=graph, learning_rate=1e-3
    ),
    "learn equalization": lambda graph: LearnEqualization(
        graph=graph,
        **TRAINING,
        **TUNING,
        teacher=graph,
        keep_float=[],
        groups=[],
        shifted=[],
        biases=["dense"],
        learning_rate_scale=1.0,
    ),
    "prune": lambda graph: Prune(graph=graph, **TRAINING, learning_rate=1e-3, sparsity=0.5, schedule="constant"),
    "cluster": lambda graph: Cluster(graph=graph, **TRAINING, learning_rate=1e-3, clusters=8),
}


def batches(wrong_at: int | None, count: int = 4096) -> Iterator[Batch]:
    """Batches larger than a pipe holds, one of them of a shape that the graph does not take."""
    for step in range(4):
        side = 5 if step == wrong_at else 4
        yield Batch([np.ones((count, side, side, 1), np.float32)], [np.zeros(count, np.int64)])


def process_of(worker: Worker) -> int:
    assert worker._process is not None
    return worker._process.pid


def test_every_ability_has_a_request_here() -> None:
    graph = small_graph()
    kinds = {type(make(graph)) for make in (REQUESTS | TRAININGS).values()}
    assert kinds == {*Request.__subclasses__(), *TrainingRequest.__subclasses__()} - {TrainingRequest}


@pytest.mark.parametrize("name", [*REQUESTS, *TRAININGS])
def test_an_ability_that_fails_says_so_and_its_worker_goes_on(name: str, worker: Worker) -> None:
    worker.convert(small_graph(), "float32")  # what ran before may have ended its process
    process = process_of(worker)
    graph = broken_graph()
    with pytest.raises(ConversionError) as caught:
        worker.run((REQUESTS | TRAININGS)[name](graph), batches(None))
    assert "\n" not in str(caught.value)
    worker.run((REQUESTS | TRAININGS)[name](small_graph()), batches(None, 64))
    assert process_of(worker) == process


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_that_fails_at_a_batch_says_so(name: str, step: int, worker: Worker) -> None:
    worker.convert(small_graph(), "float32")  # what ran before may have ended its process
    process = process_of(worker)
    with pytest.raises(ConversionError):
        worker.run(TRAININGS[name](small_graph()), batches(step))
    worker.run(TRAININGS[name](small_graph()), batches(None, 64))
    assert process_of(worker) == process


@pytest.mark.slow
@pytest.mark.parametrize("name", [*REQUESTS, *TRAININGS])
def test_a_worker_that_dies_of_a_request_is_replaced(name: str) -> None:
    with Worker() as worker:
        process = process_of(worker)
        os.kill(process, signal.SIGSEGV)
        with pytest.raises(ConversionError, match=r"crashed \(SIGSEGV\) during the .* of 'small'"):
            worker.run((REQUESTS | TRAININGS)[name](small_graph()), batches(None))
        worker.run((REQUESTS | TRAININGS)[name](small_graph()), batches(None, 64))
        assert process_of(worker) != process


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (np.inf, "values in its kernel that are not finite"),
        (np.nan, "values in its kernel that are not finite"),
        (-1e30, r"values up to 1e\+30 in its kernel"),
    ],
)
def test_weights_that_no_file_can_compute_with_are_refused_by_the_layers_name(
    value: float, fault: str, worker: Worker, tmp_path: Path
) -> None:
    image = Input((4, 4, 1), name="image")
    model = Model(image, layers.Dense(3, name="broken")(layers.Flatten()(image)))
    kernel, bias = model.get_layer("broken").get_weights()
    kernel[3, 1] = value
    model.get_layer("broken").set_weights([kernel, bias])
    with pytest.raises(InputError, match=f"layer 'broken' has {fault}"):
        export_tflite(model, tmp_path / "a.tflite", worker=worker)


def test_a_fault_in_the_worker_is_raised_here_and_the_worker_goes_on(worker: Worker) -> None:
    with pytest.raises(ConversionError, match=r"layer 'dense' \(dense\)"):
        worker.convert(broken_graph(), "float32")
    assert worker.convert(small_graph(), "float32")[4:8] == b"TFL3"


def test_training_that_fails_leaves_the_worker_usable(worker: Worker) -> None:
    graph = small_graph()
    images = np.random.default_rng(0).random((8, 4, 4, 1), np.float32)
    ranges = calibrations(graph, worker, [images], None)["mean"]
    request = TrainQuantized(graph=graph, length=LENGTH, ranges=ranges, learning_rate=1e-3, losses=[CLASSES])
    wrong_shape = [Batch([images[:4, :2]], [np.zeros(4, np.int64)])]
    with pytest.raises(ConversionError, match="incompatible"):
        worker.run(request, wrong_shape)
    assert worker.convert(small_graph(), "float32")[4:8] == b"TFL3"


def test_a_worker_that_dies_is_reported() -> None:
    with Worker() as worker:
        os.kill(process_of(worker), signal.SIGKILL)
        with pytest.raises(ConversionError, match=r"was killed \(SIGKILL\), .* during the conversion of '\w+'; free"):
            worker.convert(small_graph(), "float32")


def test_a_missing_converter_is_an_error_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError, match=r"No module named 'tensorflow'.*pip install 'keras-classics\[export\]'"):
        Worker()


@pytest.mark.slow
def test_another_process_takes_over_before_trainings_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.client.MOST_KEPT", 0)
    graph = small_graph()
    images = np.random.default_rng(0).random((8, 4, 4, 1), np.float32)
    training = FineTuning.on_arrays(images, np.arange(8) % 3, batch_size=4)
    trained, processes = [], []
    with Worker() as worker:
        ranges = calibrations(graph, worker, [images], None)["mean"]
        for _ in range(2):
            losses, batches = training.prepared(graph)
            options: dict[str, Any] = {"length": training.length, "losses": losses, "ranges": ranges}
            request = TrainQuantized(graph=graph, learning_rate=1e-3, **options)
            trained.append(worker.run(request, batches).weights)
            processes.append(process_of(worker))
    assert processes[0] != processes[1]
    for name, array in trained[0].items():
        np.testing.assert_array_equal(array, trained[1][name])
