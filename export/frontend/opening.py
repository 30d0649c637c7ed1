"""Opening: what a layer's `call` does to symbolic tensors is read in the layer's place.

Keras 3 layers speak in `keras.ops`, which record what is done to a `keras.KerasTensor`, under every backend. So a
layer that no bridge knows is called with symbolic tensors of the shapes that it gets; the operations and layers that
this records are read instead, with the layer's own variables. Where a layer's `call` goes past `keras.ops`, a
function registered here says the same in them.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from keras import ops

from export.errors import InputError, UnsupportedLayerError
from keras_classics.graph import Call, Expansion, Tensor, is_graph

Opening = Callable[..., Any]
_OPENINGS: dict[type | str, Opening] = {}
BATCHES = (31, 37, 41, 43)  # stand for an open batch size where a layer needs a number; rarely the size of another axis
LONGEST_CAUSE = 160  # characters
DOCUMENTATION = "docs/custom-layers.md"
# What Keras variables hand to the backend instead of recording it.
OPERATORS = {
    "__add__": ops.add, "__sub__": ops.subtract, "__mul__": ops.multiply, "__truediv__": ops.divide,
    "__floordiv__": ops.floor_divide, "__mod__": ops.mod, "__pow__": ops.power, "__matmul__": ops.matmul,
    "__lt__": ops.less, "__le__": ops.less_equal, "__gt__": ops.greater, "__ge__": ops.greater_equal,
    "__and__": ops.logical_and, "__or__": ops.logical_or, "__xor__": ops.logical_xor,
}  # fmt: skip


def register_opening(*kinds: type | str) -> Callable[[Opening], Opening]:
    """Decorator: the function does at inference what these do, in `keras.ops` and layers that are simpler.

    It gets the layer or operation and the arguments of its call. `kinds` are classes of layers, and names of the
    classes of Keras's own operations, which are not public.
    """

    def register(opening: Opening) -> Opening:
        _OPENINGS.update(dict.fromkeys(kinds, opening))
        return opening

    return register


def find_opening(operation: Any) -> Opening | None:
    """The function that says what a layer or operation does, if one was registered."""
    kind = type(operation)
    known = next((_OPENINGS[base] for base in kind.__mro__ if base in _OPENINGS), None)
    return known or (_OPENINGS.get(kind.__name__) if is_of_keras(operation) else None)


def is_of_keras(operation: Any) -> bool:
    """Whether its class is Keras's own."""
    return type(operation).__module__.startswith("keras.")


def path_of(call: Call) -> str:
    """What a call is known by: the names of the models and layers around it, and its own.

    Operations that a layer was found to do get the name of their kind, since Keras numbers them anew each time.
    """
    operation = call.operation
    named = call.named or isinstance(operation, keras.layers.Layer)
    return "/".join((*call.scope, operation.name if named else snake_case(type(operation).__name__)))


def snake_case(name: str) -> str:
    """`ExpandDims` as expand_dims."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def opened(call: Call) -> Expansion:
    """The graph of what a layer, or a nested model, does in this call.

    Raises:
        UnsupportedLayerError: its `call` cannot be followed; the message says where it leaves Keras.
    """
    layer = call.operation
    if is_graph(layer) and not any(call.masks) and _fits(layer, call):
        return Expansion(call.inputs, layer.inputs, layer.outputs)
    sizes = {size for tensor in call.inputs for size in tensor.shape}
    open_batch = any(tensor.shape[:1] == (None,) for tensor in call.inputs)
    batches = [None, *[size for size in BATCHES if size not in sizes][:1]] if open_batch else [None]
    for batch in batches:
        try:
            return _traced(call, batch)
        except Exception as error:  # whatever a layer's own code may raise
            cause = error
    kind = "layer" if isinstance(layer, keras.layers.Layer) else "operation"
    raise UnsupportedLayerError(f"{kind} {path_of(call)!r} ({type(layer).__name__}) {_why(layer, cause)}") from cause


def _fits(model: Any, call: Call) -> bool:
    return [tuple(tensor.shape) for tensor in model.inputs] == [tensor.shape for tensor in call.inputs]


def _traced(call: Call, batch: int | None) -> Expansion:
    """The graph with this number, or an open one, as its batch size."""
    given = {tensor.number: tensor for tensor in (*call.inputs, *call.masks) if tensor is not None}
    symbols = {number: _symbol(tensor, batch) for number, tensor in given.items()}
    for tensor, mask in zip(call.inputs, call.masks, strict=True):
        if mask is not None:
            symbols[tensor.number]._keras_mask = symbols[mask.number]
    args, kwargs = keras.tree.map_structure(
        lambda leaf: symbols[leaf.number] if isinstance(leaf, Tensor) else leaf, (call.args, call.kwargs)
    )
    outputs = keras.tree.flatten(called(call.operation, *args, **kwargs))
    if len(outputs) != len(call.outputs) or not all(isinstance(each, keras.KerasTensor) for each in outputs):
        raise InputError("it gives something else than tensors that depend on its inputs")
    scope = (path_of(call).rpartition("/")[2],)
    return Expansion(tuple(given.values()), list(symbols.values()), outputs, batch, is_graph(call.operation), scope)


def with_masks(call: Call) -> Call:
    """The call of a layer with the masks of its inputs as arguments, as Keras passes them when a model runs."""
    if not any(call.masks) or not isinstance(call.operation, keras.layers.Layer):
        return call
    accepted = inspect.signature(call.operation.call)
    masks = {tensor.number: mask for tensor, mask in zip(call.inputs, call.masks, strict=True)}
    given = accepted.bind(*call.args, **call.kwargs).arguments
    holding = {
        name: value
        for name, value in given.items()
        if not name.endswith("mask") and any(isinstance(leaf, Tensor) for leaf in keras.tree.flatten(value))
    }
    found = {}
    for name, value in holding.items():
        argument = "mask" if len(holding) == 1 else f"{name}_mask"
        mask = keras.tree.map_structure(lambda leaf: masks[leaf.number] if isinstance(leaf, Tensor) else None, value)
        if argument in accepted.parameters and given.get(argument) is None and any(keras.tree.flatten(mask)):
            found[argument] = mask
    return replace(call, kwargs={name: value for name, value in call.kwargs.items() if name not in found} | found)


def with_known_shapes(call: Call) -> Call:
    """The call with the sizes of its outputs that Keras leaves open although those of its inputs are known."""
    if all(None not in tensor.shape[1:] for tensor in call.outputs):
        return call
    if any(None in tensor.shape[1:] for tensor in call.inputs):
        return call
    if isinstance(call.operation, keras.layers.Layer):
        found = [tuple(tensor.shape) for tensor in opened(call).outputs]
    else:
        args, kwargs = keras.tree.map_structure(
            lambda leaf: _symbol(leaf, None) if isinstance(leaf, Tensor) else leaf, (call.args, call.kwargs)
        )
        found = [tuple(each.shape) for each in keras.tree.flatten(call.operation.compute_output_spec(*args, **kwargs))]
    outputs = [
        replace(tensor, shape=(tensor.shape[0], *shape[1:])) for tensor, shape in zip(call.outputs, found, strict=True)
    ]
    return replace(call, outputs=tuple(outputs))


def _symbol(tensor: Tensor, batch: int | None) -> keras.KerasTensor:
    shape = (batch, *tensor.shape[1:]) if tensor.shape[:1] == (None,) else tensor.shape
    return keras.KerasTensor(shape, dtype=tensor.dtype)


def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """What a layer gives for symbolic tensors at inference, recorded in `keras.ops` and layers."""
    opening = find_opening(layer)
    with _recording_variables():
        kwargs = {name: value for name, value in kwargs.items() if name != "training" and value is not None}
        if opening:
            return opening(layer, *args, **kwargs)
        accepted = inspect.signature(layer.call).parameters
        return layer.call(*args, **kwargs, **({"training": False} if "training" in accepted else {}))


@contextlib.contextmanager
def _recording_variables() -> Iterator[None]:
    """Operators between a variable or an array and a symbolic tensor, in this order, are recorded as in the other one.

    JAX's arrays leave an operator to the other side unless that says that it is an array, as Keras's tensors do.
    """
    before = {name: getattr(keras.Variable, name) for name in OPERATORS}

    def recording(name: str) -> Callable[[Any, Any], Any]:
        @functools.wraps(before[name])
        def operator(variable: Any, other: Any) -> Any:
            return (OPERATORS if isinstance(other, keras.KerasTensor) else before)[name](variable, other)

        return operator

    for name in OPERATORS:
        setattr(keras.Variable, name, recording(name))
    as_array = vars(keras.KerasTensor).get("__jax_array__")
    if as_array is not None:
        del keras.KerasTensor.__jax_array__
    try:
        yield
    finally:
        for name, operator in before.items():
            setattr(keras.Variable, name, operator)
        if as_array is not None:
            keras.KerasTensor.__jax_array__ = as_array


def _why(layer: Any, error: Exception) -> str:
    """What kept a layer from being opened, with the line of its own code where that happened, and the mend."""
    cause = _short(error)
    mend = f"teach it one with export.register_bridge({type(layer).__name__}) ({DOCUMENTATION})"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    if (is_of_keras(layer) and not isinstance(layer, keras.layers.Lambda)) or not own:
        return f"has no bridge to TFLite, and cannot be opened: {cause}; {mend}, or replace it"
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
    return (
        f"has no bridge to TFLite, and cannot be opened: at {place}, `{own[-1].line}`, it leaves Keras ({cause}); "
        f"use keras.ops there, or {mend}"
    )


def _short(error: Exception) -> str:
    """An error's message on one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_CAUSE else f"{text[:LONGEST_CAUSE]}…"


def _is_own(filename: str) -> bool:
    """Whether code is of the user: not of an installed package, nor of the tracing itself."""
    path = Path(filename)
    return "site-packages" not in path.parts and path != Path(__file__) and not filename.startswith("<frozen")


def with_fixed_shapes(model: keras.Model, input_shape: Any = None) -> keras.Model:
    """A functional model of fixed input shapes that calls a model; the model itself where it is one.

    Args:
        input_shape: as `export.frontend.read.read_graph` takes it.

    Raises:
        InputError: sizes are open and not given, or the model cannot be called so.
    """
    if is_graph(model) and input_shape is None:
        _require_fixed({each.name: tuple(each.shape) for each in model.inputs})
        return model
    structure = _input_structure(model, input_shape)
    symbols = keras.tree.flatten(structure)
    _require_fixed({each.name: tuple(each.shape) for each in symbols})
    try:
        return keras.Model(structure, model(structure), name=model.name)
    except Exception as error:  # whatever a model's own code may raise
        raise InputError(
            f"model {model.name!r} cannot be called with samples of input_shape {input_shape} "
            f"({_short(error)}); give the shape that it was made for"
        ) from error


def is_called_alone(call: Call, model: keras.Model) -> bool:
    """Whether the call is all of a model that `with_fixed_shapes` made."""
    return isinstance(call.operation, keras.Model) and not call.scope and call.operation.name == model.name


def _input_structure(model: keras.Model, input_shape: Any) -> Any:
    """Symbolic inputs of a model, in the structure that it takes, with the shapes that are given or known."""
    if is_graph(model):
        structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        shapes = _by_input(input_shape, [each.name for each in model.inputs])
        symbols = [
            keras.Input(batch_shape=(each.shape[0], *_agreeing(each, shape)), dtype=each.dtype, name=each.name)
            for each, shape in zip(model.inputs, shapes, strict=True)
        ]
        return keras.tree.pack_sequence_as(structure, symbols)
    if input_shape is None:
        known = (model.get_build_config() or {}).get("input_shape") if model.built else None
        if known is None:
            raise InputError(
                f"model {model.name!r} ({type(model).__name__}) has no known input shape; give input_shape, "
                "such as (224, 224, 3), or call it once"
            )
        input_shape = _map_shapes(lambda shape: shape[1:], known)
    return _map_shapes(lambda shape: keras.Input(tuple(shape)), input_shape)


def _map_shapes(function: Callable[[Any], Any], shapes: Any) -> Any:
    """The function's value for each shape in a structure of shapes."""
    if isinstance(shapes, dict):
        return {name: _map_shapes(function, shape) for name, shape in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return function(shapes)
    return [_map_shapes(function, shape) for shape in shapes]


def _by_input(shapes: Any, names: list[str]) -> list[Any]:
    """One shape for each input, of what was given."""
    if isinstance(shapes, dict):
        if set(shapes) != set(names):
            raise InputError(f"input_shape has {', '.join(map(repr, shapes))}; the inputs are {', '.join(names)}")
        return [shapes[name] for name in names]
    found = [shapes] if len(names) == 1 and all(isinstance(size, int) for size in shapes) else list(shapes)
    if len(found) != len(names) or any(isinstance(shape, int) for shape in found):
        raise InputError(f"input_shape {shapes} is not one shape for each of the inputs {', '.join(names)}")
    return found


def _agreeing(tensor: keras.KerasTensor, shape: Any) -> tuple[int, ...]:
    wanted, own = tuple(shape), tuple(tensor.shape[1:])
    if len(wanted) != len(own) or any(size not in (None, given) for size, given in zip(own, wanted, strict=False)):
        raise InputError(f"input_shape {wanted} does not agree with the input {tensor.name!r}, which is {own}")
    return wanted


def _require_fixed(shapes: dict[str, tuple[int | None, ...]]) -> None:
    for name, shape in shapes.items():
        if None in shape[1:]:
            raise InputError(
                f"input {name!r} has the open shape {shape[1:]}; give input_shape (--input-shape), or build the model "
                "with a fixed one"
            )
