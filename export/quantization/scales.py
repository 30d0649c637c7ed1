"""Which tensors of an int8 file are stored in 8 bits, and which of them share a scale: what TFLite prescribes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from export.ir.graph import Graph, Operation

Ranges = Mapping[str, tuple[float, float]]
"""(low, high) of what operations give, by their names."""

ACTIVATION_STEPS = 255  # between the 256 values of 8 bits
GREATEST_WEIGHT = 127  # of an 8-bit kernel, which is symmetric about zero
# XNNPACK refuses a convolution whose accumulator's unit, a step of the input times one of the kernel, is worth this
# many steps of the output or more (xnn_define_convolution_2d: requantization scale below 256).
MOST_STEPS_OF_OUTPUT = 256
WIDER = 1.001  # than that limit, which a file's scales in float32 must not reach


def quantized_tensors(graph: Graph, keep_float: Collection[str] = ()) -> list[str]:
    """Operations whose output gets a range of its own, in order of execution.

    Not those that are fused with the activation after them, and not those that only pass on numbers at their
    input's scale (of which a concatenation needs one range for all its inputs). Of operations that
    stay in float, those whose output is stored in int8 all the same.
    """
    consumers = graph.consumers()
    return [
        name
        for name, operation in graph.operations.items()
        if operation.quantizable
        and (
            name in graph.outputs or any(reader.name not in keep_float for reader in consumers[name])
            if name in keep_float
            else _is_rounded(operation) and not is_fused(operation, consumers[name], graph)
        )
    ]


def _is_rounded(operation: Operation) -> bool:
    return operation.traits.rounds or not operation.traits.same_scale


def is_fused(operation: Operation, readers: Sequence[Operation], graph: Graph) -> bool:
    """Whether TFLite computes the operation in one with the activation that alone reads it."""
    return (
        operation.traits.fuses_activation
        and operation.name not in graph.outputs
        and len(readers) == 1
        and readers[0].traits.fused
    )


def feeds_output(graph: Graph, name: str) -> bool:
    """Whether the tensor is an output, or the logits of one that is a softmax."""
    softmax = [reader for reader in graph.consumers().get(name, []) if reader.function == "softmax"]
    return name in graph.outputs or any(reader.name in graph.outputs for reader in softmax)


def home_of_range(graph: Graph, ranges: Ranges, name: str) -> str | None:
    """The operation of `ranges` whose range an operation's output is stored in.

    That is the operation itself, the activation that TFLite computes in one with it, or what comes before operations
    that keep their input's scale. None if the output is stored in float.
    """
    if name in ranges:
        return name
    operation, readers = graph.operations[name], graph.consumers()[name]
    if is_fused(operation, readers, graph):
        return home_of_range(graph, ranges, readers[0].name)
    return home_of_range(graph, ranges, operation.inputs[0]) if operation.traits.same_scale else None


def step_of(graph: Graph, ranges: Ranges, name: str) -> float | None:
    """What one step of 8 bits is worth in the tensor that an operation's output is stored in; None in float."""
    home = home_of_range(graph, ranges, name)
    return None if home is None else (ranges[home][1] - ranges[home][0]) / ACTIVATION_STEPS


def runnable(graph: Graph, ranges: Ranges, keep_float: Collection[str] = ()) -> Ranges:
    """Ranges that XNNPACK takes: those whose steps are too fine for what is added up in them are widened.

    Tensors of one scale keep one. A wider output is a wider input of what reads it, so it goes on until all are right.
    """
    result = dict(ranges)
    members = {name: names for names in of_one_scale(graph, ranges, keep_float) for name in names}
    weighted = [
        operation
        for operation in graph.operations.values()
        if operation.traits.has_kernel and operation.name not in keep_float
    ]
    for _ in weighted:
        changed = False
        for operation in weighted:
            home, excess = home_of_range(graph, result, operation.name), _excess(graph, result, operation)
            if home is not None and excess > 1:
                changed = True
                for name in members[home]:
                    low, high = result[name]
                    result[name] = (low * excess * WIDER, high * excess * WIDER)
        if not changed:
            break
    return result


def _excess(graph: Graph, ranges: Ranges, operation: Operation) -> float:
    """By how much a step of input times kernel is over what XNNPACK takes; at most 1 if it is not."""
    before, after = (step_of(graph, ranges, name) for name in (operation.inputs[0], operation.name))
    if before is None or after is None:
        return 1.0
    kernel_step = float(np.abs(operation.weights["kernel"]).max()) / GREATEST_WEIGHT
    return before * kernel_step / after / MOST_STEPS_OF_OUTPUT


def learnable(graph: Graph, ranges: Ranges, keep_float: Collection[str] = ()) -> dict[str, str]:
    """Operations whose range may be changed, each with the one that it shares its range with, or itself.

    Not inputs, outputs and what TFLite fixes.
    """
    result: dict[str, str] = {}
    for names in of_one_scale(graph, ranges, keep_float):
        operations = [graph.operations[name] for name in names]
        fixed = any(operation.kind == "input" or operation.traits.fixed_range for operation in operations)
        if not fixed and not any(feeds_output(graph, name) for name in names):
            result |= dict.fromkeys(names, names[0])
    return result


def of_one_scale(graph: Graph, ranges: Ranges, keep_float: Collection[str] = ()) -> list[list[str]]:
    """The operations of `ranges`, in order of execution, parted into those that have one scale.

    TFLite prescribes it of some; a state goes in at the scale at which it came out of the step before.
    """
    group = {name: {name} for name in graph.operations}
    for operation in graph.operations.values():
        if operation.traits.same_scale and operation.quantizable and operation.name not in keep_float:
            read = [name for name in operation.inputs if graph.operations[name].quantizable]
            merged = group[operation.name].union(*(group[name] for name in read))
            group |= dict.fromkeys(merged, merged)
    for names in graph.carried_operations():
        merged = group[names[0]] | group[names[1]]
        group |= dict.fromkeys(merged, merged)
    parts: dict[int, list[str]] = {}
    for name in ranges:
        parts.setdefault(id(group[name]), []).append(name)
    return list(parts.values())
