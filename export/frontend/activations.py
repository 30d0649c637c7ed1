"""Activation functions as operations that TFLite has in 8 bits too.

Some have an operator that the converter leaves in float (ELU, SELU, softplus); they are put together
from operators that it does quantize, each with a range of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from export.errors import InputError
from export.ir.kinds import FUNCTIONS

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al. 2017, equation 14


class Composer(Protocol):
    """What an activation is put together with: these methods of `export.frontend.builder.Builder`."""

    def add(self, *args: Any, **kwargs: Any) -> str:
        """Append an operation; returns the name of its output."""

    def scale(self, x: str, factor: Any) -> str:
        """x · factor."""

    def shift(self, x: str, term: Any) -> str:
        """x + term."""

    def combine(self, kind: str, a: str, b: str) -> str:
        """An operation of two tensors."""

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Without the batch axis."""


def apply(build: Composer, x: str, name: str) -> str:
    """Append the activation that Keras calls `name`; returns the name of its output.

    Raises:
        InputError: the function is not known.
    """
    if name == "linear":
        return x
    if name in COMPOSED:
        return COMPOSED[name](build, x)
    if name not in FUNCTIONS or not FUNCTIONS[name].of_keras:
        known = ", ".join(sorted((*(name for name, row in FUNCTIONS.items() if row.of_keras), *COMPOSED)))
        raise InputError(f"activation {name!r} is not known; use one of {known}")
    return function(build, x, name)


def function(build: Composer, x: str, name: str, **parameters: Any) -> str:
    """Append one operator for each element of `x`; it must be one of `export.ir.kinds`."""
    return build.add("activation", x, shape=build.shape_of(x), function=name, **parameters)


def leaky_relu(build: Composer, x: str, slope: float = 0.2) -> str:
    """x above zero and slope · x below."""
    return function(build, x, "leaky_relu", slope=float(slope))


def gelu(build: Composer, x: str, approximate: bool = False) -> str:
    """x · Φ(x)."""
    return function(build, x, "gelu", approximate=bool(approximate))


def elu(build: Composer, x: str, alpha: float = 1.0, scale: float = 1.0) -> str:
    """scale · (relu(x) + α (exp(min(x, 0)) − 1))."""
    exponential = function(build, clip(build, x, high=0.0), "exponential")
    below = build.shift(build.scale(exponential, scale * alpha), -scale * alpha)
    above = function(build, x, "relu")
    return build.combine("add", above if scale == 1 else build.scale(above, scale), below)


def softplus(build: Composer, x: str) -> str:
    """relu(x) + log(1 + exp(−|x|)), which does not overflow."""
    decay = function(build, build.scale(function(build, x, "absolute"), -1.0), "exponential")
    return build.combine("add", function(build, x, "relu"), function(build, build.shift(decay, 1.0), "log"))


def softsign(build: Composer, x: str) -> str:
    """x / (1 + |x|), as a product with a squared reciprocal root."""
    root = function(build, build.shift(function(build, x, "absolute"), 1.0), "reciprocal_root")
    return build.combine("multiply", x, build.combine("multiply", root, root))


def silu(build: Composer, x: str) -> str:
    """x · sigmoid(x)."""
    return build.combine("multiply", x, function(build, x, "sigmoid"))


def mish(build: Composer, x: str) -> str:
    """x · tanh(softplus(x))."""
    return build.combine("multiply", x, function(build, softplus(build, x), "tanh"))


def hard_sigmoid(build: Composer, x: str) -> str:
    """relu6(x + 3) / 6."""
    return build.scale(function(build, build.shift(x, 3.0), "relu6"), 1 / 6)


def log_sigmoid(build: Composer, x: str) -> str:
    """−softplus(−x)."""
    return build.scale(softplus(build, build.scale(x, -1.0)), -1.0)


def clip(build: Composer, x: str, low: float | None = None, high: float | None = None) -> str:
    """x between two limits, either of which may be missing."""
    if low == 0:
        if high is None or high == 6:
            return function(build, x, "relu" if high is None else "relu6")
        return function(build, x, "relu_limited", limit=float(high))
    for kind, limit in (("maximum", low), ("minimum", high)):
        if limit is not None:
            x = build.add(kind, x, weights={"limit": limit}, shape=build.shape_of(x))
    return x


COMPOSED: dict[str, Callable[[Composer, str], str]] = {
    "elu": elu,
    "selu": lambda build, x: elu(build, x, SELU_ALPHA, SELU_SCALE),
    "leaky_relu": leaky_relu,
    "gelu": gelu,
    "softplus": softplus,
    "softsign": softsign,
    "silu": silu,
    "mish": mish,
    "hard_sigmoid": hard_sigmoid,
    "hard_tanh": lambda build, x: clip(build, x, -1.0, 1.0),
    "log_sigmoid": log_sigmoid,
}
