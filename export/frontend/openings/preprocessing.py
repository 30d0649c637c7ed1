"""Layers that prepare inputs, whose `call` uses the backend directly."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from export.frontend.opening import register_opening

DECIBELS = 10 / np.log(10)
WINDOWS = {"hann": 0.5, "hamming": 0.54, None: 1.0}  # the mean of each cosine


@register_opening(layers.CenterCrop)
def _center_crop(layer: Any, x: Any, **options: Any) -> Any:
    """The middle, or all of it scaled where the image is too small for that."""
    first = 1 if layer.data_format == "channels_last" else 2
    height, width = x.shape[first : first + 2]
    if height < layer.height or width < layer.width:
        return ops.image.resize(
            x, (layer.height, layer.width), crop_to_aspect_ratio=True, data_format=layer.data_format
        )
    top, left = (height - layer.height) // 2, (width - layer.width) // 2
    window = (slice(top, top + layer.height), slice(left, left + layer.width))
    return x[(*[slice(None)] * first, *window)]


@register_opening(layers.Resizing)
def _resizing(layer: Any, x: Any) -> Any:
    return ops.image.resize(
        x,
        (layer.height, layer.width),
        interpolation=layer.interpolation,
        antialias=layer.antialias,
        crop_to_aspect_ratio=layer.crop_to_aspect_ratio,
        pad_to_aspect_ratio=layer.pad_to_aspect_ratio,
        fill_mode=layer.fill_mode,
        fill_value=layer.fill_value,
        data_format=layer.data_format,
    )


@register_opening(layers.Discretization)
def _discretization(layer: Any, x: Any) -> Any:
    """How many of the boundaries a number reaches."""
    if layer.output_mode != "int":
        raise NotImplementedError(f"output_mode={layer.output_mode!r} is not supported; use 'int'")
    return ops.digitize(x, np.asarray(layer.bin_boundaries, np.float32))


@register_opening(layers.CategoryEncoding)
def _category_encoding(layer: Any, x: Any, count_weights: Any = None) -> Any:
    if layer.output_mode == "one_hot":
        x = ops.squeeze(x, -1) if len(x.shape) > 1 and x.shape[-1] == 1 else x
        return ops.one_hot(x, layer.num_tokens)
    hot = ops.one_hot(x, layer.num_tokens)
    if len(x.shape) == 1:
        return hot
    if layer.output_mode == "multi_hot":
        return ops.max(hot, axis=-2)
    return ops.sum(hot if count_weights is None else hot * ops.expand_dims(count_weights, -1), axis=-2)


@register_opening(layers.MelSpectrogram)
def _mel_spectrogram(layer: Any, x: Any) -> Any:
    """Frames times the matrices of a discrete Fourier transform, and that times the filters."""
    size = layer.fft_length
    edges = [(0, 0)] * (len(x.shape) - 1) + [(size // 2, size // 2)]
    frames = ops.extract_sequences(ops.pad(x, edges, mode="reflect"), size, layer.sequence_stride)
    frames = frames * _window(layer.window, layer.sequence_length, size)
    angles = 2 * np.pi * np.outer(np.arange(size), np.arange(size // 2 + 1)) / size
    real, imaginary = (ops.matmul(frames, wave(angles).astype(np.float32)) for wave in (np.cos, np.sin))
    power = ops.square(real) + ops.square(imaginary)
    magnitude = power if layer.mag_exp == 2 else ops.power(power, layer.mag_exp / 2)
    filters = layer.linear_to_mel_weight_matrix(
        layer.num_mel_bins, size // 2 + 1, layer.sampling_rate, layer.min_freq, layer.max_freq
    )
    bands = ops.matmul(magnitude, np.asarray(ops.convert_to_numpy(filters), np.float32))
    if layer.power_to_db:
        reference = max(abs(float(layer.ref_power)), layer.min_power)
        bands = ops.log(ops.maximum(bands, layer.min_power)) * DECIBELS - float(DECIBELS * np.log(reference))
        loudest = ops.max(bands, axis=tuple(range(1, len(bands.shape))), keepdims=True)
        bands = ops.maximum(bands, loudest - float(layer.top_db))
    return ops.swapaxes(bands, -1, -2)


def _window(name: Any, length: int, size: int) -> np.ndarray:
    """Weights of a frame's samples, zeros on both sides."""
    if name not in WINDOWS:
        raise NotImplementedError(f"the window {name!r} is not supported; use {', '.join(map(repr, WINDOWS))}")
    turns = 2 * np.pi * np.arange(length) / length
    shape = WINDOWS[name] - (1 - WINDOWS[name]) * np.cos(turns)
    before = (size - length) // 2
    return np.pad(shape, (before, size - length - before)).astype(np.float32)


@register_opening(layers.AutoContrast)
def _auto_contrast(layer: Any, x: Any, **options: Any) -> Any:
    """Each channel stretched over the whole range of values."""
    low, high = (float(limit) for limit in layer.value_range)
    axes = (1, 2)
    least = ops.min(x, axis=axes, keepdims=True)
    return (x - least) * (high - low) / (ops.max(x, axis=axes, keepdims=True) - least) + low
