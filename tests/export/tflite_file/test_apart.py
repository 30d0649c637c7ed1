"""Files that were not written here, read and run in a process with limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from export.classifier import load_classifier
from export.client import Worker
from export.errors import InputError
from export.pipeline import export_tflite
from export.tflite_file import apart
from export.tflite_file.interpreter import Interpreter


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    keras.utils.set_random_seed(0)
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    model = keras.Model(image, layers.Dense(3, name="scores")(layers.Flatten(name="flat")(x)))
    path = tmp_path_factory.mktemp("file") / "a.tflite"
    with Worker() as worker:
        export_tflite(model, path, worker=worker)
    return path.read_bytes()


@pytest.fixture
def file(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / "a.tflite").write_bytes(content)
    return tmp_path / "a.tflite"


def changed(content: bytes, change: Callable[[Any], None]) -> bytes:
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    change(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_whole_file_is_described_and_gives_what_it_gives_here(file: Path) -> None:
    description = apart.describe(file)
    assert [each.shape for each in description.inputs] == [[1, 8, 8, 3]]
    assert [each.dtype for each in description.outputs] == ["float32"]
    assert description.ops["CONV_2D"] == 1
    images = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
    (ours,), (theirs,) = Interpreter(file).run([images]), apart.run(file, [images])
    np.testing.assert_array_equal(ours, theirs)


def test_samples_of_another_shape_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"takes an input of shape \(1, 8, 8, 3\), and gets \(2, 4, 4, 3\)"):
        apart.run(file, [np.zeros((2, 4, 4, 3), np.float32)])


def test_a_file_that_asks_for_more_memory_than_it_may_have_is_one_line(file: Path, content: bytes) -> None:
    def vast(model: Any) -> None:
        graph = model.subgraphs[0]
        for index in graph.inputs:
            graph.tensors[index].shape = [1, 20_000, 20_000, 3]

    file.write_bytes(changed(content, vast))
    with pytest.raises(InputError) as caught:
        apart.describe(file, memory=apart.GIGABYTE)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_operator_that_reads_a_tensor_which_is_not_there_is_one_line(file: Path, content: bytes) -> None:
    def astray(model: Any) -> None:
        operator = model.subgraphs[0].operators[0]
        operator.inputs = [10_000, *operator.inputs[1:]]

    file.write_bytes(changed(content, astray))
    with pytest.raises(InputError) as caught:
        apart.run(file, [np.zeros((1, 8, 8, 3), np.float32)])
    assert str(file) in str(caught.value)


def test_a_classifier_is_tried_apart_first(file: Path, content: bytes) -> None:
    def astray(model: Any) -> None:
        operator = model.subgraphs[0].operators[0]
        operator.inputs = [10_000, *operator.inputs[1:]]

    file.write_bytes(changed(content, astray))
    with pytest.raises(InputError, match=r"a\.tflite") as caught:
        load_classifier(file, input_range="0,1")
    assert "\n" not in str(caught.value)


def test_a_process_that_takes_too_long_is_ended(file: Path) -> None:
    with pytest.raises(InputError, match=r"takes LiteRT over 0\.01 s"):
        apart.describe(file, seconds=0.01)


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0TFL3" + bytes(100)], ids=["empty", "zeros"], scope="function")
def test_what_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "none.tflite").write_bytes(content)
    with pytest.raises(InputError, match=r"none\.tflite"):
        apart.describe(tmp_path / "none.tflite")
    with pytest.raises(InputError, match=r"missing\.tflite cannot be read"):
        apart.describe(tmp_path / "missing.tflite")


def test_what_was_mutated_is_an_answer_or_one_line(content: bytes, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(8):
        damaged = bytearray(content)
        for position in generator.integers(0, min(4096, len(content)), 4):
            damaged[position] = generator.integers(0, 256)
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(damaged)
        try:
            apart.describe(path)
        except InputError as error:
            message = str(error)
        else:
            continue
        assert str(path) in message
        assert "\n" not in message
