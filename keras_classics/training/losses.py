"""The loss that a paper brought along and Keras lacks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_classics")
class MaximumAPosteriori(keras.losses.Loss):
    """The discriminative criterion of LeCun et al. 1998, equation 9, for `LeNet5(variant="1998")`.

    With distances y to the codes: y of the right class + log(e^-j + Σ e^-y over all classes). It
    pulls the right code nearer and pushes the others away, those farther than j hardly.

    Args:
        rubbish_penalty: j, the distance of a class of rubbish, above 0. The paper gives no value.

    Call arguments: labels, integers (batch,) or (batch, 1), and minus the distances, (batch, classes).
    """

    def __init__(
        self,
        rubbish_penalty: float = 0.1,
        reduction: str = "sum_over_batch_size",
        name: str = "maximum_a_posteriori",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.rubbish_penalty = rubbish_penalty

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        right = ops.sum(y_pred * ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype), axis=-1)
        rubbish = ops.full_like(y_pred[:, :1], -self.rubbish_penalty)
        return ops.logsumexp(ops.concatenate([y_pred, rubbish], axis=-1), axis=-1) - right

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {"rubbish_penalty": self.rubbish_penalty}
