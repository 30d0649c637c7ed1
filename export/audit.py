"""What is inside a TFLite file: operators, types, scales, and what must not be there."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import InputError

FLOATS = ("FLOAT32", "FLOAT16")
STRUCTURED = ("CONV_2D", "FULLY_CONNECTED")  # output channels are the kernels' first axis
NUMPY_TYPES = {"INT8": np.int8, "FLOAT32": np.float32, "FLOAT16": np.float16}


@dataclass(frozen=True)
class Audit:
    """The facts about one file.

    Attributes:
        ops: how often each operator occurs.
        fully_integer: no tensor is float, inputs and outputs included.
        float_islands: operators that compute in float, other than the QUANTIZE of an input and
            the DEQUANTIZE of an output.
        requantizations: QUANTIZE and DEQUANTIZE operators between others.
        variables: whether the file holds variables (VAR_HANDLE): it was not frozen.
        weight_scales: for each kernel in int8, by operator name and position, its number of scales.
        sparsity: share of zeros among the weights of convolutions and dense layers, not depthwise.
        values_per_channel: the most different values that an output channel of these has.
    """

    sha256: str
    size_bytes: int
    gzip_bytes: int
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    ops: dict[str, int]
    fully_integer: bool
    float_islands: list[str]
    requantizations: int
    variables: bool
    weight_scales: dict[str, int]
    sparsity: float
    values_per_channel: int


def audit(path: str | os.PathLike[str]) -> Audit:
    """Read a file.

    Raises:
        InputError: it is not a TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise InputError(f"{path} is not a TFLite file; export it again")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    operator_names = _names(schema.BuiltinOperator)
    type_names = _names(schema.TensorType)
    ops: Counter[str] = Counter()
    kernels: list[np.ndarray] = []
    islands, requantizations, scales, types = [], 0, {}, set()
    for graph in model.subgraphs:
        tensor_types = [type_names[tensor.type] for tensor in graph.tensors]
        types.update(tensor_types)
        for position, operator in enumerate(graph.operators):
            code = model.operatorCodes[operator.opcodeIndex]
            name = operator_names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            ops[name] += 1
            sources = [index for index in operator.inputs if index >= 0]
            touched = {tensor_types[index] for index in [*sources, *operator.outputs]}
            if name in ("QUANTIZE", "DEQUANTIZE"):
                at_edge = operator.inputs[0] in graph.inputs or operator.outputs[0] in graph.outputs
                requantizations += not at_edge
            elif touched & set(FLOATS):
                islands.append(f"{name} {_text(graph.tensors[operator.outputs[0]].name)}")
            if len(sources) > 1:
                kernel = graph.tensors[sources[1]]
                if tensor_types[sources[1]] == "INT8" and model.buffers[kernel.buffer].data is not None:
                    scales[f"{position}:{name}"] = len(kernel.quantization.scale)
                data = model.buffers[kernel.buffer].data
                if name in STRUCTURED and data is not None and tensor_types[sources[1]] in NUMPY_TYPES:
                    values = np.asarray(data, np.uint8).view(NUMPY_TYPES[tensor_types[sources[1]]])
                    kernels.append(values.reshape(kernel.shape[0], -1))
    first = model.subgraphs[0]
    return Audit(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, mtime=0)),
        inputs=[_port(first.tensors[index], type_names) for index in first.inputs],
        outputs=[_port(first.tensors[index], type_names) for index in first.outputs],
        ops=dict(ops.most_common()),
        fully_integer=not types & set(FLOATS),
        float_islands=islands,
        requantizations=requantizations,
        variables="VAR_HANDLE" in ops,
        weight_scales=scales,
        sparsity=sum(int((kernel == 0).sum()) for kernel in kernels) / max(1, sum(kernel.size for kernel in kernels)),
        values_per_channel=max((len(np.unique(channel)) for kernel in kernels for channel in kernel), default=0),
    )


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _port(tensor: Any, type_names: dict[int, str]) -> dict[str, Any]:
    quantization = tensor.quantization
    quantized = quantization is not None and quantization.scale is not None and len(quantization.scale) > 0
    return {
        "name": _text(tensor.name),
        "shape": [int(size) for size in tensor.shape],
        "dtype": type_names[tensor.type].lower(),
        "scale": float(quantization.scale[0]) if quantized else None,
        "zero_point": int(quantization.zeroPoint[0]) if quantized else None,
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
