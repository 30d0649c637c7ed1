"""Streaming: a model of sequences as a model of one step, whose state goes in and comes out.

An unrolled recurrent layer computes all steps at once, and its file grows with them. In a stream steps come one by
one: here each recurrent layer's cell is called once, with its state as an input of the model and the state after the
step as an output. What a causal convolution has seen of earlier steps is a state too.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from export.errors import InputError, UnsupportedLayerError
from export.frontend.opening import opened, path_of, with_fixed_shapes
from export.frontend.openings.recurrent import packed_state, step_of_cell, zero_state
from export.frontend.read import user_names
from keras_classics.graph import Call, Expansion, Tensor, is_graph, walk

AFTER = "_next"
"""An output is called like the input that it is given to at the next step, with this behind."""
STEPS_OF_NOISE = 5
"""Of an open number of steps, so many are taken to see whether a layer computes each step alone."""
CLOSE = 1e-4
"""Share of the greatest value that a layer's steps may differ by where they are computed alone."""
STATES = {layers.LSTM: ["h", "c"], layers.ConvLSTM1D: ["h", "c"], layers.ConvLSTM2D: ["h", "c"]}
STATES |= {layers.GRU: ["h"], layers.SimpleRNN: ["h"]}
RECURRENT = (layers.RNN, layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)


@dataclass(frozen=True)
class Stream:
    """A model of one step.

    Attributes:
        model: takes (batch, 1, …) of each input that the model of sequences has, and the states; gives what that gives
            for the sequence so far, and the states after the step.
        states: names of its inputs that are states, all zero before the first step. The state after a step is the
            output of that name with `AFTER` behind.
        sequences: the names of its other inputs.
        outputs: the names of its outputs that are none.
        in_steps: for each of these whether the model of sequences gives it for each step, and not only for all.
    """

    model: keras.Model
    states: list[str]
    sequences: list[str]
    outputs: list[str]
    in_steps: list[bool]

    @property
    def carried(self) -> list[tuple[str, str]]:
        """The names of each input that is a state and of the output that it is after the step."""
        return [(name, name + AFTER) for name in self.states]

    def run(self, sequences: Sequence[np.ndarray]) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
        """What goes into the model and what it gives, at each step of sequences (N, steps, …)."""
        shapes = {each.name: tuple(each.shape[1:]) for each in self.model.inputs}
        states = [np.zeros((len(sequences[0]), *shapes[name]), np.float32) for name in self.states]
        taken, found = [], []
        for step in range(sequences[0].shape[1]):
            inputs = [*(array[:, step : step + 1] for array in sequences), *states]
            outputs = {name: ops.convert_to_numpy(value) for name, value in self.model(inputs, training=False).items()}
            states = [outputs[name + AFTER] for name in self.states]
            taken.append(inputs)
            found.append([outputs[name] for name in self.outputs])
        return taken, found

    def samples(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """All steps of sequences (N, steps, …) with the states before them, (N · steps, …) for each input."""
        taken, _ = self.run(sequences)
        return [np.concatenate(each) for each in zip(*taken, strict=True)]


class _Step(layers.Layer):
    """One step of a layer, called as that."""

    def __init__(self, layer: Any) -> None:
        super().__init__(name=layer.name)
        self.layer = layer

    def compute_output_spec(self, *args: Any) -> Any:
        """As `call` records it: Keras takes what a number was multiplied by for sparse, and would try it so."""
        return tuple(keras.KerasTensor(each.shape, dtype=each.dtype) for each in self.call(*args))


class _CellStep(_Step):
    """Of a recurrent layer."""

    def call(self, x: Any, *state: Any) -> Any:
        output, after = step_of_cell(self.layer.cell, x[:, 0], packed_state(self.layer, state))
        output = ops.expand_dims(output, 1) if self.layer.return_sequences else output
        return (output, *keras.tree.flatten(after))


class _ConvolutionStep(_Step):
    """Of a causal convolution, of which `past` holds as many earlier steps as it looks back."""

    def call(self, x: Any, past: Any) -> Any:
        layer = self.layer
        seen = ops.concatenate([past, x], axis=1)
        y = ops.conv(seen, layer.kernel, strides=1, padding="valid", dilation_rate=layer.dilation_rate)
        y = y if layer.bias is None else y + layer.bias
        return (y if layer.activation is None else layer.activation(y)), seen[:, 1:]


def streamed(model: keras.Model, input_shape: Any = None) -> tuple[Stream, keras.Model]:
    """The model of one step of a model whose inputs are sequences (steps, …), and that model as a functional one.

    Args:
        input_shape: as `export.frontend.read.read_graph` takes it; needed for a model that has never been called.

    Raises:
        InputError: something in it needs later steps, or all of them at once.
    """
    if not is_graph(model) or input_shape is not None:
        model = with_fixed_shapes(model, input_shape)
    shapes = {each.name: tuple(each.shape[1:]) for each in model.inputs}
    if any(not shape for shape in shapes.values()) or len({shape[0] for shape in shapes.values()}) > 1:
        raise InputError(
            f"streaming takes models whose inputs are sequences of the same number of steps; these are {shapes}"
        )
    for name, shape in shapes.items():
        if None in shape[1:]:
            raise InputError(
                f"input {name!r} has steps of the open shape {shape[1:]}; give input_shape (--input-shape)"
            )
    reader = _Reader(len(shapes))
    inputs = [keras.Input((1, *each.shape[2:]), dtype=each.dtype, name=each.name) for each in model.inputs]
    walked = walk(model, reader.resolve)
    found = {tensor.number: symbol for tensor, symbol in zip(walked.inputs, inputs, strict=True)}
    states: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for call in walked.calls:
        args, kwargs = _given(call, found)
        if reader.has_state(call):
            wanted = [(_unused(name, [*shapes, *states]), shape) for name, shape in _states(call.operation, args[0])]
            own = {name: keras.Input(shape, name=name) for name, shape in wanted}
            outputs = _step_layer(call.operation)(args[0], *own.values())
            states |= own
            after |= dict(zip(own, outputs[1:], strict=True))
            outputs = [outputs[0], *outputs[1:]][: len(call.outputs)]
        else:
            outputs = keras.tree.flatten(call.operation(*args, **kwargs))
        found |= {tensor.number: each for tensor, each in zip(call.outputs, outputs, strict=True)}
    if not states:
        raise InputError(
            f"model {model.name!r} has no recurrent layer and no causal convolution, so no step depends on an earlier "
            "one; leave streaming out"
        )
    ends = OrderedDict(
        zip(  # which Keras does not sort, as it does a dict
            user_names(model)[1], (found[tensor.number] for tensor in walked.outputs), strict=True
        )
    )
    ends |= {name + AFTER: tensor for name, tensor in after.items()}
    try:
        whole = keras.Model([*inputs, *states.values()], ends, name=model.name)
    except ValueError as error:
        raise InputError(
            f"model {model.name!r} cannot be made one of a step: {' '.join(str(error).split())}"
        ) from error
    outputs = [name for name in ends if name.removesuffix(AFTER) not in states]
    in_steps = [reader.is_sequence(tensor) for tensor in walked.outputs]
    return Stream(whole, list(states), list(shapes), outputs, in_steps), model


class _Reader:
    """Decides what is called for one step as it is, and what has to be opened for that."""

    def __init__(self, inputs: int) -> None:
        # Numbers of the tensors whose first axis besides the batch is that of the steps; a walk counts inputs first.
        self._sequences = set(range(inputs))

    def is_sequence(self, tensor: Tensor) -> bool:
        """Whether the tensor's first axis besides the batch is that of the steps."""
        return tensor.number in self._sequences

    def has_state(self, call: Call) -> bool:
        """Whether a step depends on earlier ones by what this layer keeps of them."""
        layer = call.operation
        causal = isinstance(layer, layers.Conv1D) and layer.padding == "causal"
        return (isinstance(layer, RECURRENT) or causal) and self.is_sequence(call.inputs[0])

    def resolve(self, call: Call) -> Call | Expansion:
        """What is read in a call's place.

        Raises:
            InputError: it needs later steps, or all of them at once.
        """
        layer = call.operation
        if not any(map(self.is_sequence, call.inputs)):
            return call
        if isinstance(layer, keras.Model):
            return opened(call)
        if any(call.masks) and isinstance(layer, layers.Layer):
            raise _refused(call, "takes masked steps, which a stream does not feed; build the model without the mask")
        if self.has_state(call):
            self._check_state(call)
            in_steps = getattr(layer, "return_sequences", True)
            self._sequences |= {tensor.number for tensor in call.outputs[:1] if in_steps}
            return call
        if self._computes_each_alone(call):
            self._sequences |= {tensor.number for tensor in call.outputs}
            return call
        refused = _refused(
            call,
            "needs other steps of the sequence than the one that comes; use recurrent layers and causal convolutions "
            "between steps, or leave streaming out",
        )
        if not isinstance(layer, layers.Layer):
            raise refused
        try:
            return opened(call)
        except UnsupportedLayerError as error:
            raise refused from error

    def _check_state(self, call: Call) -> None:
        layer = call.operation
        if getattr(layer, "go_backwards", False):
            raise _refused(call, "begins at the last step (go_backwards), which a stream does not know; leave it out")
        if len(call.inputs) > 1:
            raise _refused(call, "gets its first state from the model; a stream has it from its user, so leave it out")
        if isinstance(layer, layers.Conv1D) and layer.strides != (1,):
            raise _refused(call, f"skips steps (strides {layer.strides}), and a stream gives an output at each; use 1")

    def _computes_each_alone(self, call: Call) -> bool:
        """Whether a step gives the same without the others, tried on noise."""
        random = np.random.default_rng(0)
        noise = {tensor.number: _noise(tensor, random) for tensor in call.inputs}
        steps = next(noise[tensor.number].shape[1] for tensor in call.inputs if self.is_sequence(tensor))

        def computed(part: slice) -> list[np.ndarray]:
            given = {
                number: ops.convert_to_tensor(array[:, part] if number in self._sequences else array)
                for number, array in noise.items()
            }
            args, kwargs = _given(call, given)
            return [ops.convert_to_numpy(each) for each in keras.tree.flatten(call.operation(*args, **kwargs))]

        try:
            whole = computed(slice(None))
            if any(each.ndim < 2 or each.shape[1] != steps for each in whole):
                return False
            for step in sorted({0, steps // 2, steps - 1}):
                part = slice(step, step + 1)
                for alone, among in zip(computed(part), whole, strict=True):
                    np.testing.assert_allclose(alone, among[:, part], rtol=CLOSE, atol=CLOSE * np.abs(among).max())
        except Exception:  # whatever a layer says of fewer steps than it was built for
            return False
        return True


def _given(call: Call, values: Mapping[int, Any]) -> Any:
    """The arguments of a call, tensors replaced by values of their numbers."""
    return keras.tree.map_structure(
        lambda leaf: values[leaf.number] if isinstance(leaf, Tensor) else leaf, (call.args, call.kwargs)
    )


def _noise(tensor: Tensor, random: np.random.Generator) -> np.ndarray:
    """One sample; of indices and truths 0 and 1, which every vocabulary has."""
    shape = (1, *(STEPS_OF_NOISE if size is None else size for size in tensor.shape[1:]))
    values = random.normal(size=shape)
    return (values if tensor.dtype.startswith(("float", "bfloat")) else values > 0).astype(tensor.dtype)


def _refused(call: Call, reason: str) -> InputError:
    kind = "layer" if isinstance(call.operation, layers.Layer) else "operation"
    return InputError(f"{kind} {path_of(call)!r} ({type(call.operation).__name__}) {reason}")


def _step_layer(layer: Any) -> layers.Layer:
    return _CellStep(layer) if isinstance(layer, RECURRENT) else _ConvolutionStep(layer)


def _states(layer: Any, x: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of each state of a layer that gets the step `x`."""
    if not isinstance(layer, RECURRENT):
        looks_back = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
        return [(f"{layer.name}_past", (looks_back, x.shape[-1]))]
    zeros = zero_state(layer, x)
    if any(np.any(ops.convert_to_numpy(state)) for state in zeros):
        raise InputError(f"layer {layer.name!r} does not start from zeros, as the states of a stream do")
    numbered = [f"state_{index}" for index in range(len(zeros))]
    names = next((STATES[kind] for kind in type(layer).__mro__ if kind in STATES), numbered)
    return [(f"{layer.name}_{name}", tuple(state.shape[1:])) for name, state in zip(names, zeros, strict=True)]


def _unused(name: str, taken: Sequence[str]) -> str:
    """`name`, or with a number where a layer that is called twice has it already."""
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)
