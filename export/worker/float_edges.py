"""Where int8 meets float within one file.

The converter makes an operation int8 as soon as its inputs and output have ranges, and an operation kept
in float may stand between two that have them. A cast to 64 bits and back changes no number, is one
thing that the converter neither quantizes nor removes, and is taken out of the finished file again.
"""

from __future__ import annotations

import tensorflow as tf


def mark(value: tf.Tensor) -> tf.Tensor:
    """`value`, as it passes from int8 to float or back."""
    return tf.cast(tf.cast(value, tf.float64), tf.float32)


def without_marks(content: bytes) -> bytes:
    """The TFLite file with the casts of `mark` taken out."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    for graph in model.subgraphs:
        before: dict[int, int] = {}
        operators = []
        for operator in graph.operators:
            types = {graph.tensors[index].type for index in [*operator.inputs, *operator.outputs] if index >= 0}
            operator.inputs = [before.get(index, index) for index in operator.inputs]
            if schema.TensorType.FLOAT64 in types:
                before[operator.outputs[0]] = operator.inputs[0]
            else:
                operators.append(operator)
        graph.operators = operators
    used = sorted({operator.opcodeIndex for graph in model.subgraphs for operator in graph.operators})
    for graph in model.subgraphs:
        for operator in graph.operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
