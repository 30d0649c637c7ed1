"""From Keras 3 layers to the operations of the neutral graph, under any backend.

`register_bridge` teaches the exporter a layer of yours:

    @register_bridge(MyScale)
    def my_scale(build, layer, x):
        return build.add("multiply", x, weights={"factor": layer.scale})

The function gets a `Builder`, the layer, and the layer's call arguments with tensors replaced by
names; it returns the name of its output, or a list of names where the layer has several outputs.
"""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from export.errors import InputError, UnsupportedLayerError
from export.frontend.activations import apply
from export.frontend.opening import find_opening, is_of_keras, opened, path_of, with_known_shapes, with_masks
from export.ir.graph import Graph, Operation, constant
from export.ir.kinds import traits
from keras_classics.graph import Call, Expansion, Tensor

Bridge = Callable[..., Any]


def _always(operation: Any) -> bool:
    return True


_LAYERS: dict[type, Bridge] = {}
_OPERATIONS: dict[str, Bridge] = {}
_WHEN: dict[Bridge, Callable[[Any], bool]] = {}
DTYPES = {"bool": "bool"} | dict.fromkeys(("float16", "bfloat16", "float32", "float64"), "float32")
DTYPES |= {f"{sign}int{bits}": "int32" for sign in ("", "u") for bits in (8, 16, 32, 64)}


def register_bridge(*layer_classes: type, when: Callable[[Any], bool] = _always) -> Callable[[Bridge], Bridge]:
    """Decorator: the function rewrites layers of these classes, and of their subclasses.

    A bridge of a more derived class wins; registering a class again replaces its bridge.

    Args:
        *layer_classes: what it rewrites.
        when: whether it takes a layer; others are opened, as layers are that have no bridge.
    """

    def register(bridge: Bridge) -> Bridge:
        _LAYERS.update(dict.fromkeys(layer_classes, bridge))
        _WHEN[bridge] = when
        return bridge

    return register


def register_operation(*class_names: str, when: Callable[[Any], bool] = _always) -> Callable[[Bridge], Bridge]:
    """The same for what Keras has no public class of: `keras.ops` in a functional model, layers of keras.applications.

    Their names are stable; a class of that name that is not Keras's own is another one.
    """

    def register(bridge: Bridge) -> Bridge:
        _OPERATIONS.update(dict.fromkeys(class_names, bridge))
        _WHEN[bridge] = when
        return bridge

    return register


def resolve(call: Call) -> Call | Expansion:
    """What is read in a call's place; the call itself where a bridge knows the layer, or nothing can be opened.

    A bridge that takes no mask does not know a layer that is given one.
    """
    call = with_masks(call)
    operation = call.operation
    bridge = find_bridge(operation)
    masked = any(tensor is not None for tensor in keras.tree.flatten(call.kwargs.get("mask")))
    known = bridge and not (masked and "mask" not in inspect.signature(bridge).parameters)
    if not known and (isinstance(operation, layers.Layer) or find_opening(operation)):
        return opened(call)
    return with_known_shapes(call)


class Builder:
    """Collects operations while a model is read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._operations: dict[str, Operation] = {}
        self._inputs: list[str] = []
        self._scope = ""
        self._like = ""  # an operation that has the batch size of all
        self._batch: int | None = None
        # Of the (first) output of the call that is being rewritten.
        self.shape: tuple[int, ...] = ()  # without batch
        self.dtype = "float32"

    def input(self, name: str, tensor: Tensor) -> str:
        """An input of the model. Bytes are pixels, which a file takes as numbers."""
        what = f"input {name!r}"
        shape = _fixed(tensor.shape[1:], what)
        dtype = "float32" if tensor.dtype == "uint8" else _dtype(tensor, what)
        operation = Operation(self._unique(name), "input", [], shape, dtype=dtype)
        self._operations[operation.name] = operation
        self._inputs.append(operation.name)
        return operation.name

    def call(self, call: Call, names: Mapping[int, str]) -> list[str]:
        """Rewrite one call of a layer or operation; returns the names of its outputs."""
        layer = call.operation
        bridge = find_bridge(layer)
        kind = "layer" if isinstance(layer, layers.Layer) else "operation"
        class_name, path = type(layer).__name__, path_of(call)
        if bridge is None:
            raise UnsupportedLayerError(
                f"{kind} {path!r} ({class_name}) has no bridge to TFLite; make it a layer with one, or replace it"
            )
        if any(tensor.shape[0] is None for tensor in call.inputs) and call.outputs[0].shape[0] is not None:
            raise UnsupportedLayerError(
                f"{kind} {path!r} ({class_name}) moves or removes the batch axis; a file holds one sample at a time, "
                "so leave that axis first"
            )
        self._scope, self._batch = path, call.batch
        self.shape = _fixed(call.outputs[0].shape[1:], f"{kind} {path!r}")
        self.dtype = _dtype(call.outputs[0], f"{kind} {path!r}")
        self._like = names[call.inputs[0].number]
        args, kwargs = keras.tree.map_structure(
            lambda leaf: names[leaf.number] if isinstance(leaf, Tensor) else leaf, (call.args, call.kwargs)
        )
        kwargs = {key: value for key, value in kwargs.items() if key not in ("training", "mask") and value is not None}
        if kind == "layer" and self.dtype == "float32":  # layers compute with numbers, whatever they are given
            args, kwargs = keras.tree.map_structure(
                lambda leaf: self.cast(leaf, "float32") if isinstance(leaf, str) and leaf in self._operations else leaf,
                (args, kwargs),
            )
        try:
            found = bridge(self, layer, *args, **kwargs)
            outputs = [found] if isinstance(found, str) else list(found)
            if len(outputs) != len(call.outputs):
                raise InputError(f"it has {len(call.outputs)} outputs and its bridge returns {len(outputs)}")
        except InputError as error:
            raise UnsupportedLayerError(f"{kind} {path!r} ({class_name}): {error}") from error
        return outputs

    def add(
        self,
        kind: str,
        *inputs: str,
        weights: Mapping[str, Any] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        axes_of: Mapping[str, Sequence[int]] | None = None,
        shape: Sequence[int] | None = None,
        dtype: str = "",
        **attributes: Any,
    ) -> str:
        """Append an operation and return its name.

        Args:
            kind: a kind of `export.ir.kinds`.
            *inputs: names that earlier calls returned.
            weights: Keras variables or arrays by role; None values are left out.
            shapes: of weights that the kind takes with other axes than the variable has.
            axes_of: of weights that the kind takes with the variable's axes in another order, that order.
            shape: of the output without batch; the layer's output shape if not given.
            dtype: of the output: float32, int32 or bool; that of the first input if not given.
            **attributes: JSON values that the kind needs.
        """
        try:
            traits(kind, attributes)
        except ValueError as error:
            raise InputError(str(error)) from error
        given = {role: value for role, value in (weights or {}).items() if value is not None}
        variables = {role: value for role, value in given.items() if isinstance(value, keras.Variable)}
        axes = {role: list(order) for role, order in (axes_of or {}).items()}
        arrays = {role: constant(to_numpy(value)) for role, value in given.items()}
        arrays |= {role: arrays[role].transpose(order) for role, order in axes.items()}
        arrays |= {role: arrays[role].reshape(wanted) for role, wanted in (shapes or {}).items()}
        name = self._unique(self._scope)
        self._operations[name] = Operation(
            name=name,
            kind=kind,
            inputs=list(inputs),
            shape=tuple(self.shape if shape is None else shape),
            attributes=attributes,
            weights=arrays,
            variables=variables,
            axes=axes,
            dtype=dtype or self.dtype_of(inputs[0]),
            trainable=[role for role in ("kernel", "bias") if role in variables],
        )
        return name

    def tensor(self, value: Any, dtype: str = "") -> str:
        """The name of a tensor: `value` itself, or a new constant with the values of an array.

        An array that has as many axes as the output, and the batch among them, loses that.
        """
        if isinstance(value, str):
            return self.cast(value, dtype or self.dtype_of(value))
        array = self.constant(value)
        dtype = dtype or DTYPES[array.dtype.name]
        return self.add("constant", self._like, weights={"value": array}, shape=array.shape, dtype=dtype)

    def constant(self, value: Any, rank: int | None = None) -> np.ndarray:
        """An array that stands for a tensor of as many axes as the output has (or of `rank`), without the batch."""
        array = np.asarray(to_numpy(value))
        if array.ndim > (len(self.shape) if rank is None else rank):
            if len(array) > 1 and np.any(array != array[:1]):
                raise InputError("it has a constant that differs between samples; give each sample the same")
            array = array[0]
        return array

    def like(self, value: Any, other: Any) -> str:
        """A tensor, or a constant as one with as many axes as another tensor has, or the output where that is none."""
        return self.ranked(value, len(self.shape_of(other) if isinstance(other, str) else self.shape))

    def ranked(self, value: Any, rank: int) -> str:
        """A tensor of that many axes besides the batch, or a constant as one."""
        if isinstance(value, str):
            if len(self.shape_of(value)) != rank:
                raise InputError(
                    f"one of its inputs has the shape {self.shape_of(value)}; give all the same number of axes"
                )
            return value
        array = self.constant(value, rank)
        return self.tensor(array.reshape((1,) * (rank - array.ndim) + array.shape))

    def cast(self, x: str, dtype: str) -> str:
        """Append a change of dtype, unless it changes nothing; truths become 0 and 1."""
        source, shape = self.dtype_of(x), self.shape_of(x)
        if source == dtype:
            return x
        if dtype == "bool":
            of_floats = source == "float32"  # of which TFLite has no NOT_EQUAL in 8 bits
            x = self.add("activation", x, shape=shape, function="absolute") if of_floats else x
            function = "greater" if of_floats else "not_equal"
            return self.add("compare", x, weights={"other": 0.0}, shape=shape, dtype="bool", function=function)
        if (source, dtype) == ("bool", "float32"):  # a cast has no 8-bit form
            one, zero = (self.tensor(np.full([1] * len(shape), value, np.float32)) for value in (1, 0))
            return self.add("select", x, one, zero, shape=shape, dtype=dtype)
        return self.add("cast", x, shape=shape, dtype=dtype)

    def scale(self, x: str, factor: Any) -> str:
        """Append a multiplication by a constant that leaves the shape as it is, unless it changes nothing.

        The converter drops one by ones, but not the fake quantization behind it.
        """
        x = self.cast(x, "float32")
        return x if _all(factor, 1) else self.add("multiply", x, weights={"factor": factor}, shape=self.shape_of(x))

    def shift(self, x: str, term: Any) -> str:
        """Append an addition of a constant that leaves the shape as it is, unless it changes nothing."""
        x = self.cast(x, "float32")
        return x if _all(term, 0) else self.add("add", x, weights={"term": term}, shape=self.shape_of(x))

    def combine(self, kind: str, a: str, b: str) -> str:
        """Append an operation on two tensors, element by element; the smaller one is repeated."""
        shapes = self.shape_of(a), self.shape_of(b)
        if len(shapes[0]) != len(shapes[1]):
            raise InputError(
                f"its inputs have the shapes {shapes[0]} and {shapes[1]}; give both the same number of axes"
            )
        a, b = (self.cast(each, self.dtype) for each in (a, b))
        return self.add(kind, a, b, shape=np.broadcast_shapes(*shapes))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Append a change of shape, unless it changes nothing."""
        return x if tuple(shape) == self.shape_of(x) else self.add("reshape", x, shape=shape)

    def activation(self, x: str, function: Any) -> str:
        """Append a Keras activation function, given as a function, a layer or a name; None is linear."""
        if isinstance(function, layers.Layer):
            bridge = find_bridge(function)
            if bridge is None:
                raise InputError(f"its activation {type(function).__name__} has no bridge")
            return bridge(self, function, x)
        if isinstance(function, str):
            return apply(self, x, function)
        return apply(self, x, getattr(function, "__name__", str(function)) if function else "linear")

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Shape of an operation's output, without batch."""
        return self._operations[name].shape

    def dtype_of(self, name: str) -> str:
        """Dtype of an operation's output: float32, int32 or bool."""
        return self._operations[name].dtype

    def finish(self, outputs: list[str]) -> Graph:
        """The graph. What several places share is tied where they share all of it, and else stays as it is."""
        uses = Counter(id(variable) for each in self._operations.values() for variable in each.variables.values())
        places: dict[tuple[Any, ...], list[Operation]] = defaultdict(list)
        for operation in self._operations.values():
            if operation.trainable:
                variables = sorted((role, id(variable)) for role, variable in operation.variables.items())
                places[operation.kind, *variables].append(operation)
        for same in places.values():
            for operation in same:
                shared = {role for role, variable in operation.variables.items() if uses[id(variable)] > len(same)}
                operation.trainable = [role for role in operation.trainable if role not in shared]
                operation.tied = same[0].name if len(same) > 1 else ""
        return Graph(self._name, self._operations, self._inputs, outputs)

    def _unique(self, name: str) -> str:
        name = name.replace(":", "_")
        if name not in self._operations:
            return name
        number = 1
        while f"{name}/{number}" in self._operations:
            number += 1
        return f"{name}/{number}"


def find_bridge(operation: Any) -> Bridge | None:
    """The function that rewrites a layer or operation, if one was registered and takes it."""
    kind = type(operation)
    known = next((_LAYERS[base] for base in kind.__mro__ if base in _LAYERS), None)
    bridge = known or (_OPERATIONS.get(kind.__name__) if is_of_keras(operation) else None)
    return bridge if bridge and _WHEN.get(bridge, _always)(operation) else None


def _all(values: Any, number: float) -> bool:
    return bool(np.all(np.asarray(to_numpy(values)) == number))


def to_numpy(value: Any) -> Any:
    """A backend's tensor or variable as an array; anything else as it is."""
    if isinstance(value, keras.Variable) and keras.backend.backend() == "tensorflow":
        # `numpy.asarray` would copy it; this shares memory, which TensorFlow copies before it writes.
        array = value.value.read_value().__array__()
        array.setflags(write=False)
        return array
    foreign = isinstance(value, keras.Variable) or keras.ops.is_tensor(value)
    return keras.ops.convert_to_numpy(value) if foreign else value


def _fixed(shape: tuple[int | None, ...], what: str) -> tuple[int, ...]:
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) < len(shape):
        raise InputError(f"{what} has the open shape {shape}; build the model with a fixed input shape")
    return sizes


def _dtype(tensor: Tensor, what: str) -> str:
    if tensor.dtype not in DTYPES:
        raise InputError(f"{what} holds {tensor.dtype} values; TFLite computes with real numbers")
    return DTYPES[tensor.dtype]
