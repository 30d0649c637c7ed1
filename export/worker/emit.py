"""Making the TFLite file: a function with the graph's weights as constants, given to TensorFlow's converter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import tensorflow as tf

from export.ir.graph import Graph
from export.worker import execute, float_edges, large_weights
from export.worker.dynamic_range import with_dynamic_range
from export.worker.protocol import Convert, File
from export.worker.signature import with_signature


def convert(request: Convert) -> File:
    """The TFLite file of a graph at batch 1, with a signature."""
    content: bytes | bytearray
    if request.mode in ("float32", "dynamic"):
        light, kernels = large_weights.stand_ins(request.graph)
        content = large_weights.written(_converted(replace(request, graph=light)), kernels) or _converted(request)
        content = with_dynamic_range(content) if request.mode == "dynamic" else content
    else:
        content = _converted(request)
    content = with_signature(content, request.graph.input_names, request.graph.output_names)
    return File(np.frombuffer(content, np.uint8))


def _converted(request: Convert) -> bytes:
    graph, io = request.graph, request.io
    if request.mode in ("int8", "int16x8"):
        graph = _with_uneven_biases(graph)
    signature = [
        tf.TensorSpec((1, *graph.operations[name].shape), graph.operations[name].dtype, name=f"input_{index}")
        for index, name in enumerate(graph.inputs)
    ]

    @tf.function(input_signature=signature, autograph=False)
    def function(*inputs):
        values = execute.run(graph, list(inputs), request.ranges, request.keep_float)
        if request.ranges and io != "float32":
            # The converter drops what dequantizes an output, even where an operation in float reads that too.
            read_in_float = {source for name in request.keep_float for source in graph.operations[name].inputs}
            apart = [name for name in graph.outputs if name in request.keep_float or name in read_in_float]
            values |= {name: execute.read(name, values[name], request.ranges, True, False) for name in apart}
        outputs = [values[name] for name in graph.outputs]  # given by names whose order in a sorted list is this one
        return outputs[0] if len(outputs) == 1 else {f"output_{i:06}": output for i, output in enumerate(outputs)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], None)
    converter.exclude_conversion_metadata = True  # adding it takes another copy of the file
    target = converter.target_spec
    if request.mode == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        target.supported_types = [tf.float16]
    elif request.mode in ("int8", "int16x8"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io)
        if request.ranges is None:
            integer = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            target.supported_ops = [integer if request.mode == "int8" else wide]
            converter.representative_dataset = lambda: _one_by_one(request)
    content = converter.convert()
    return float_edges.without_marks(content) if request.keep_float else content


def _with_uneven_biases(graph: Graph) -> Graph:
    """The graph with a last bit changed in each bias that repeats one number.

    The converter holds such a constant as that number alone, and then quantizes it for all channels with the scale of
    the first one's kernel.
    """
    operations = dict(graph.operations)
    for name, operation in operations.items():
        bias = operation.weights.get("bias")
        if bias is not None and bias.size > 1 and bias.any() and np.all(bias == bias[0]):
            uneven = np.array(bias)
            uneven[-1] = np.nextafter(uneven[-1], np.float32(0))
            operations[name] = replace(operation, weights=operation.weights | {"bias": uneven})
    return replace(graph, operations=operations)


def _one_by_one(request: Convert) -> Iterator[list[np.ndarray]]:
    samples = request.samples
    dtypes = [request.graph.operations[name].dtype for name in request.graph.inputs]
    for index in range(len(samples[0])):
        yield [array[index : index + 1].astype(dtype) for array, dtype in zip(samples, dtypes, strict=True)]
