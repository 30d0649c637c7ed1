"""What quantization-aware training simulated is what the file computes, and what the carried-back model nearly does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from export import Worker
from export.frontend.read import read_graph
from export.ir.graph import Graph
from export.ir.tensor_names import operations_of
from export.passes.cut_softmax import cut_softmax
from export.tflite_file.interpreter import Interpreter
from keras_classics.datasets.parts import Dataset

TRAINED_AND_TUNED = """
import sys
from export import FineTuning, export_tflite
from keras_classics import train
from keras_classics.datasets import data
mnist = data.load("mnist")
model = train.build("lenet5", mnist, seed=0)
train.fit(model, mnist, epochs=3, seed=0, progress=False)
export_tflite(
    model, sys.argv[1], "int8", logits=True, input_range=(0, 1),
    calibration=mnist.calibration.images(), evaluation=(mnist.test.images(), mnist.test.labels),
    qat=FineTuning.on_arrays(mnist.train.images(), mnist.train.labels, epochs=1),
)
"""


def ranges_of(path: Path, graph: Graph) -> dict[str, tuple[float, float]]:
    """The range of each operation that has an int8 tensor in the file."""
    file = Interpreter(path, inspect=True)
    found = dict(zip(graph.inputs, file.inputs, strict=True))
    for _, index, tensor, _ in file.computed():
        names = operations_of(graph, tensor, file.output_names)
        found |= {name: file._port_of(index) for name in names[-1:]}
    return {
        name: ((-128 - port.zero_point) * port.scale, (127 - port.zero_point) * port.scale)
        for name, port in found.items()
    }


def round_kernels(graph: Graph) -> None:
    """Put each kernel on the 8-bit grid of its output channels."""
    for operation in graph.operations.values():
        if "kernel" in operation.weights:
            kernel = operation.weights["kernel"]
            step = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))) / 127
            operation.weights["kernel"] = (np.round(kernel / step) * step).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_qat_of_a_model_trained_elsewhere(backend: str, mnist: Dataset, tmp_path: Path, worker: Worker) -> None:
    path = tmp_path / "lenet.tflite"
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", TRAINED_AND_TUNED, str(path)], env=environment, check=True)
    report = json.loads(path.with_suffix(".json").read_text())
    assert report["versions"]["backend"].startswith(backend)
    assert report["float_accuracy"] > 0.9

    images, labels = mnist.test.images(), mnist.test.labels
    carried = keras.saving.load_model(path.with_suffix(".keras"))
    graph = read_graph(carried)
    cut_softmax(graph)
    ranges = ranges_of(path, graph)
    round_kernels(graph)
    simulated = worker.evaluate(graph, graph.outputs, [images], ranges)[0].argmax(axis=1)
    in_keras = keras.ops.convert_to_numpy(carried(images, training=False)).argmax(axis=1)
    in_file = Interpreter(path).run([images])[0].argmax(axis=1)
    assert abs((simulated == labels).mean() - (in_keras == labels).mean()) <= 0.005
    assert (simulated == in_file).mean() >= 0.99
    assert (in_file == labels).mean() == pytest.approx(report["accuracy"])
    assert (in_keras == labels).mean() == pytest.approx(report["keras_accuracy"], abs=0.002)
