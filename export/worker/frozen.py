"""The emitter for everything that needs no training: a function with its weights as constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from export.graph import Graph
from export.worker.operations import compute

Ranges = Mapping[str, tuple[float, float]]


def run(graph: Graph, inputs: list[tf.Tensor], ranges: Ranges | None = None) -> dict[str, tf.Tensor]:
    """Every operation's output; those with a range pass through a fake-quantization node."""
    values: dict[str, tf.Tensor] = dict(zip(graph.inputs, inputs, strict=True))
    for operation in graph.operations.values():
        if operation.kind != "input":
            weights = {role: tf.constant(array) for role, array in operation.weights.items()}
            given = [values[name] for name in operation.inputs]
            values[operation.name] = compute(operation, given, weights)
        if ranges and operation.name in ranges:
            low, high = ranges[operation.name]
            values[operation.name] = tf.quantization.fake_quant_with_min_max_vars(values[operation.name], low, high)
    return values


def convert(
    graph: Graph,
    mode: str,
    io: str,
    ranges: Ranges | None = None,
    samples: list[np.ndarray] | None = None,
) -> bytes:
    """A TFLite file of the graph at batch 1.

    Args:
        mode: float32, float16, dynamic, int8 or int16x8.
        io: dtype of the file's inputs and outputs: float32, or in integer modes an integer.
        ranges: of activations, by operation: fixes every int8 scale.
        samples: representative inputs, (N, …) each, from which the converter itself takes the
            ranges of an integer mode where `ranges` is not given.
    """
    signature = [
        tf.TensorSpec((1, *graph.operations[name].shape), tf.float32, name=f"input_{index}")
        for index, name in enumerate(graph.inputs)
    ]

    @tf.function(input_signature=signature, autograph=False)
    def function(*inputs):
        values = run(graph, list(inputs), ranges)
        outputs = [values[name] for name in graph.outputs]
        return outputs[0] if len(outputs) == 1 else {f"output_{i}": output for i, output in enumerate(outputs)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], None)
    target = converter.target_spec
    if mode == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        target.supported_types = [tf.float16]
    elif mode in ("int8", "int16x8"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io)
        if ranges is None:
            integer = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            target.supported_ops = [integer if mode == "int8" else wide]
            converter.representative_dataset = lambda: _one_by_one(samples or [])
    content = converter.convert()
    return with_dynamic_range(content) if mode == "dynamic" else content


def with_dynamic_range(content: bytes) -> bytes:
    """The float file with 8-bit weights, one scale for each output channel, in convolutions and dense layers.

    Depthwise convolutions stay float: with quantized weights they run slower than in float
    (XNNPACK has no such kernel), and they hold few of the weights.
    """
    from litert_quantizer import qtyping, quantizer

    weights = qtyping.TensorQuantizationConfig(
        num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
    )
    integer = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.INTEGER, explicit_dequantize=False
    )
    names = qtyping.TFLOperationName
    found = quantizer.Quantizer(bytearray(content))
    for name in (names.CONV_2D, names.FULLY_CONNECTED):
        found.update_quantization_recipe(regex=".*", operation_name=name, op_config=integer)
    result = found.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _one_by_one(samples: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    for index in range(len(samples[0])):
        yield [array[index : index + 1].astype(np.float32) for array in samples]


def observe(
    graph: Graph, names: list[str], samples: list[np.ndarray], batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value of each named output for each sample: two (names, N) arrays."""

    @tf.function(reduce_retracing=True, autograph=False)
    def extremes(inputs):
        values = run(graph, inputs)
        flat = [tf.reshape(values[name], [tf.shape(values[name])[0], -1]) for name in names]
        return [tf.stack([reduce(value, axis=1) for value in flat]) for reduce in (tf.reduce_min, tf.reduce_max)]

    parts = []
    for start in range(0, len(samples[0]), batch_size):
        batch = [tf.constant(array[start : start + batch_size], tf.float32) for array in samples]
        parts.append([part.numpy() for part in extremes(batch)])
    lows, highs = (np.concatenate(side, axis=1) for side in zip(*parts, strict=True))
    return lows, highs


def evaluate(graph: Graph, names: list[str], samples: list[np.ndarray]) -> list[np.ndarray]:
    """The named outputs for all samples at once, in float."""
    values = run(graph, [tf.constant(array, tf.float32) for array in samples])
    return [values[name].numpy() for name in names]
