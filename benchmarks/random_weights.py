"""Random weights under which a network still passes its input on, for models that nobody trained."""

from __future__ import annotations

import keras
import numpy as np


def live_in(model: keras.Model, images: np.ndarray) -> keras.Model:
    """Give the model's batch normalizations random scales and the statistics of real images, as training would.

    With the statistics that they start with, values fade from layer to layer, and little is left to quantize. The
    scales are small and the shifts positive, or such a network would amplify the least error a hundredfold.

    Args:
        model: changed in place.
        images: (N, height, width, channels) as the model takes them.
    """
    random = np.random.default_rng(0)
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        size = layer.moving_mean.shape
        if layer.gamma is not None:
            layer.gamma.assign(random.uniform(0.3, 0.7, size))
        if layer.beta is not None:
            layer.beta.assign(random.uniform(0, 1, size))
        layer.momentum = 0.0
    if normalizations:
        model(images, training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
    return model
