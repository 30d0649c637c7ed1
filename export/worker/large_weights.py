"""Keeping large weights away from the converter, which copies each of them many times over.

Of a float file the converter only decides the operators. So a large kernel is replaced by one number
repeated, which TensorFlow and MLIR hold as that number and a shape, and the kernel itself is written
over it in the finished file.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.schema_py_generated import Model

from export.ir.graph import Arrays, Graph, Operation

LARGE = 1 << 18
"""Elements from which a kernel is worth it."""


def stand_ins(graph: Graph) -> tuple[Graph, Arrays]:
    """The graph with one repeated number for each large kernel, and these kernels as the file stores them, by number.

    The numbers are near 1 and all different, so that each is found again; equal kernels have the same.
    """
    kernels: Arrays = {}
    operations = dict(graph.operations)
    for name, operation in operations.items():
        if not _is_large(operation, graph):
            continue
        kernel = operation.weights["kernel"].transpose(operation.traits.stored_axes)
        known = (number for number, other in kernels.items() if np.array_equal(other, kernel))
        number = next(known, str(np.float32(1 + (len(kernels) + 1) / 1024)))
        kernels[number] = kernel
        repeated = np.broadcast_to(np.float32(number), operation.weights["kernel"].shape)
        operations[name] = replace(operation, weights=operation.weights | {"kernel": repeated})
    return replace(graph, operations=operations), kernels


def _is_large(operation: Operation, graph: Graph) -> bool:
    """Not a dense layer of more than two axes, whose kernel the converter may leave untransposed."""
    if not operation.traits.stored_axes or operation.weights["kernel"].size < LARGE:
        return False
    return operation.kind == "conv2d" or len(graph.operations[operation.inputs[0]].shape) == 1


def constant(array: np.ndarray) -> tf.Tensor:
    """A constant that takes no more room than its number where the array repeats one."""
    return (
        tf.constant(array) if any(array.strides) or not array.shape else tf.constant(array.flat[0], shape=array.shape)
    )


def written(content: bytes, kernels: Arrays) -> bytearray | None:
    """The file with the kernels in their places; None where the converter did something else with one."""
    file = bytearray(content)
    del content  # the caller does not hold it
    model = Model.GetRootAs(file)
    subgraph = model.Subgraphs(0)
    found = set()
    for index in range(subgraph.TensorsLength()):
        tensor = subgraph.Tensors(index)
        data = model.Buffers(tensor.Buffer()).DataAsNumpy()
        if not isinstance(data, np.ndarray) or data.nbytes < 4 * LARGE:
            continue
        values = data.view(np.float32)
        number = str(values[0])
        kernel = kernels.get(number)
        if kernel is not None and tuple(tensor.ShapeAsNumpy()) == kernel.shape and values.min() == values.max():
            values.reshape(kernel.shape)[...] = kernel
            found.add(number)
    return file if found == set(kernels) else None
