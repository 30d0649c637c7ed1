"""What is inside a TFLite file: operators, types, scales, and what must not be there."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import InputError
from export.record import Record

FLOATS = ("FLOAT32", "FLOAT16")
STRUCTURED = ("CONV_2D", "FULLY_CONNECTED")  # output channels are the kernels' first axis
FEW_VALUES = 256
QUICK_TO_COMPRESS = 64_000_000  # bytes, some two seconds
LEAST_SPARSITY = 0.01  # that helps compression: a few weights are zero by chance
NUMPY_TYPES = {"INT8": np.int8, "FLOAT32": np.float32, "FLOAT16": np.float16}


@dataclass(frozen=True, eq=False)
class TensorRecord(Record):
    """An input or output of a file: value = `scale` · (stored − `zero_point`), both None where it is not quantized."""

    name: str
    shape: list[int]
    dtype: str
    scale: float | None
    zero_point: int | None


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
        values_per_channel: the most different values that an output channel of these has; None for more than 256.
        gzip_bytes: size under gzip; None for large files of weights that are floats without any structure,
            from which gzip takes little in more time than all the rest.
    """

    sha256: str
    size_bytes: int
    gzip_bytes: int | None
    inputs: list[TensorRecord]
    outputs: list[TensorRecord]
    ops: dict[str, int]
    fully_integer: bool
    float_islands: list[str]
    requantizations: int
    variables: bool
    weight_scales: dict[str, int]
    sparsity: float
    values_per_channel: int | None


def audit(path: str | os.PathLike[str]) -> Audit:
    """Read a file.

    Raises:
        InputError: it is not a TFLite file.
    """
    from ai_edge_litert import schema_py_generated as schema

    content, model = _read(path)
    type_names = _names(schema.TensorType)
    ops: Counter[str] = Counter()
    islands, requantizations, scales, types = [], 0, {}, set()
    for graph in model.subgraphs:
        tensor_types = [type_names[tensor.type] for tensor in graph.tensors]
        types.update(tensor_types)
        for position, (name, operator) in enumerate(_operators(model, graph)):
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
    first = model.subgraphs[0]
    weights = [values for _, values in _kernels(model)]
    sparsity = sum(int((kernel == 0).sum()) for kernel in weights) / max(1, sum(kernel.size for kernel in weights))
    values_per_channel = _most_values(weights)
    compressible = sparsity >= LEAST_SPARSITY or values_per_channel is not None or len(content) <= QUICK_TO_COMPRESS
    return Audit(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, mtime=0)) if compressible else None,
        inputs=[_tensor_record(first.tensors[index], type_names) for index in first.inputs],
        outputs=[_tensor_record(first.tensors[index], type_names) for index in first.outputs],
        ops=dict(ops.most_common()),
        fully_integer=not types & set(FLOATS),
        float_islands=islands,
        requantizations=requantizations,
        variables="VAR_HANDLE" in ops,
        weight_scales=scales,
        sparsity=sparsity,
        values_per_channel=values_per_channel,
    )


def _most_values(weights: Sequence[np.ndarray]) -> int | None:
    """The most different values of a channel; None for more than `FEW_VALUES`."""
    most = 0
    for kernel in weights:
        for channel in kernel:
            most = max(most, len(np.unique(channel)))
            if most > FEW_VALUES:
                return None
    return most


def kernels(path: str | os.PathLike[str]) -> list[tuple[str, np.ndarray]]:
    """The weights of a file's convolutions and dense layers, (outputs, …, inputs), each with its operator's name."""
    return list(_kernels(_read(path)[1]))


def pattern_share(found: Sequence[tuple[str, np.ndarray]], zeros: int, group: int) -> float:
    """The share of groups of consecutive input channels with enough zeros; zeros fill up the last group."""
    groups = [_filled(kernel.reshape(-1, kernel.shape[-1]), 1, group).reshape(-1, group) for _, kernel in found]
    enough = np.concatenate([(each == 0).sum(axis=1) >= zeros for each in groups])
    return float(enough.mean())


def zero_blocks(found: Sequence[tuple[str, np.ndarray]], inputs: int, outputs: int) -> float:
    """The share of blocks of dense kernels that are all zero."""
    zero = []
    for name, kernel in found:
        if name == "FULLY_CONNECTED":
            filled = _filled(kernel, outputs, inputs)
            blocks = filled.reshape(filled.shape[0] // outputs, outputs, filled.shape[1] // inputs, inputs)
            zero.append(~blocks.any(axis=(1, 3)).ravel())
    return float(np.concatenate(zero).mean()) if zero else 0.0


def _filled(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The matrix with zeros after it, so that its sides are multiples of these."""
    return np.pad(matrix, [(0, -size % step) for size, step in zip(matrix.shape, (rows, columns), strict=True)])


def _read(path: str | os.PathLike[str]) -> tuple[bytes, Any]:
    from ai_edge_litert import schema_py_generated as schema

    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise InputError(f"{path} is not a TFLite file; export it again")
    return content, schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _operators(model: Any, graph: Any) -> Iterator[tuple[str, Any]]:
    from ai_edge_litert import schema_py_generated as schema

    names = _names(schema.BuiltinOperator)
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        yield names[max(code.builtinCode, code.deprecatedBuiltinCode)], operator


def _kernels(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    from ai_edge_litert import schema_py_generated as schema

    type_names = _names(schema.TensorType)
    for graph in model.subgraphs:
        for name, operator in _operators(model, graph):
            if name in STRUCTURED:
                kernel = graph.tensors[operator.inputs[1]]
                data, kind = model.buffers[kernel.buffer].data, NUMPY_TYPES.get(type_names[kernel.type])
                if data is not None and kind:
                    yield name, np.asarray(data, np.uint8).view(kind).reshape(kernel.shape)


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _tensor_record(tensor: Any, type_names: dict[int, str]) -> TensorRecord:
    quantization = tensor.quantization
    quantized = quantization is not None and quantization.scale is not None and len(quantization.scale) > 0
    return TensorRecord(
        name=_text(tensor.name),
        shape=[int(size) for size in tensor.shape],
        dtype=type_names[tensor.type].lower(),
        scale=float(quantization.scale[0]) if quantized else None,
        zero_point=int(quantization.zeroPoint[0]) if quantized else None,
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
