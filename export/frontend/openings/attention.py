"""Attention, with masks that 8 bits can hold.

Keras adds a number near −10⁹ to the scores that a mask hides, which would take all of an 8-bit range. Here they are put
so far below the least score of their row that they get no share, which is the same.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops

from export.frontend.opening import register_opening

HIDDEN = 20.0  # e⁻²⁰ is 2 · 10⁻⁹


def masked_softmax(scores: Any, mask: Any, axis: int = -1) -> Any:
    """Softmax over what a mask, or None, lets through; it is repeated over axes of size 1."""
    if mask is None:
        return ops.softmax(scores, axis=axis)
    least = ops.min(scores, axis=axis, keepdims=True)
    return ops.softmax(ops.where(mask, scores, least - HIDDEN), axis=axis)


@register_opening(layers.Softmax)
def _softmax(layer: Any, x: Any, mask: Any = None) -> Any:
    return masked_softmax(x, mask, layer.axis)


@register_opening("DotProductAttention")
def _dot_product_attention(
    operation: Any, query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, scale: Any = None
) -> Any:
    """Of (batch, length, heads, size); several heads may share a key and a value."""
    query, key, value = (ops.transpose(each, (0, 2, 1, 3)) for each in (query, key, value))
    sharing = query.shape[1] // key.shape[1]
    if sharing > 1:
        key, value = (ops.repeat(each, sharing, axis=1) for each in (key, value))
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    scores = ops.matmul(query * scale, ops.transpose(key, (0, 1, 3, 2)))
    if operation.attn_logits_soft_cap is not None:
        cap = float(operation.attn_logits_soft_cap)
        scores = ops.tanh(scores / cap) * cap
    scores = scores if bias is None else scores + bias
    if operation.is_causal:
        mask = _both(mask, np.tri(*scores.shape[-2:], dtype=np.bool_)[None, None])
    return ops.transpose(ops.matmul(masked_softmax(scores, mask), value), (0, 2, 1, 3))


@register_opening(layers.Attention)
def _attention(layer: Any, inputs: Any, mask: Any = None, use_causal_mask: bool = False, **options: Any) -> Any:
    """Luong's, of (batch, length, size)."""
    query, value, key = _three(inputs)
    if layer.score_mode == "dot":
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1)))
        scores = scores if layer.scale is None else scores * layer.scale
    else:
        total = _sum_of_pairs(query, key, layer.scale)
        scores = ops.sum(ops.tanh(total), axis=-1)
        scores = scores if layer.concat_score_weight is None else scores * layer.concat_score_weight
    return _attended(layer, scores, value, mask, use_causal_mask, options)


@register_opening(layers.AdditiveAttention)
def _additive_attention(
    layer: Any, inputs: Any, mask: Any = None, use_causal_mask: bool = False, **options: Any
) -> Any:
    """Bahdanau's, of (batch, length, size)."""
    query, value, key = _three(inputs)
    activated = ops.tanh(_sum_of_pairs(query, key, None))
    scores = ops.sum(activated if layer.scale is None else activated * layer.scale, axis=-1)
    return _attended(layer, scores, value, mask, use_causal_mask, options)


def _sum_of_pairs(query: Any, key: Any, scale: Any) -> Any:
    total = ops.expand_dims(query, 2) + ops.expand_dims(key, 1)
    return total if scale is None else total * scale


def _three(inputs: Any) -> tuple[Any, Any, Any]:
    query, value = inputs[:2]
    return query, value, inputs[2] if len(inputs) > 2 else value


def _attended(layer: Any, scores: Any, value: Any, masks: Any, causal: bool, options: dict[str, Any]) -> Any:
    """The weighted values, zero where the query is masked."""
    of_query, of_value = (*(masks or ()), None, None)[:2]
    mask = None if of_value is None else ops.expand_dims(of_value, 1)
    if causal:
        mask = _both(mask, np.tri(*scores.shape[-2:], dtype=np.bool_)[None])
    weights = masked_softmax(scores, mask)
    result = ops.matmul(weights, value)
    if of_query is not None:
        result = result * ops.cast(ops.expand_dims(of_query, -1), "float32")
    return (result, weights) if options.get("return_attention_scores") else result


def _both(mask: Any, other: Any) -> Any:
    return other if mask is None else ops.logical_and(mask, other)
