"""Every file has the signature `serving_default`, in the names of the Keras model, and computes what it did without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from keras import layers

from export import Worker, export_tflite
from export.frontend.read import read_graph
from export.worker.signature import with_signature

MODES = ("float32", "float16", "dynamic", "int8", "int16x8")
CALIBRATION = {
    "photo": np.kron(np.random.default_rng(0).random((16, 4, 4, 3), np.float32), np.ones((1, 3, 3, 1), np.float32)),
    "alter": np.random.default_rng(1).random((16, 5), np.float32),
}


def two_inputs_and_outputs() -> keras.Model:
    """Named by dicts, the outputs otherwise than their layers, one of them not in ASCII."""
    keras.utils.set_random_seed(3)
    inputs = {"photo": layers.Input((12, 12, 3), name="photo"), "alter": layers.Input((5,), name="alter")}
    x = layers.Conv2D(16, 3, activation="relu", name="stem")(inputs["photo"])
    x = layers.Concatenate(name="joined")([layers.Flatten()(x), layers.Dense(8, name="age")(inputs["alter"])])
    heads = {
        "größe": layers.Dense(2, name="first")(x),
        "class": layers.Dense(3, activation="softmax", name="second")(x),
    }
    return keras.Model(inputs, heads, name="two")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, worker: Worker) -> dict[str, Path]:
    """A file in each mode."""
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for mode in MODES:
        data: dict[str, Any] = {"calibration": CALIBRATION} if mode.startswith("int") else {}
        found[mode] = folder / f"{mode}.tflite"
        export_tflite(two_inputs_and_outputs(), found[mode], mode, gate=False, worker=worker, **data)  # type: ignore[arg-type]
    return found


def outputs_by_index(content: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the file gives, by an interpreter that knows nothing of signatures; `inputs` in their order in the file."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    for details, array in zip(interpreter.get_input_details(), inputs.values(), strict=True):
        interpreter.set_tensor(details["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


@pytest.mark.parametrize("mode", MODES)
def test_names_are_those_of_the_model_and_values_those_without(mode: str, files: dict[str, Path]) -> None:
    content = files[mode].read_bytes()
    interpreter = Interpreter(model_content=content)
    runner = interpreter.get_signature_runner()
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    expected = {"inputs": ["alter", "photo"], "outputs": ["class", "größe"]}
    assert interpreter.get_signature_list()["serving_default"] == expected
    assert [details["name"] for details in interpreter.get_input_details()] == expected["inputs"]
    assert [details["name"] for details in interpreter.get_output_details()] == expected["outputs"]
    details = runner.get_input_details()
    assert tuple(details["photo"]["shape"]) == (1, 12, 12, 3)
    random = np.random.default_rng(2)
    inputs = {
        name: random.integers(-100, 100, each["shape"]).astype(each["dtype"])
        if np.issubdtype(each["dtype"], np.integer)
        else random.random(each["shape"], np.float32)
        for name, each in sorted(details.items())
    }
    by_name = runner(**inputs)
    assert by_name["class"].shape == (1, 3)
    packed = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    packed.signatureDefs = None
    without = bytes(flatbuffer_utils.convert_object_to_bytearray(packed))
    for found, other in zip(outputs_by_index(content, inputs), outputs_by_index(without, inputs), strict=True):
        np.testing.assert_array_equal(found, other)
    for name, found in zip(expected["outputs"], outputs_by_index(without, inputs), strict=True):
        np.testing.assert_array_equal(by_name[name], found)


def test_all_else_stays_as_it_was(files: dict[str, Path]) -> None:
    before = files["int8"].read_bytes()
    after = bytes(with_signature(before, ["x", "y"], ["a", "b"]))
    models = [schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)) for content in (before, after)]
    (old,), (new,) = (model.signatureDefs for model in models)
    assert [each.name for each in (*new.inputs, *new.outputs)] == [b"x", b"y", b"a", b"b"]
    assert [each.tensorIndex for each in (*new.inputs, *new.outputs)] == [
        each.tensorIndex for each in (*old.inputs, *old.outputs)
    ]
    for model in models:
        model.signatureDefs = None
        for index in (*model.subgraphs[0].inputs, *model.subgraphs[0].outputs):
            model.subgraphs[0].tensors[index].name = b""
    packed = [bytes(flatbuffer_utils.convert_object_to_bytearray(model)) for model in models]
    assert packed[0] == packed[1]


def places(content: bytes) -> list[int]:
    """Where the data of each buffer starts in the file."""
    model = schema.Model.GetRootAs(content)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    return [
        each.Offset() or each._tab.Vector(each._tab.Offset(4)) for each in buffers if each.DataLength() or each.Offset()
    ]


@pytest.mark.parametrize("mode", MODES)
def test_data_keeps_its_alignment(mode: str, files: dict[str, Path]) -> None:
    before = files[mode].read_bytes()
    after = bytes(with_signature(before, ["x", "y"], ["a", "b"]))
    moved = {b - a for a, b in zip(places(before), places(after), strict=True)}
    assert len(moved) == 1
    assert moved.pop() % 64 == 0


SCRIPT = """
import json, sys
import numpy as np
import tensorflow as tf
interpreter = tf.lite.Interpreter(sys.argv[1])
runner = interpreter.get_signature_runner("serving_default")
inputs = {name: np.zeros(each["shape"], each["dtype"]) for name, each in runner.get_input_details().items()}
print(json.dumps({name: array.shape for name, array in runner(**inputs).items()}))
"""


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_tensorflows_interpreter_runs_the_signature(mode: str, files: dict[str, Path]) -> None:
    command = [sys.executable, "-c", SCRIPT, str(files[mode])]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == {"class": [1, 3], "größe": [1, 2]}


def test_litert_quantizer_calibrates_a_float_file(files: dict[str, Path]) -> None:
    from litert_quantizer import quantizer, recipe

    found = quantizer.Quantizer(str(files["float32"]), recipe.static_wi8_ai8())
    samples = [
        {name: array[index : index + 1] for name, array in CALIBRATION.items()} for index in range(len(CALIBRATION))
    ]
    calibration = found.calibrate({"serving_default": samples})
    content = bytes(found.quantize(calibration).quantized_model)
    assert Interpreter(model_content=content).get_signature_list() == {
        "serving_default": {"inputs": ["alter", "photo"], "outputs": ["class", "größe"]}
    }


def test_names_without_dicts_are_keras_ones_and_all_different() -> None:
    image = layers.Input((3,), name="image")
    shared = layers.Dense(3, name="dense")
    x = shared(image)
    graph = read_graph(
        keras.Model(image, [x, shared(layers.ReLU()(x)), {"deep": {"er": layers.Dense(1, name="third")(x)}}])
    )
    assert (graph.input_names, graph.output_names) == (["image"], ["dense", "dense_1", "deep/er"])
    sequential = keras.Sequential([layers.Input((4,), name="image"), layers.Dense(3), layers.Softmax(name="last")])
    graph = read_graph(sequential)
    assert (graph.input_names, graph.output_names) == (["image"], ["last"])


def test_more_than_ten_outputs_keep_their_order(tmp_path: Path, worker: Worker) -> None:
    image = layers.Input((4,), name="image")
    heads = [layers.Dense(size, name=f"head_{size}")(image) for size in range(1, 13)]
    path = tmp_path / "a.tflite"
    export_tflite(keras.Model(image, heads), path, worker=worker)
    found = Interpreter(str(path)).get_signature_runner()(image=np.ones((1, 4), np.float32))
    assert {name: array.shape for name, array in found.items()} == {f"head_{n}": (1, n) for n in range(1, 13)}
