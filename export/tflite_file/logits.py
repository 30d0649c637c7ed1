"""What the softmax of a TFLite file takes, as one more output: so one run gives both sides of the softmax."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

OUTPUTS = 8
"""Offset of a subgraph's outputs in its FlatBuffers vtable (schema.fbs, version 3)."""


def softmax_inputs(content: bytes) -> Mapping[int, int]:
    """For each output of the file that a softmax gives, the tensor that the softmax takes; both as indices.

    Between the softmax and the output there may be a conversion.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    conversions = (schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE)
    taken: dict[int, int] = {}
    converted: dict[int, int] = {}
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind == schema.BuiltinOperator.SOFTMAX:
            taken[operator.Outputs(0)] = operator.Inputs(0)
        elif kind in conversions:
            converted[operator.Outputs(0)] = operator.Inputs(0)
    given = {output: converted.get(output, output) for output in graph.OutputsAsNumpy().tolist()}
    return {output: taken[source] for output, source in given.items() if source in taken}


def with_outputs(content: bytes, tensors: Sequence[int]) -> bytes:
    """The file with these tensors as outputs after its own.

    The longer list goes to the end of the file, and the graph refers to that: the weights need not be packed anew.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    outputs = [*graph.OutputsAsNumpy().tolist(), *tensors]
    reference = graph._tab.Pos + graph._tab.Offset(OUTPUTS)
    padding = bytes(-len(content) % 4)
    distance = struct.pack("<I", len(content) + len(padding) - reference)
    added = struct.pack(f"<{len(outputs) + 1}i", len(outputs), *outputs)
    view = memoryview(content)
    return b"".join((view[:reference], distance, view[reference + 4 :], padding, added))
