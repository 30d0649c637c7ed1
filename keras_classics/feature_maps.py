"""Models made of a model: its intermediate features, and what is left of it after training."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from keras_classics.errors import InputError


def features(
    model: keras.Model, stages: Sequence[str] | None = None, strides: Sequence[int] | None = None
) -> keras.Model:
    """A model with the same input and weights that returns feature maps from within, as a list.

    Args:
        model: a functional model of images.
        stages: the last map of each stage that is named: of the layers called so, or so and then
            `_…`; such as "stage3" (ResNet, VGG, MobileNetV2), "inception_4e", "block6" or "conv5".
        strides: the last map of each resolution, as pixels of the image for one of the map: such
            as (8, 16, 32). With neither, all strides of the model in ascending order.

    Raises:
        ValueError: the model has no such stage or stride, or both were given.
    """
    if stages is not None and strides is not None:
        raise InputError("features takes stages or strides; leave one out")
    maps = [layer for layer in model.layers if len(layer.output.shape) == 4]
    if stages is not None:
        return keras.Model(model.input, [_last_of_stage(maps, stage) for stage in stages], name=model.name)
    last = _last_by_stride(maps)
    wanted = sorted(last) if strides is None else strides
    if missing := [stride for stride in wanted if stride not in last]:
        raise InputError(f"{model.name} has no features of stride {missing[0]}; it has {', '.join(map(str, last))}")
    return keras.Model(model.input, [last[stride] for stride in wanted], name=model.name)


def inference_model(model: keras.Model) -> keras.Model:
    """The model without auxiliary heads, whose outputs are those named `auxiliary_…`; shares its weights."""
    names = model.output_names
    kept = [output for output, name in zip(model.outputs, names, strict=True) if not name.startswith("auxiliary_")]
    if len(kept) == len(names):
        return model
    return keras.Model(model.input, kept[0] if len(kept) == 1 else kept, name=model.name)


def _last_of_stage(maps: list[keras.Layer], stage: str) -> keras.KerasTensor:
    outputs = [layer.output for layer in maps if layer.name == stage or layer.name.startswith(f"{stage}_")]
    if not outputs:
        raise InputError(f"no layer of feature maps is called {stage!r} or {stage + '_…'!r}; see model.summary()")
    return outputs[-1]


def _last_by_stride(maps: list[keras.Layer]) -> dict[int, keras.KerasTensor]:
    """The last tensor of each stride above 1, from how the layers stride.

    What a block computes at the old resolution before its convolution strides is not counted.
    """
    strides: dict[int, int] = {}
    leaving: dict[int, str] = {}
    for layer in maps:
        before = max((strides[id(tensor)] for tensor in keras.tree.flatten(layer.input)), default=1)
        step = getattr(layer, "strides", 1)
        after = before * (step if isinstance(step, int) else step[0])
        strides[id(layer.output)] = after
        if after > before and layer.weights:
            leaving[before] = _block(layer)
    last: dict[int, keras.KerasTensor] = {}
    for layer in maps:
        stride = strides[id(layer.output)]
        if stride > 1 and leaving.get(stride) != _block(layer) and not isinstance(layer, layers.ZeroPadding2D):
            last[stride] = layer.output
    return last


def _block(layer: keras.Layer) -> str:
    """`stageS_blockB`, `blockB` or `stem` of the names that end in `_PART_conv` or `_conv`."""
    parts = layer.name.split("_")
    return "_".join(parts[:-2] or parts[:1])
