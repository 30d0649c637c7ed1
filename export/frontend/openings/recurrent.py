"""Recurrent layers, unrolled over the steps of their input, and layers that are applied to each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from export.frontend.opening import register_opening

# These compute each step alone, on its last axis, whatever axes are before it.
PER_POSITION = (layers.Dense, layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Dropout)


@register_opening(layers.RNN, layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)
def _recurrent(layer: Any, sequences: Any, initial_state: Any = None, mask: Any = None, **options: Any) -> Any:
    """The cell's own `call`, one step after another; a masked step leaves the state as it is."""
    if layer.stateful:
        raise NotImplementedError("it keeps its state between calls (stateful=True); give states as inputs instead")
    length = sequences.shape[1]
    order = range(length - 1, -1, -1) if layer.go_backwards else range(length)
    state = zero_state(layer, sequences) if initial_state is None else keras.tree.flatten(initial_state)
    outputs: list[Any] = []
    for step in order:
        output, after = step_of_cell(layer.cell, sequences[:, step], packed_state(layer, state))
        after = keras.tree.flatten(after)
        if mask is not None:
            counts = mask[:, step]
            before = outputs[-1] if outputs else None
            silent = 0.0 if layer.zero_output_for_mask or before is None else before
            output = _choose(counts, output, silent)
            after = [_choose(counts, new, old) for new, old in zip(after, state, strict=True)]
        state = after
        outputs.append(output)
    result = ops.stack(outputs, axis=1) if layer.return_sequences else outputs[-1]
    return (result, *state) if layer.return_state else result


def step_of_cell(cell: Any, inputs: Any, states: Any) -> tuple[Any, Any]:
    """The output and the states of a cell, or of cells on top of each other, after one step."""
    if not isinstance(cell, layers.StackedRNNCells):
        return cell(inputs, list(states), training=False)
    after = []
    for inner, state in zip(cell.cells, states, strict=True):
        inputs, states_after = step_of_cell(inner, inputs, state if isinstance(state, list | tuple) else [state])
        after.append(states_after)
    return inputs, after


def _choose(counts: Any, new: Any, old: Any) -> Any:
    for _ in range(len(new.shape) - 1):
        counts = ops.expand_dims(counts, -1)
    return ops.where(counts, new, old)


def zero_state(layer: Any, sequences: Any) -> list[Any]:
    """Zeros for one sample, which are repeated over the batch."""
    if hasattr(layer, "get_initial_state") and len(sequences.shape) == 3:
        return keras.tree.flatten(layer.get_initial_state(batch_size=1))
    shapes = [tensor.shape for tensor in keras.tree.flatten(_after_one_step(layer, sequences))]
    return [np.zeros((1, *shape[1:]), np.float32) for shape in shapes]


def _after_one_step(layer: Any, sequences: Any) -> Any:
    """Symbolic states behind a convolutional cell, whose state has the shape of its output."""
    shape = layer.compute_output_shape((1, *sequences.shape[1:]))
    shape = shape[0] if isinstance(shape[0], Sequence) else shape
    size = shape[2:] if layer.return_sequences else shape[1:]
    return [keras.KerasTensor((1, *size)) for _ in range(2)]


def packed_state(layer: Any, state: Sequence[Any]) -> Any:
    """States in the structure that the cell takes: several cells have a list of them each."""
    sizes = getattr(layer.cell, "state_size", None)
    nested = isinstance(sizes, list | tuple) and any(isinstance(each, list | tuple) for each in sizes)
    return keras.tree.pack_sequence_as(sizes, list(state)) if nested else list(state)


@register_opening(layers.Bidirectional)
def _bidirectional(layer: Any, sequences: Any, initial_state: Any = None, mask: Any = None, **options: Any) -> Any:
    """Both directions, joined."""
    half = len(initial_state) // 2 if initial_state is not None else 0
    states = (initial_state[:half], initial_state[half:]) if half else (None, None)
    results: list[Any] = []
    after: list[Any] = []
    for inner, state in zip((layer.forward_layer, layer.backward_layer), states, strict=True):
        found = inner(sequences, initial_state=state, mask=mask, training=False)
        result, *rest = found if layer.return_state else [found]
        results.append(result)
        after += rest
    forward, backward = results
    if layer.return_sequences:
        backward = ops.flip(backward, axis=1)
    joins: dict[str | None, Callable[[], Any]] = {
        "concat": lambda: ops.concatenate([forward, backward], axis=-1),
        "sum": lambda: forward + backward,
        "ave": lambda: (forward + backward) * 0.5,
        "mul": lambda: forward * backward,
        None: lambda: (forward, backward),
    }
    joined = joins[layer.merge_mode]()
    if not layer.return_state:
        return joined
    return (*joined, *after) if isinstance(joined, tuple) else (joined, *after)


@register_opening(layers.TimeDistributed)
def _time_distributed(layer: Any, x: Any, mask: Any = None, **options: Any) -> Any:
    inner = layer.layer
    if isinstance(inner, PER_POSITION) and len(x.shape) == 3:
        return inner(x)
    return ops.stack([inner(x[:, step]) for step in range(x.shape[1])], axis=1)
