"""Which channels the weights of a kernel belong to: the one place that knows the axes of each kind of kernel.

Kernels are (height, width, inputs of a group, outputs) of `conv2d`, whose groups follow each other in the outputs;
(height, width, channels, multiplier) of `depthwise_conv2d`; (height, width, inputs, outputs) of `conv2d_transpose`;
and (inputs, outputs) of `dense`, where a flattened tensor repeats its channels along the inputs.
"""

from __future__ import annotations

import numpy as np

from export.ir.graph import Operation


def is_depthwise(operation: Operation) -> bool:
    """Whether each channel has kernels of its own, so that the kernel's last two axes are its outputs."""
    return operation.kind == "depthwise_conv2d"


def output_channels(operation: Operation) -> np.ndarray:
    """Which output channel each weight of the kernel belongs to, in a shape that broadcasts to the kernel."""
    kernel = operation.weights["kernel"]
    outputs = kernel.shape[2:] if is_depthwise(operation) else kernel.shape[-1:]
    return np.arange(np.prod(outputs)).reshape(outputs)


def input_channels(operation: Operation, count: int) -> np.ndarray:
    """Which of `count` input channels each weight of the kernel meets, in a shape that broadcasts to the kernel."""
    kernel = operation.weights["kernel"]
    channels = np.arange(count)
    if is_depthwise(operation):
        return channels[:, None]
    if operation.kind == "dense":
        return np.tile(channels, kernel.shape[0] // count)[:, None]
    groups = operation.attributes["groups"]
    return np.repeat(channels.reshape(groups, -1).T, kernel.shape[3] // groups, axis=1)


def summed_axes(operation: Operation) -> tuple[int, ...]:
    """Axes of the kernel that one output value sums over."""
    return (0, 1) if is_depthwise(operation) else tuple(range(operation.weights["kernel"].ndim - 1))


def by_output(operation: Operation, values: np.ndarray) -> np.ndarray:
    """Numbers for the output channels, (outputs,), in a shape that broadcasts to the kernel."""
    return values[output_channels(operation)]


def by_input(operation: Operation, values: np.ndarray) -> np.ndarray:
    """Numbers for the input channels, (channels,), in a shape that broadcasts to the kernel."""
    return values[input_channels(operation, len(values))]


def response(operation: Operation, kernel: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """What constants in the input channels, given as `by_input` gives them, add to each output channel: (outputs,)."""
    return (kernel * offset).sum(summed_axes(operation)).reshape(-1)
