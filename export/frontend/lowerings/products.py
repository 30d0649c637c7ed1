"""Products of matrices, and of tensors by Einstein's summation."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from export.errors import InputError
from export.frontend.builder import Builder, register_bridge, register_operation, to_numpy
from export.frontend.lowerings.layout import transpose
from export.frontend.lowerings.reductions import reduce


@register_operation("Matmul")
def _matmul(build: Builder, operation: Any, a: Any, b: Any) -> str:
    """A constant matrix on the right makes it a dense layer."""
    if isinstance(a, str) and not isinstance(b, str) and len(b.shape) <= 2:
        kernel = b if len(b.shape) == 2 else to_numpy(b)[:, None]
        shape = (*build.shape_of(a)[:-1], kernel.shape[1])
        return build.reshape(build.add("dense", a, weights={"kernel": kernel}, shape=shape), build.shape)
    if isinstance(b, str) and not isinstance(a, str) and len(a.shape) == 2:
        swapped = _swapped(build, b)
        shape = (*build.shape_of(swapped)[:-1], a.shape[0])
        kernel = {"kernel": to_numpy(a).T}
        return _swapped(build, build.add("dense", swapped, weights=kernel, shape=shape))
    a, b = (build.ranked(each, len(build.shape)) for each in (a, b))
    if min(len(build.shape_of(each)) for each in (a, b)) < 2:
        raise InputError("only products of two matrices for each sample are supported")
    return build.add("matmul", a, b)


def _swapped(build: Builder, x: str) -> str:
    rank = len(build.shape_of(x)) + 1
    return transpose(build, x, [*range(rank - 2), rank - 1, rank - 2])


@register_operation("Einsum")
def _einsum(build: Builder, operation: Any, *operands: Any) -> str:
    return einsum(build, operation.subscripts, *operands)


@register_bridge(layers.EinsumDense)
def _einsum_dense(build: Builder, layer: Any, x: str) -> str:
    """The bias goes into the dense layer where it has a number for each of its units."""
    x = einsum(build, layer.equation, x, layer.kernel, bias=layer.bias)
    return build.activation(x, layer.activation)


def einsum(build: Builder, subscripts: str, *operands: Any, bias: Any = None) -> str:
    """Append a sum of products, of one tensor or two, or of a tensor and a constant."""
    inputs, output = _labels(subscripts, [_rank(build, each) for each in operands])
    if any(len(set(labels)) < len(labels) for labels in inputs):
        raise InputError(f"{subscripts!r} takes a diagonal, which is not supported")
    if len(operands) == 1:
        return _arranged(build, _summed(build, operands[0], inputs[0], output), inputs[0], output)
    if len(operands) > 2:
        raise InputError(f"{subscripts!r} multiplies more than two tensors; take them in pairs")
    if not isinstance(operands[0], str):
        operands, inputs = operands[::-1], inputs[::-1]
    (a, b), (left, right) = operands, inputs
    if isinstance(b, str) or output[0] in right or set(left) & set(right) & set(output):
        b = b if isinstance(b, str) else build.tensor(build.constant(b, len(right) - right.count(output[0])))
        product = _product_of_tensors(build, a, b, left, right, output)
        return product if bias is None else build.shift(product, bias)
    contracted = [label for label in left if label in right]
    free = [label for label in output if label in right]
    a = _summed(build, a, left, output + "".join(contracted))
    left = "".join(label for label in left if label in output or label in contracted)
    kept = [label for label in left if label not in contracted]
    sizes = dict(zip(right, b.shape, strict=True))
    columns = math.prod(sizes[label] for label in free)
    x = _arranged(build, a, left, "".join([*kept, *contracted]))
    known = dict(zip(left[1:], build.shape_of(a), strict=True))
    before = [known[label] for label in kept[1:]]
    x = build.reshape(x, [*before, math.prod(sizes[label] for label in contracted)])
    order = [right.index(label) for label in (*contracted, *free)]
    weights: dict[str, Any] = {"kernel": b}
    tail = [sizes[label] for label in free]
    whole = bias is not None and output.endswith("".join(free)) and _fits(bias.shape, tail)
    if whole:
        weights["bias"] = bias
    shapes: dict[str, tuple[int, ...]] = {"kernel": (math.prod(sizes[label] for label in contracted), columns)}
    axes = {"kernel": order} if order != sorted(order) else {}
    shapes |= {"bias": (columns,)} if whole else {}
    x = build.add("dense", x, weights=weights, shapes=shapes, axes_of=axes, shape=(*before, columns))
    x = build.reshape(x, [*before, *tail])
    x = _arranged(build, x, "".join([*kept, *free]), output)
    return x if bias is None or whole else build.shift(x, bias)


def _fits(shape: Any, tail: list[int]) -> bool:
    """Whether a bias has a number for each unit, and none besides."""
    sizes = list(shape)
    return sizes[len(sizes) - len(tail) :] == tail and math.prod(sizes) == math.prod(tail)


def _rank(build: Builder, operand: Any) -> int:
    return len(build.shape_of(operand)) + 1 if isinstance(operand, str) else len(operand.shape)


def _labels(subscripts: str, ranks: list[int]) -> tuple[list[str], str]:
    """A letter for each axis of each operand and of the result; an ellipsis is replaced by letters of its own."""
    text = subscripts.replace(" ", "")
    given, _, output = text.partition("->")
    terms = given.split(",")
    if "->" not in text:
        letters = given.replace(",", "").replace(".", "")
        once = sorted(each for each in set(letters) if letters.count(each) == 1)
        output = ("..." if "..." in given else "") + "".join(once)
    spare = [each for each in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if each not in text]
    widths = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True) if "..." in term]
    most = max(widths, default=0)
    filled = [
        term.replace("...", "".join(spare[most - (rank - len(term.replace("...", ""))) : most]))
        for term, rank in zip(terms, ranks, strict=True)
    ]
    return filled, output.replace("...", "".join(spare[:most]))


def _summed(build: Builder, x: str, labels: str, kept: str) -> str:
    """The sum over the axes that no one needs any more."""
    axes = [axis for axis, label in enumerate(labels) if label not in kept]
    return reduce(build, "sum", x, axes) if axes else x


def _arranged(build: Builder, x: str, labels: str, wanted: str) -> str:
    """The axes in another order; those that were summed are gone from `labels`."""
    labels = "".join(label for label in labels if label in wanted)
    order = [labels.index(label) for label in wanted]
    if order[:1] != [0]:
        raise InputError("it moves the batch axis; a file holds one sample at a time, so leave that first")
    return transpose(build, x, order)


def _product_of_tensors(build: Builder, a: str, b: str, left: str, right: str, output: str) -> str:
    """Both as (shared, own, summed), multiplied as matrices."""
    if output[0] not in left or output[0] not in right:
        left, right = (labels if output[0] in labels else output[0] + labels for labels in (left, right))
    a, b = _summed(build, a, left, output + right), _summed(build, b, right, output + left)
    left, right = (
        "".join(label for label in own if label in output or label in other)
        for own, other in ((left, right), (right, left))
    )
    shared = [label for label in output if label in left and label in right]
    contracted = [label for label in left if label in right and label not in output]
    rows = [label for label in output if label in left and label not in right]
    columns = [label for label in output if label in right and label not in left]
    sizes = dict(zip(left[1:], build.shape_of(a), strict=True)) | dict(zip(right[1:], build.shape_of(b), strict=True))

    def size(labels: list[str]) -> int:
        return math.prod(sizes[label] for label in labels)

    common = [sizes[label] for label in shared[1:]]
    a = _arranged(build, a, left, "".join([*shared, *rows, *contracted]))
    b = _arranged(build, b, right, "".join([*shared, *contracted, *columns]))
    a = build.reshape(a, [*common, size(rows), size(contracted)])
    b = build.reshape(b, [*common, size(contracted), size(columns)])
    product = build.add("matmul", a, b, shape=[*common, size(rows), size(columns)])
    product = build.reshape(product, [*common, *(sizes[label] for label in (*rows, *columns))])
    return _arranged(build, product, "".join([*shared, *rows, *columns]), output)
