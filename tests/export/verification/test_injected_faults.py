"""Damaged files of random graphs are refused, and sound ones are not: told by an interpreter loop of the test's own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter, schema_py_generated
from ai_edge_litert.tools import flatbuffer_utils
from keras import layers

from export import GateError, Worker, export_tflite
from export.verification import verify

SIDE = 12
REFUSED_ABOVE, SHIPPED_BELOW = 0.1, 1.2  # of the deviation; of the undamaged file's error
BAND = 0.15  # by which an error differs from one set of inputs to another
FEW_GRAPHS, MANY_GRAPHS = 6, 50
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def images(seed: int, count: int) -> np.ndarray:
    """Smooth clouds between -1 and 1, so that no image leaves the ranges of the others by much."""
    coarse = np.random.default_rng(seed).choice([-1.0, 0.0, 1.0], (count, 4, 4, 2)).repeat(3, axis=1).repeat(3, axis=2)
    return ((coarse + np.roll(coarse, 1, 1) + np.roll(coarse, 1, 2)) / 3).astype(np.float32)


CALIBRATION, OTHER = images(0, 256), images(1, 64)


def graph(seed: int) -> tuple[keras.Model, list[str]]:
    """A random network, and for each output how it is judged: "softmax" as one, "columns" each for itself."""
    random = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    image = x = keras.Input((SIDE, SIDE, 2))
    for _ in range(random.integers(1, 4)):
        kind = random.choice(["convolution", "depthwise", "residual", "pooling"])
        if kind == "convolution":
            x = layers.Conv2D(int(random.integers(4, 10)), 3, padding="same", bias_initializer="normal")(x)
            x = layers.Activation(str(random.choice(["relu", "tanh", "linear"])))(x)
        elif kind == "depthwise":
            x = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
        elif kind == "residual":
            x = layers.Add()([x, layers.Conv2D(x.shape[-1], 3, padding="same", activation="relu")(x)])
        elif x.shape[1] > 4:
            x = layers.MaxPooling2D()(x)
    heads, judged = [], []
    for number in range(random.integers(1, 3)):
        kind = str(random.choice(["values", "softmax", "sigmoid", "map"]))
        units = int(random.integers(2, 6))
        strong = keras.initializers.VarianceScaling(4.0)  # so that probabilities vary as those of a trained network
        if kind == "map":
            heads.append(layers.Conv2D(units, 1, name=f"head{number}", bias_initializer="normal")(x))
        else:
            flat = layers.Flatten()(layers.Conv2D(3, 3, strides=2)(x))
            activation = None if kind == "values" else kind
            heads.append(layers.Dense(units, activation, kernel_initializer=strong, name=f"head{number}")(flat))
        judged.append("softmax" if kind == "softmax" else "columns")
    return keras.Model(image, heads), judged


@dataclass(frozen=True)
class Model:
    """A file as the schema has it, and the damage that can be done to it."""

    content: Any

    def weights(self, role: int) -> list[Any]:
        """The constants in this place (1 kernels, 2 biases) of operators that have weights."""
        graph, names = self.content.subgraphs[0], vars(schema_py_generated.BuiltinOperator)
        codes = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in self.content.operatorCodes]
        operators = [each for each in graph.operators if codes[each.opcodeIndex] in [names[name] for name in WEIGHTED]]
        found = [graph.tensors[each.inputs[role]] for each in operators if len(each.inputs) > role >= 0]
        return [tensor for tensor in found if self.content.buffers[tensor.buffer].data is not None]

    def values(self, tensor: Any) -> np.ndarray:
        kinds = {schema_py_generated.TensorType.FLOAT32: np.float32, schema_py_generated.TensorType.INT8: np.int8,
                 schema_py_generated.TensorType.INT32: np.int32}  # fmt: skip
        data = np.array(self.content.buffers[tensor.buffer].data, np.uint8)
        return data.view(kinds[tensor.type]).reshape(tensor.shape)

    def store(self, tensor: Any, values: np.ndarray) -> None:
        self.content.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def kernel_zeroed(model: Model, random: np.random.Generator) -> None:
    tensor = random.choice(model.weights(1))
    model.store(tensor, np.zeros_like(model.values(tensor)))


def scale_doubled(model: Model, random: np.random.Generator) -> None:
    graph = model.content.subgraphs[0]
    scaled = [graph.tensors[index] for index in graph.outputs if graph.tensors[index].quantization.scale is not None]
    if scaled:
        tensor = random.choice(scaled)
        tensor.quantization.scale = 2 * np.asarray(tensor.quantization.scale)
    else:
        tensor = random.choice(model.weights(1))
        model.store(tensor, 2 * model.values(tensor))


def column_constant(model: Model, random: np.random.Generator) -> None:
    """An output channel of a kernel: the first axis of all but depthwise ones."""
    tensor = random.choice([each for each in model.weights(1) if each.shape[0] > 1] or model.weights(1))
    values = model.values(tensor).copy()
    values[random.integers(len(values))] = 0
    model.store(tensor, values)


def bias_dropped(model: Model, random: np.random.Generator) -> None:
    biases = model.weights(2)
    if biases:
        tensor = random.choice(biases)
        model.store(tensor, np.zeros_like(model.values(tensor)))


FAULTS: dict[str, Callable[[Model, np.random.Generator], None]] = {
    "kernel zeroed": kernel_zeroed,
    "scale doubled": scale_doubled,
    "column constant": column_constant,
    "bias dropped": bias_dropped,
}


WAYS = (interpreter.OpResolverType.AUTO, interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def outputs_of(content: bytes, way: Any) -> list[np.ndarray]:
    """A loop of the test's own over the other inputs: quantize, run, dequantize."""
    runner = interpreter.Interpreter(model_content=bytes(content), experimental_op_resolver_type=way)
    runner.allocate_tensors()

    def scaled(details: dict[str, Any]) -> tuple[float, int, Any]:
        scale, zero = details["quantization"]
        return (scale or 1.0), zero, details["dtype"]

    (given,) = runner.get_input_details()
    scale, zero, dtype = scaled(given)
    collected: list[list[np.ndarray]] = [[] for _ in runner.get_output_details()]
    for image in OTHER:
        value = image[None] / scale + zero
        limits = np.iinfo(dtype) if dtype != np.float32 else None
        runner.set_tensor(
            given["index"], (np.clip(np.round(value), limits.min, limits.max) if limits else value).astype(dtype)
        )
        runner.invoke()
        for details, values in zip(runner.get_output_details(), collected, strict=True):
            step, middle, _ = scaled(details)
            values.append((runner.get_tensor(details["index"]).astype(np.float64) - middle) * step)
    return [np.concatenate(values) for values in collected]


def errors(content: bytes, expected: list[np.ndarray], judged: list[str]) -> np.ndarray:
    """RMS over the deviation, of each output that is one and of each column of the others; the worse of both ways."""
    try:
        ways = [outputs_of(content, way) for way in WAYS]
    except (RuntimeError, ValueError):  # a damage for which it does not even load
        return np.array([np.inf])
    return np.max([errors_of(found, expected, judged) for found in ways], axis=0)


def errors_of(found: list[np.ndarray], expected: list[np.ndarray], judged: list[str]) -> np.ndarray:
    collected = []
    for wanted, given, how in zip(expected, found, judged, strict=True):
        rows, other = (each.reshape(-1, wanted.shape[-1]) for each in (wanted, given))
        axis = None if how == "softmax" else 0
        spread = np.square(rows - rows.mean(axis=0)).mean(axis=axis)
        collected.append(np.sqrt(np.atleast_1d(np.square(other - rows).mean(axis=axis) / np.maximum(spread, 1e-12))))
    return np.concatenate(collected)


def shipped(model: keras.Model, path: Path, mode: str, worker: Worker) -> bool:
    calibration = CALIBRATION if mode == "int8" else None
    try:
        export_tflite(model, path, mode, calibration=calibration, ptq="plain", worker=worker)
    except GateError:
        return False
    return True


def check(seeds: range, tmp_path: Path, worker: Worker) -> dict[str, int]:
    """How many damaged files were refused and how many shipped; asserts that each was as it must be."""
    counts = {"refused": 0, "shipped": 0, "not judged": 0}
    path, converted = tmp_path / "a.tflite", verify.converted
    for seed in seeds:
        model, judged = graph(seed)
        mode = "int8" if seed % 3 else "float32"
        expected = [np.asarray(each, np.float64) for each in keras.tree.flatten(model.predict(OTHER, verbose=0))]
        made: list[bytes] = []

        def kept(run: Any, candidate: Any, made: list[bytes] = made) -> bytes:
            made.append(bytes(converted(run, candidate)))
            return made[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verify, "converted", kept)
            sound = shipped(model, path, mode, worker)
        undamaged = errors(made[-1], expected, judged)
        if not sound:
            assert undamaged.max() > REFUSED_ABOVE * (1 - BAND), f"graph {seed} is refused at {undamaged.max():.3f}"
            counts["not judged"] += 1
            continue
        for number, (fault, damage) in enumerate(FAULTS.items()):
            damaged = Model(flatbuffer_utils.read_model_from_bytearray(bytearray(made[-1])))
            damage(damaged, np.random.default_rng([seed, number]))
            content = bytes(flatbuffer_utils.convert_object_to_bytearray(damaged.content))
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(verify, "converted", lambda run, candidate, content=content: content)
                ships = shipped(model, path, mode, worker)
            found = errors(content, expected, judged)
            counts["shipped" if ships else "refused"] += 1
            what = f"graph {seed}, {mode}, {fault}: error {found.max():.3f}, undamaged {undamaged.max():.3f}"
            assert not (ships and found.max() > REFUSED_ABOVE * (1 + BAND)), f"{what}, and it was shipped"
            sound = len(found) == len(undamaged) and (found <= SHIPPED_BELOW * undamaged).all()
            assert ships or not sound or undamaged.max() > REFUSED_ABOVE * (1 - BAND), f"{what}, and it was refused"
    return counts


def test_damaged_files_of_a_few_random_graphs_are_refused(tmp_path: Path, worker: Worker) -> None:
    counts = check(range(FEW_GRAPHS), tmp_path, worker)
    assert counts["refused"] > 10
    assert counts["not judged"] <= FEW_GRAPHS // 3


@pytest.mark.slow
def test_damaged_files_of_many_random_graphs_are_refused(tmp_path: Path, worker: Worker) -> None:
    """Two hundred damaged files."""
    counts = check(range(100, 100 + MANY_GRAPHS), tmp_path, worker)
    assert counts["refused"] > 100
    assert counts["shipped"] > 5
    assert counts["not judged"] <= MANY_GRAPHS // 5
