"""Fake quantization whose range learns from what rounding costs."""

import numpy as np
import pytest

STEPS = 255


def by_parts(values, low, high):
    """The same from operations whose gradients TensorFlow knows; rounding passes its gradient on."""
    import tensorflow as tf

    step = (high - low) / STEPS
    zero = tf.stop_gradient(tf.round(-low / step))
    whole = tf.clip_by_value(values / step, -zero, STEPS - zero)
    return step * (whole + tf.stop_gradient(tf.round(whole) - whole))


@pytest.mark.parametrize("limits", [(-1.3, 2.2), (-0.4, 0.1), (0.0, 1.5)])
def test_values_and_gradients_are_those_of_its_parts(limits: tuple[float, float]) -> None:
    import tensorflow as tf

    from export.worker.learned_ranges import fake_quantize

    random = np.random.default_rng(0)
    steps = random.integers(-400, 400, (40, 50)) + random.uniform(-0.4, 0.4, (40, 50))  # no ties in rounding
    values = tf.constant(steps * (limits[1] - limits[0]) / STEPS, tf.float32)
    weights = tf.constant(random.normal(size=values.shape), tf.float32)
    low, high = (tf.constant(limit, tf.float32) for limit in limits)
    found = []
    for function in (fake_quantize, by_parts):
        with tf.GradientTape() as tape:
            tape.watch([values, low, high])
            result = function(values, low, high)
            total = tf.reduce_sum(result * weights)
        found.append([result, *tape.gradient(total, [values, low, high])])
    for ours, expected in zip(*found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)
