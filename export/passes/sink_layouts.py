"""Transpositions out of the way: what channels-first layers, and convolutions of sequences, put around themselves.

    f(Px)              →   P f(x)              f: elementwise; by position, where P leaves the channels last
    f(Px, Py)          →   P f(x, y)
    concat(Px, Py; a)  →   P concat(x, y; P⁻¹a)
    Q P x              →   (QP) x, and x where QP changes nothing

P and Q are transpositions, or the height of one that a sequence gets when it is convolved as an image. So one moves
behind all that it commutes with, until it meets its inverse and both vanish, or something that depends on the order of
axes. At the end a transposition that only moves axes of size one is a change of shape.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.ir.graph import Graph, Operation
from export.passes.fold import Fold


def sink_layouts(graph: Graph) -> list[Fold]:
    """Move changes of layout towards the outputs, whose layout stays; no way back is needed, as no weight is trained.

    A constant that is repeated over a tensor is transposed with it.
    """
    changed = True
    while changed:
        changed = False
        for operation in list(graph.operations.values()):
            if operation.name in graph.operations:
                changed |= _join(graph, operation) or _sink(graph, operation)
    for operation in graph.operations.values():
        if operation.kind == "transpose" and _moves_only_ones(graph, operation):
            operation.kind, operation.attributes = "reshape", {}
    return []


def _join(graph: Graph, operation: Operation) -> bool:
    """Make one change of layout of two that follow each other, or none of two that cancel."""
    before = graph.operations[operation.inputs[0]] if operation.inputs else operation
    if operation.kind not in ("transpose", "reshape") or before.kind != operation.kind:
        return False
    operation.inputs = list(before.inputs)
    same = operation.shape == graph.operations[before.inputs[0]].shape
    if operation.kind == "transpose":
        axes = [before.attributes["axes"][axis] for axis in operation.attributes["axes"]]
        operation.attributes = {"axes": axes}
        same = axes == sorted(axes)
    if same:
        graph.remove(operation)
    graph.remove_unread(before)
    return True


def _sink(graph: Graph, operation: Operation) -> bool:
    """Move the change of layout that is before all inputs of an operation behind it."""
    layouts = [graph.operations[name] for name in operation.inputs]
    if not layouts or not _commutes(graph, operation, layouts):
        return False
    layout, outer = layouts[0], operation.shape
    operation.inputs = [source.inputs[0] for source in layouts]
    if operation.traits.elementwise:
        operation.weights = {role: _before(array, layout) for role, array in operation.weights.items()}
    if layout.kind == "transpose":
        axes = layout.attributes["axes"]
        operation.shape = tuple(outer[axes.index(axis) - 1] for axis in range(1, len(axes)))
    else:
        axes = [0, *range(2, len(outer) + 2)]
        operation.shape = (1, *outer)
    if operation.kind == "concatenate":
        operation.attributes = {"axis": axes[operation.attributes["axis"]]}
    name = graph.unused_name(f"{operation.name}/layout")
    graph.insert_after(operation, replace(layout, name=name, inputs=[operation.name], shape=outer))
    for source in layouts:
        graph.remove_unread(source)
    return True


def _commutes(graph: Graph, operation: Operation, layouts: list[Operation]) -> bool:
    first = layouts[0]
    if first.kind == "transpose":
        alike = all(source.kind == "transpose" and source.attributes == first.attributes for source in layouts)
        keeps_channels = first.attributes["axes"][-1] == len(first.shape)
    else:  # the height of one that a sequence gets when it is convolved as an image
        alike = all(
            source.kind == "reshape" and graph.operations[source.inputs[0]].shape == (1, *source.shape)
            for source in layouts
        )
        keeps_channels = True
    traits = operation.traits
    moves = traits.elementwise or operation.kind == "concatenate" or (traits.positionwise and keeps_channels)
    return alike and moves


def _before(array: np.ndarray, layout: Operation) -> np.ndarray:
    """A constant that is repeated over a tensor behind the layout, as it is before it."""
    whole = array.reshape((1,) * (len(layout.shape) + 1 - array.ndim) + array.shape)
    return whole if layout.kind == "reshape" else whole.transpose(np.argsort(layout.attributes["axes"]))[0]


def _moves_only_ones(graph: Graph, operation: Operation) -> bool:
    sizes = (1, *graph.operations[operation.inputs[0]].shape)
    order = [axis for axis in operation.attributes["axes"] if sizes[axis] != 1]
    return order == sorted(order)
