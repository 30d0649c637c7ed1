"""Is a graph well formed: what every pass must leave behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from export.ir.graph import Graph, Operation

Shape = tuple[int, ...]


def check_graph(graph: Graph) -> None:
    """Check names, order, kinds, shapes and weights of all operations.

    Raises:
        ValueError: one is wrong; the message names the operation and what is.
    """
    seen: set[str] = set()
    for name, operation in graph.operations.items():
        if name != operation.name:
            raise ValueError(f"operation {operation.name!r} is listed as {name!r}")
        missing = [source for source in operation.inputs if source not in seen]
        if missing:
            raise ValueError(f"operation {name!r} reads {missing[0]!r}, which does not come before it")
        try:
            _check_operation(operation, [graph.operations[source].shape for source in operation.inputs])
        except ValueError as error:
            raise ValueError(f"operation {name!r} ({operation.kind}): {error}") from error
        seen.add(name)
    if [name for name in graph.inputs if graph.operations[name].kind != "input"]:
        raise ValueError("an input of the graph is computed")
    missing = [name for name in graph.outputs if name not in graph.operations]
    if missing:
        raise ValueError(f"the output {missing[0]!r} does not exist")


def _check_operation(operation: Operation, shapes: Sequence[Shape]) -> None:
    unknown = set(operation.weights) - set(operation.traits.roles)
    if unknown:
        raise ValueError(f"its kind has no weight {sorted(unknown)[0]!r}")
    if not set(operation.trainable) <= set(operation.weights):
        raise ValueError("a weight that it does not have is to be trained")
    if operation.traits.has_kernel:
        _check_kernel(operation, shapes[0])
    expected = _shape(operation, list(shapes))
    if operation.shape != expected:
        raise ValueError(f"its shape is {operation.shape}; of its inputs {list(shapes)} it would be {expected}")


def _check_kernel(operation: Operation, source: Shape) -> None:
    kernel, bias = operation.weights["kernel"], operation.weights.get("bias")
    groups = operation.attributes.get("groups", 1)
    outputs = math.prod(kernel.shape[2:]) if operation.kind == "depthwise_conv2d" else kernel.shape[-1]
    if kernel.ndim != (2 if operation.kind == "dense" else 4):
        raise ValueError(f"its kernel has {kernel.ndim} axes")
    if kernel.shape[-2] * groups != source[-1]:
        raise ValueError(f"its kernel of the shape {kernel.shape} does not fit {source[-1]} input channels")
    if outputs != operation.shape[-1] or outputs % groups:
        raise ValueError(f"its kernel of the shape {kernel.shape} does not give {operation.shape[-1]} channels")
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(f"its bias has the shape {bias.shape}; it has {outputs} outputs")


def _shape(operation: Operation, shapes: list[Shape]) -> Shape:
    """Of the output, without the batch axis, as it follows from the inputs."""
    if operation.traits.elementwise:
        return np.broadcast_shapes(*shapes, *(array.shape for array in operation.weights.values()))
    if operation.traits.positionwise:
        return shapes[0]
    return SHAPES[operation.kind](operation, shapes)


def _windowed(operation: Operation, shapes: list[Shape]) -> Shape:
    """Of convolutions and pools: height and width by stride and, where no zeros are added, by what the window spans."""
    attributes, kernel = operation.attributes, operation.weights.get("kernel")
    size = attributes["size"] if kernel is None else kernel.shape[:2]
    sides = []
    for side, window, stride, dilation in zip(
        shapes[0], size, attributes["strides"], attributes.get("dilation", (1, 1)), strict=False
    ):
        covered = side if attributes["padding"] == "same" else side - dilation * (window - 1)
        sides.append(-(-covered // stride))
    return (*sides, shapes[0][-1] if kernel is None else operation.shape[-1])


def _transposed(operation: Operation, shapes: list[Shape]) -> Shape:
    attributes, size = operation.attributes, operation.weights["kernel"].shape[:2]
    return (
        *(
            side * stride + (0 if attributes["padding"] == "same" else max(window - stride, 0))
            for side, window, stride in zip(shapes[0], size, attributes["strides"], strict=False)
        ),
        operation.shape[-1],
    )


def _reduced(operation: Operation, shapes: list[Shape]) -> Shape:
    axes, keepdims = operation.attributes["axes"], operation.attributes["keepdims"]
    return tuple(1 if axis in axes else size for axis, size in enumerate(shapes[0], 1) if keepdims or axis not in axes)


def _reshaped(operation: Operation, shapes: list[Shape]) -> Shape:
    if math.prod(operation.shape) != math.prod(shapes[0]):
        raise ValueError(f"it reshapes {shapes[0]} to {operation.shape}, which holds another number of values")
    return operation.shape


def _padded(operation: Operation, shapes: list[Shape]) -> Shape:
    pairs = operation.attributes["padding"]
    return (*(size + sum(pair) for size, pair in zip(shapes[0], pairs, strict=False)), *shapes[0][len(pairs) :])


def _sliced(operation: Operation, shapes: list[Shape]) -> Shape:
    slices = operation.attributes["slices"]
    lengths = (len(range(*slice(*part).indices(size))) for size, part in zip(shapes[0], slices, strict=False))
    return (*lengths, *shapes[0][len(slices) :])


def _concatenated(operation: Operation, shapes: list[Shape]) -> Shape:
    axis = operation.attributes["axis"] - 1
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len(others) > 1:
        raise ValueError(f"the shapes {shapes} differ in more than the joined axis")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def _gathered(operation: Operation, shapes: list[Shape]) -> Shape:
    axis = operation.attributes["axis"] - 1
    return (*shapes[0][:axis], *np.shape(operation.attributes["indices"]), *shapes[0][axis + 1 :])


def _without_axis(operation: Operation, shapes: list[Shape]) -> Shape:
    axis = operation.attributes["axis"] - 1
    return (*shapes[0][:axis], *shapes[0][axis + 1 :])


SHAPES: dict[str, Callable[[Operation, list[Shape]], Shape]] = {
    "input": lambda operation, shapes: operation.shape,
    "conv2d": _windowed,
    "depthwise_conv2d": _windowed,
    "max_pool": _windowed,
    "average_pool": _windowed,
    "conv2d_transpose": _transposed,
    "dense": lambda operation, shapes: (*shapes[0][:-1], operation.shape[-1]),
    "matmul": lambda operation, shapes: (
        *np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2]),
        shapes[0][-2],
        shapes[1][-1],
    ),
    **dict.fromkeys(("mean", "sum_over", "maximum_over", "minimum_over"), _reduced),
    "reshape": _reshaped,
    "transpose": lambda operation, shapes: tuple(shapes[0][axis - 1] for axis in operation.attributes["axes"][1:]),
    "pad": _padded,
    "strided_slice": _sliced,
    "resize": lambda operation, shapes: (*operation.shape[:2], shapes[0][2]),
    "concatenate": _concatenated,
    "constant": lambda operation, shapes: operation.weights["value"].shape,
    "embedding": lambda operation, shapes: (*shapes[0], *operation.weights["table"].shape[1:]),
    "gather": _gathered,
    **dict.fromkeys(("arg_max", "arg_min"), _without_axis),
    **dict.fromkeys(
        ("top_k", "top_k_places"), lambda operation, shapes: (*shapes[0][:-1], operation.attributes["count"])
    ),
}
