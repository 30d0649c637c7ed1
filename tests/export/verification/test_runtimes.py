"""Files are run whole by both of LiteRT's ways before they are shipped."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from keras import layers

from export import GateError, Worker, export_tflite
from export.tflite_file.interpreter import Interpreter
from export.verification import runtimes, verify

IMAGES = np.random.default_rng(0).random((8, 8, 8, 3), np.float32).cumsum(axis=1)


@pytest.fixture(scope="module")
def transposed(tmp_path_factory: pytest.TempPathFactory, worker: Worker) -> Path:
    """A sound float file of a transposed convolution with a bias for each of four channels."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    layer = layers.Conv2DTranspose(4, 3, bias_initializer="ones")
    path = tmp_path_factory.mktemp("files") / "sound.tflite"
    export_tflite(keras.Model(image, layer(image)), path, worker=worker)
    return path


def rewritten(path: Path, change: Any) -> Path:
    """Another file, of which `change` has changed the model of the flatbuffer schema."""
    model = flatbuffer_utils.read_model(str(path))
    change(model)
    other = path.with_name("other.tflite")
    other.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    return other


def one_bias(model: Any) -> None:
    """What the stock converter makes of a scalar that is added to a transposed convolution."""
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        if list(tensor.shape) == [4] and model.buffers[tensor.buffer].data is not None:
            tensor.shape = np.array([1], np.int32)
            model.buffers[tensor.buffer].data = model.buffers[tensor.buffer].data[:4]


@pytest.mark.parametrize("count", [1, 8])
def test_a_sound_file_is_run_by_both(transposed: Path, count: int) -> None:
    assert runtimes.disagreements(transposed, [IMAGES[:count]], rounds=False) == []


def test_what_the_built_in_kernels_refuse_is_found(transposed: Path) -> None:
    with pytest.raises(GateError, match=r"not shipped: the built-in kernels of LiteRT cannot run it: .*$"):
        runtimes.disagreements(rewritten(transposed, one_bias), [IMAGES], rounds=False)


def test_different_outputs_are_found(transposed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[bool] = []

    class Odd(Interpreter):
        """One whose delegate adds something."""

        def __init__(self, path: Path, delegate: bool = True) -> None:
            super().__init__(path, delegate=delegate)
            ways.append(delegate)

        def run(self, *arguments: Any) -> list[np.ndarray]:
            return [output + 0.05 * ways[-1] * output.std() for output in super().run(*arguments)]

    monkeypatch.setattr(runtimes, "Interpreter", Odd)
    (fault,) = runtimes.disagreements(transposed, [IMAGES], rounds=False)
    assert fault.startswith("the built-in kernels of LiteRT and XNNPACK give different outputs")
    assert runtimes.disagreements(transposed, [IMAGES], rounds=True) == []  # as rounding may make them
    assert ways == [False, True] * 2


def test_a_file_that_one_of_them_cannot_run_is_not_shipped(
    transposed: Path, tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = rewritten(transposed, one_bias).read_bytes()
    monkeypatch.setattr(verify, "converted", lambda run, candidate: broken)
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2DTranspose(4, 3)(image))
    with pytest.raises(GateError, match="is not shipped: the built-in kernels of LiteRT cannot run it"):
        export_tflite(model, tmp_path / "a.tflite", gate=False, worker=worker)
    assert not list(tmp_path.iterdir())
