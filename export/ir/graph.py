"""The neutral graph: what a model computes, as named operations and NumPy weights.

It is read from a Keras 3 model under any backend (`export.frontend.builder`), rewritten by passes
(`export.passes`) and handed to the worker, which knows TensorFlow but not Keras 3. Tensors are
channels-last with the batch axis first, float32 where an operation does not say otherwise; every operation has
one output, called by the operation's name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from export.ir.kinds import Traits, traits

Arrays = dict[str, np.ndarray]
"""Weights or samples by name."""


@dataclass
class Operation:
    """One step of the computation.

    Attributes:
        name: unique in the graph.
        kind: one of `export.ir.kinds`.
        inputs: names of the operations whose outputs it takes.
        shape: of the output without the batch axis.
        dtype: of the output: float32, or int32 or bool, which are never quantized.
        attributes: JSON values that the kind needs (strides, padding, axis, …).
        weights: its constants by role (kernel, bias, …).
        variables: the Keras variable behind a weight, by role, so that trained values find back.
        axes: by role, the order of the variable's axes in the weight, where it is another.
        trainable: roles of the weights that fine-tuning may change, because there is a way back.
        tied: of a layer that is used in several places, the first operation that has the same weights, for this
            one too; otherwise empty.
    """

    name: str
    kind: str
    inputs: list[str]
    shape: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: Arrays = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, list[int]] = field(default_factory=dict)
    trainable: list[str] = field(default_factory=list)
    tied: str = ""
    dtype: str = "float32"

    @property
    def traits(self) -> Traits:
        """How operations of its kind, or of its activation function, behave."""
        return traits(self.kind, self.attributes)

    @property
    def quantizable(self) -> bool:
        """Whether its output may be stored in 8 bits: indices and truths never are."""
        return self.dtype == "float32"

    @property
    def function(self) -> str:
        """The function of an activation; empty of other kinds."""
        return self.attributes.get("function", "") if self.kind == "activation" else ""

    @property
    def compressible(self) -> bool:
        """Whether pruning and clustering may change its kernel.

        Depthwise kernels are left alone: they hold few of the weights and lose most by it, and TF-MOT
        does not touch them either. So are tied ones, of which each place would get its own.
        """
        return self.traits.compressible and "kernel" in self.trainable and not self.tied


@dataclass
class Graph:
    """A model as operations in order of execution.

    Attributes:
        inputs, outputs: the operations that take what the model is given, and those that give what it returns.
        input_names, output_names: what the model's user calls these, in the same order; as the operations by default.
        carried: names of an input and of the output that its user gives to it at the next step.
    """

    name: str
    operations: dict[str, Operation]
    inputs: list[str]
    outputs: list[str]
    input_names: list[str] = field(default_factory=list)
    output_names: list[str] = field(default_factory=list)
    carried: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.input_names = self.input_names or list(self.inputs)
        self.output_names = self.output_names or list(self.outputs)

    def consumers(self) -> dict[str, list[Operation]]:
        """For every operation, those that read its output."""
        readers: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.operations.values():
            for name in operation.inputs:
                readers[name].append(operation)
        return readers

    def sole_reader(self, operation: Operation) -> Operation | None:
        """The operation that alone reads another's output, once; None if there are more, or the graph gives it out."""
        readers = self.consumers()[operation.name]
        return readers[0] if len(readers) == 1 and operation.name not in self.outputs else None

    def carried_operations(self) -> list[tuple[str, str]]:
        """Each input whose next value the graph gives out, and the operation that gives it."""
        inputs, outputs = (
            dict(zip(names, operations, strict=True))
            for names, operations in ((self.input_names, self.inputs), (self.output_names, self.outputs))
        )
        return [(inputs[before], outputs[after]) for before, after in self.carried]

    def logits(self, output: str) -> str:
        """What the softmax takes that an output is, or the output itself."""
        operation = self.operations[output]
        return operation.inputs[0] if operation.function == "softmax" else output

    def copy(self) -> Graph:
        """Another graph with the same constants and variables, whose operations can be given others."""
        operations = {
            name: replace(operation, inputs=list(operation.inputs), weights=dict(operation.weights))
            for name, operation in self.operations.items()
        }
        names = (list(self.input_names), list(self.output_names))
        return Graph(self.name, operations, list(self.inputs), list(self.outputs), *names, list(self.carried))

    def redirect(self, source: str, other: str) -> None:
        """Let all that read one operation's output, and the graph's outputs, take another's."""
        for reader in self.operations.values():
            reader.inputs = [other if name == source else name for name in reader.inputs]
        self.outputs = [other if name == source else name for name in self.outputs]

    def remove(self, operation: Operation) -> None:
        """Take out an operation with one input; its readers take that input instead."""
        (source,) = operation.inputs
        self.redirect(operation.name, source)
        del self.operations[operation.name]

    def insert_after(self, operation: Operation, new: Operation) -> None:
        """Put in an operation that takes another's output; all that read that read the new one instead."""
        self.redirect(operation.name, new.name)
        order = list(self.operations)
        order.insert(order.index(operation.name) + 1, new.name)
        self.operations[new.name] = new
        self.operations = {name: self.operations[name] for name in order}

    def replace(self, run: Sequence[Operation], steps: Sequence[Operation]) -> None:
        """Put operations in the place of others in a row; the last one takes over the name of the last one there."""
        gone, last = {operation.name for operation in run}, run[-1].name
        operations: dict[str, Operation] = {}
        for name, operation in self.operations.items():
            if name == last:
                operations |= {step.name: step for step in steps}
            elif name not in gone:
                operations[name] = operation
        self.operations = operations

    def remove_unread(self, operation: Operation) -> None:
        """Take out an operation that nothing reads and that is no output; others stay."""
        read = any(operation.name in other.inputs for other in self.operations.values())
        if operation.name in self.operations and not read and operation.name not in self.outputs:
            del self.operations[operation.name]

    def unused_name(self, name: str) -> str:
        """`name`, or one like it that no operation has."""
        while name in self.operations:
            name += "'"
        return name

    def weights(self) -> Arrays:
        """All constants, as `operation:role`."""
        return {
            f"{operation.name}:{role}": array
            for operation in self.operations.values()
            for role, array in operation.weights.items()
        }

    def set_weights(self, arrays: Arrays) -> None:
        """Replace constants by those of `arrays`, which are named as `weights` names them."""
        for name, array in arrays.items():
            operation, role = name.rsplit(":", 1)
            self.operations[operation].weights[role] = array

    def header(self) -> dict[str, Any]:
        """The graph without its weights, as JSON."""
        operations = [
            {
                "name": operation.name,
                "kind": operation.kind,
                "inputs": operation.inputs,
                "shape": operation.shape,
                "attributes": operation.attributes,
                "trainable": operation.trainable,
                "tied": operation.tied,
                "dtype": operation.dtype,
            }
            for operation in self.operations.values()
        ]
        names = ("name", "inputs", "outputs", "input_names", "output_names")
        return {name: getattr(self, name) for name in names} | {"operations": operations}

    @classmethod
    def from_header(cls, header: dict[str, Any], arrays: Arrays) -> Graph:
        """The graph of `header()` and `weights()`; other arrays are left aside."""
        operations = {row["name"]: Operation(**row | {"shape": tuple(row["shape"])}) for row in header["operations"]}
        graph = cls(**header | {"operations": operations})
        graph.set_weights({name: array for name, array in arrays.items() if name.rsplit(":", 1)[0] in operations})
        return graph


def constant(value: Any) -> np.ndarray:
    """`value` as the float32 array that the graph holds."""
    return np.asarray(value, np.float32)
