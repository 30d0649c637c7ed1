"""Operations of `keras.ops` and operators between tensors, as they stand in a functional model."""

from __future__ import annotations

from typing import Any

from export.bridge import Builder, register_operation


@register_operation("Add")
def _add_operation(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return _binary(build, "add", "term", a, b)


@register_operation("Multiply")
def _multiply_operation(build: Builder, operation: Any, a: Any, b: Any) -> str:
    return _binary(build, "multiply", "factor", a, b)


@register_operation("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Elu", "Selu", "Softplus", "HardSigmoid", "HardSilu")
def _activation_operation(build: Builder, operation: Any, x: str) -> str:
    names = {"HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu"}
    kind = type(operation).__name__
    return build.activation(x, names.get(kind, kind.lower()))


def _binary(build: Builder, kind: str, role: str, a: Any, b: Any) -> str:
    if isinstance(a, str) and isinstance(b, str):
        return build.add(kind, a, b)
    tensor, value = (a, b) if isinstance(a, str) else (b, a)
    return build.add(kind, tensor, weights={role: value})
