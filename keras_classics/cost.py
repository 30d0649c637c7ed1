"""What a model costs: parameters, multiply-accumulates and activation memory, layer by layer."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import astuple, dataclass, fields
from typing import Any

import keras
from keras import layers

from keras_classics.files import replacing
from keras_classics.graph import Call, Walk, walk

BYTES_PER_ELEMENT = 4
"""An activation is counted as a float32, of four bytes."""


@dataclass(frozen=True)
class LayerCost:
    """One call of a layer at batch 1; shapes are without the batch axis.

    Attributes:
        kernel, strides: height and width (of 1-D and 3-D layers one and three numbers) of what convolves or pools.
        groups: into how many parts a convolution divides its input channels; a depthwise one into all.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    trainable_parameters: int
    macs: int
    activation_bytes: int
    kernel: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    groups: int | None = None


@dataclass(frozen=True)
class Cost:
    """The cost of a model at batch 1.

    Attributes:
        parameters, trainable_parameters: counts of scalars; a shared layer counts once.
        macs: multiply-accumulates of convolutions and dense layers, without biases, pooling and
            normalization; a shared layer counts at each call.
        peak_activation_bytes: the most memory that float32 tensors take at once when the layers
            run one after the other and a tensor is freed after its last use.
        layers: the same for each call of a layer, in order of execution.
    """

    parameters: int
    trainable_parameters: int
    macs: int
    peak_activation_bytes: int
    layers: tuple[LayerCost, ...]

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one row for each layer."""
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(field.name for field in fields(LayerCost))
            for row in self.layers:
                cells = ("×".join(map(str, value)) if isinstance(value, tuple) else value for value in astuple(row))
                writer.writerow(cells)


def convolution_macs(
    output_height: int, output_width: int, kernel_size: int, input_channels: int, filters: int, groups: int = 1
) -> int:
    """Multiply-accumulates of a `kernel_size`² convolution; with `groups=input_channels` a depthwise one.

    >>> convolution_macs(28, 28, 5, 192, 32)
    120422400
    >>> convolution_macs(28, 28, 1, 192, 16) + convolution_macs(28, 28, 5, 16, 32)
    12443648
    >>> convolution_macs(4, 4, 3, 3, 5), convolution_macs(4, 4, 3, 3, 3, groups=3) + convolution_macs(4, 4, 1, 3, 5)
    (2160, 672)
    """
    return output_height * output_width * kernel_size**2 * (input_channels // groups) * filters


def model_cost(model: keras.Model) -> Cost:
    """Count what a functional or Sequential model costs; nested models are opened.

    Raises:
        ValueError: the model has no graph, or a height, width or length in it is open.
    """
    graph = walk(model)
    for call in graph.calls:
        for tensor in call.outputs:
            if None in tensor.shape[1:]:
                raise ValueError(
                    f"{call.operation.name} has an open output shape {tensor.shape}; "
                    "build the model with a fixed input_shape"
                )
    rows: list[LayerCost] = []
    counted: set[int] = set()
    for call in graph.calls:
        operation = call.operation
        fresh = isinstance(operation, layers.Layer) and id(operation) not in counted
        counted.add(id(operation))
        rows.append(
            LayerCost(
                name="/".join((*call.scope, operation.name)),
                kind=type(operation).__name__,
                output_shape=call.outputs[0].shape[1:],
                parameters=_scalars(operation.weights) if fresh else 0,
                trainable_parameters=_scalars(operation.trainable_weights) if fresh else 0,
                macs=_macs(call),
                activation_bytes=sum(_bytes(tensor.shape) for tensor in call.outputs),
                **_window(call),
            )
        )
    return Cost(
        parameters=_scalars(model.weights),
        trainable_parameters=_scalars(model.trainable_weights),
        macs=sum(row.macs for row in rows),
        peak_activation_bytes=_peak_bytes(graph),
        layers=tuple(rows),
    )


def _window(call: Call) -> dict[str, Any]:
    """`kernel`, `strides` and `groups` of what slides a window over its input; empty of all else."""
    layer = call.operation
    size = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
    if size is None:
        return {}
    axes = len(call.outputs[0].shape) - 2

    def sides(value: Any) -> tuple[int, ...]:
        return (value,) * axes if isinstance(value, int) else tuple(value)

    window: dict[str, Any] = {"kernel": sides(size), "strides": sides(getattr(layer, "strides", 1) or size)}
    if isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        channels_last = layer.data_format == "channels_last"
        return window | {"groups": call.inputs[0].shape[-1 if channels_last else 1]}
    return window | ({"groups": layer.groups} if isinstance(getattr(layer, "groups", None), int) else {})


def _macs(call: Call) -> int:
    """Each kernel element is used once for every position of the output (transposed: of the input).

    A layer that Keras lacks says itself, by a method `macs(input_shape, output_shape)`.
    """
    layer = call.operation
    if hasattr(layer, "macs"):
        own: int = layer.macs(call.inputs[0].shape, call.outputs[0].shape)
        return own
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"

    def positions(shape: tuple[Any, ...]) -> int:
        return _elements(shape[1:-1] if channels_last else shape[2:])

    output = call.outputs[0].shape
    if isinstance(layer, layers.Dense):
        return _scalars([layer.kernel]) * _elements(output[1:-1])
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
        return positions(output) * _scalars(kernels)
    if isinstance(layer, layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose):
        return positions(call.inputs[0].shape) * _scalars([layer.kernel])
    convolutions = layers.Conv1D | layers.Conv2D | layers.Conv3D | layers.DepthwiseConv1D | layers.DepthwiseConv2D
    if isinstance(layer, convolutions):
        return positions(output) * _scalars([layer.kernel])
    return 0


def _peak_bytes(graph: Walk) -> int:
    last_use = {tensor.number: step for step, call in enumerate(graph.calls) for tensor in call.inputs}
    last_use |= {tensor.number: len(graph.calls) for tensor in graph.outputs}
    live = {tensor.number: _bytes(tensor.shape) for tensor in graph.inputs}
    peak = sum(live.values())
    for step, call in enumerate(graph.calls):
        live |= {tensor.number: _bytes(tensor.shape) for tensor in call.outputs}
        peak = max(peak, sum(live.values()))
        live = {number: size for number, size in live.items() if last_use.get(number, -1) > step}
    return peak


def _bytes(shape: tuple[int | None, ...]) -> int:
    return BYTES_PER_ELEMENT * _elements(shape[1:])


def _elements(shape: tuple[int | None, ...]) -> int:
    return math.prod(size for size in shape if size is not None)


def _scalars(variables: list[keras.Variable]) -> int:
    return sum(_elements(variable.shape) for variable in variables)
