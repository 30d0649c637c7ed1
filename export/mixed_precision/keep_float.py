"""Which operations of an int8 file stay in float, because the user asked for them by layer."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from export.errors import InputError
from export.ir.graph import Graph
from export.quantization.scales import is_fused

NAMED_IN_MESSAGES = 5


def float_operations(
    graph: Graph, layers: Sequence[str], folded: Mapping[str, str], without_kernel: Collection[str] = ()
) -> frozenset[str]:
    """The operations of the named layers, and those that TFLite does not part from them.

    Those are what it fuses with them, and reshapes of what they give.

    Args:
        graph: with batch normalization folded.
        layers: names as the model calls them, with `/` before a layer of a nested model, or
            wildcards such as `block1_*`. A nested model's name stands for all of it.
        folded: for each layer that was folded into another, the operation that does its work.
        without_kernel: operations that TFLite cannot compute in 8 bits.

    Raises:
        InputError: a name fits no layer.
    """
    known = {name: name for name, operation in graph.operations.items() if operation.kind != "input"} | dict(folded)
    chosen = set(without_kernel)
    for pattern in layers:
        found = {operation for name, operation in known.items() if _fits(name, pattern)}
        if not found:
            names = [name for name in known if not name.rpartition("/")[2].isdecimal()]  # as layers are called
            near = difflib.get_close_matches(pattern, names, NAMED_IN_MESSAGES) or names[:NAMED_IN_MESSAGES]
            raise InputError(f"the model has no layer {pattern!r} to keep in float; near names are {', '.join(near)}")
        chosen |= found
    readers = graph.consumers()
    for operation in graph.operations.values():
        if is_fused(operation, readers[operation.name], graph):
            pair = {operation.name, readers[operation.name][0].name}
            chosen |= pair if pair & chosen else set()
        if operation.kind == "reshape" and operation.inputs[0] in chosen:
            chosen.add(operation.name)
    return frozenset(chosen)


def units(graph: Graph) -> list[tuple[str, ...]]:
    """The operations, inputs aside, in order of execution, parted into what TFLite does not part.

    That is what it fuses, and reshapes with what they reshape.
    """
    readers = graph.consumers()
    found: list[list[str]] = []
    home: dict[str, list[str]] = {}
    for operation in graph.operations.values():
        if operation.kind == "input":
            continue
        source = graph.operations[operation.inputs[0]]
        joins = operation.kind == "reshape" or is_fused(source, readers[source.name], graph)
        if joins and source.name in home:
            home[operation.name] = home[source.name]
        else:
            home[operation.name] = []
            found.append(home[operation.name])
        home[operation.name].append(operation.name)
    return [tuple(unit) for unit in found]


def _fits(name: str, pattern: str) -> bool:
    parts = name.split("/")
    return any(fnmatchcase("/".join(parts[:length]), pattern) for length in range(1, len(parts) + 1))
