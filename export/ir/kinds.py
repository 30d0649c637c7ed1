"""What is known of each kind of operation: one row a kind, and one a function of the kind `activation`.

Whoever needs to know how a kind behaves asks its row, so that a new kind is a row here, what it computes
(`export.worker.operations`) and the layers that are lowered to it (`export.frontend`), and nothing else.
docs/adding-an-operation.md shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Traits:
    """How operations of one kind behave. What a row does not say is not so.

    Attributes:
        roles: of the weights that it may have.
        constant: role of the weight that it may take in place of a second tensor; empty if it takes none.
        scalable: has a kernel whose output and input channels may be scaled and shifted, and whose weights may be
            rounded by what they do to the output.
        compressible: pruning and clustering may change its kernel.
        stored_axes: order of the kernel's axes in a TFLite file; empty if the file stores something else.
        elementwise: computes each number from those at the same place, so it commutes with any change of layout.
        positionwise: computes each position from the channels there, so it commutes with a change of layout that
            leaves the channels last.
        carries_factor: a positive factor of a channel passes from its inputs to its output; `carries_factor` below
            says in which operations.
        limit: above which it cuts off, so that a factor may only fill the room below.
        carries_offset: a constant that is added to a channel passes from its inputs to its output.
        same_scale: TFLite's 8-bit kernel gives the output the scale of the input; of several inputs all share one.
        rounds: what it gives at that scale are new numbers, which are rounded to it, and not some of its input's.
        fuses_activation: TFLite computes it in one with an activation that alone reads it.
        fused: TFLite computes it in one with such an operation before it, of which then no value is stored.
        nonnegative: what it gives is never below zero.
        fixed_range: range of the output that TFLite's 8-bit kernel prescribes.
        takes_shape: what it computes depends on the shape of its output.
        takes_dtype: what it computes depends on the dtype of its output.
        integer: TFLite has an 8-bit kernel for it; what has none stays in float, which the report says.
        of_keras: Keras has an activation of the same name that computes the same.
    """

    roles: tuple[str, ...] = ()
    constant: str = ""
    scalable: bool = False
    compressible: bool = False
    stored_axes: tuple[int, ...] = ()
    elementwise: bool = False
    positionwise: bool = False
    carries_factor: bool = False
    limit: float | None = None
    carries_offset: bool = False
    same_scale: bool = False
    rounds: bool = False
    fuses_activation: bool = False
    fused: bool = False
    nonnegative: bool = False
    fixed_range: tuple[float, float] | None = None
    takes_shape: bool = False
    takes_dtype: bool = False
    integer: bool = True
    of_keras: bool = False

    @property
    def has_kernel(self) -> bool:
        """Whether it is a convolution or a dense layer."""
        return "kernel" in self.roles


WEIGHTS = ("kernel", "bias")

KINDS: Mapping[str, Traits] = {
    "input": Traits(),
    "batch_normalization": Traits(roles=("gamma", "beta", "mean", "variance"), positionwise=True),
    "conv2d": Traits(
        roles=WEIGHTS, scalable=True, compressible=True, stored_axes=(3, 0, 1, 2), fuses_activation=True
    ),
    "depthwise_conv2d": Traits(roles=WEIGHTS, scalable=True, fuses_activation=True),
    "conv2d_transpose": Traits(roles=WEIGHTS, takes_shape=True),
    "dense": Traits(roles=WEIGHTS, scalable=True, compressible=True, stored_axes=(1, 0), fuses_activation=True),
    "matmul": Traits(),
    "activation": Traits(),  # see FUNCTIONS
    "prelu": Traits(roles=("slope",), elementwise=True, carries_factor=True),
    "add": Traits(
        roles=("term",), constant="term", elementwise=True, carries_factor=True, carries_offset=True,
        fuses_activation=True,
    ),
    "subtract": Traits(elementwise=True, carries_factor=True, carries_offset=True, fuses_activation=True),
    "multiply": Traits(roles=("factor",), constant="factor", elementwise=True, fuses_activation=True),
    "divide": Traits(elementwise=True),
    "maximum": Traits(roles=("limit",), constant="limit", elementwise=True, carries_factor=True, same_scale=True),
    "minimum": Traits(roles=("limit",), constant="limit", elementwise=True, carries_factor=True, same_scale=True),
    "max_pool": Traits(carries_factor=True, carries_offset=True, same_scale=True),
    "average_pool": Traits(carries_factor=True, carries_offset=True, same_scale=True, rounds=True),
    "mean": Traits(carries_factor=True, carries_offset=True),
    "sum_over": Traits(carries_factor=True),
    "maximum_over": Traits(carries_factor=True, same_scale=True),
    "minimum_over": Traits(carries_factor=True, same_scale=True),
    "reshape": Traits(carries_factor=True, carries_offset=True, same_scale=True, takes_shape=True),
    "transpose": Traits(same_scale=True),
    "pad": Traits(carries_factor=True, same_scale=True),
    "strided_slice": Traits(carries_factor=True, carries_offset=True, same_scale=True),
    "resize": Traits(carries_factor=True, same_scale=True, rounds=True, takes_shape=True),
    "concatenate": Traits(same_scale=True),
    "constant": Traits(roles=("value",), takes_dtype=True),
    "cast": Traits(elementwise=True, takes_dtype=True, integer=False),
    "gather": Traits(same_scale=True),
    "embedding": Traits(roles=("table",)),
    "compare": Traits(roles=("other",), constant="other", elementwise=True),
    "is_number": Traits(elementwise=True, integer=False),
    "logical": Traits(elementwise=True),
    "select": Traits(elementwise=True, same_scale=True),
    "arctangent2": Traits(elementwise=True, integer=False),
    "arg_max": Traits(),
    "arg_min": Traits(),
    "top_k": Traits(same_scale=True),
    "top_k_places": Traits(integer=False),  # the converter parts it from the values, and then leaves it in float
}  # fmt: skip

# TFLite fixes the 8-bit output scale of softmax and sigmoid to 1/256 from 0, and that of tanh to 1/128 around 0
# (its quantization specification, "Int8 quantized operator specifications").
UNIT_RANGE = (0.0, 255 / 256)
FUNCTIONS: Mapping[str, Traits] = {
    "relu": Traits(elementwise=True, nonnegative=True, carries_factor=True, fused=True, of_keras=True),
    "relu6": Traits(elementwise=True, nonnegative=True, carries_factor=True, limit=6.0, fused=True, of_keras=True),
    "relu_limited": Traits(elementwise=True, nonnegative=True),
    "leaky_relu": Traits(elementwise=True, carries_factor=True),
    "gelu": Traits(elementwise=True),
    "exponential": Traits(elementwise=True, nonnegative=True, of_keras=True),
    "log": Traits(elementwise=True, of_keras=True),
    "root": Traits(elementwise=True, nonnegative=True),
    "reciprocal_root": Traits(elementwise=True, nonnegative=True),
    "absolute": Traits(elementwise=True, nonnegative=True),
    "sigmoid": Traits(elementwise=True, nonnegative=True, fixed_range=UNIT_RANGE, of_keras=True),
    "tanh": Traits(elementwise=True, fixed_range=(-1.0, 127 / 128), of_keras=True),
    "softmax": Traits(positionwise=True, nonnegative=True, fixed_range=UNIT_RANGE, of_keras=True),
    "hard_silu": Traits(elementwise=True, of_keras=True),
    "sine": Traits(elementwise=True, integer=False),
    "cosine": Traits(elementwise=True, integer=False),
    "floor": Traits(elementwise=True, integer=False),
    "ceil": Traits(elementwise=True, integer=False),
    "round": Traits(elementwise=True, integer=False),
}


def traits(kind: str, attributes: Mapping[str, Any]) -> Traits:
    """The row of an operation of this kind; of an activation, that of its function.

    Raises:
        ValueError: there is none.
    """
    table, name = (FUNCTIONS, attributes.get("function", "")) if kind == "activation" else (KINDS, kind)
    if name not in table:
        what = "activation function" if table is FUNCTIONS else "kind of operation"
        raise ValueError(f"{name!r} is no {what}; use one of {', '.join(sorted(table))}")
    return table[name]
