"""AdamW with a learning rate of its own for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_classics")
class LayerwiseAdamW(keras.optimizers.Adam):
    """AdamW whose steps are multiplied by a factor for each variable.

    Weight decay is a share of the weight and of that same step (Loshchilov and Hutter, "Decoupled
    Weight Decay Regularization", 2019); rates that fall from the classifier to the image are Howard
    and Ruder's, "Universal Language Model Fine-tuning for Text Classification", 2018.

    Args:
        learning_rate: of variables without a factor: a number or a schedule.
        weight_decay: the share of each weight that a step takes away, times the learning rate.
        rates: factors of the learning rate by the variables' paths.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        name: str = "layerwise_adamw",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.decay_share, self.rates = weight_decay, dict(rates or {})
        self.factors: list[float] = []

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Make the moments of these variables."""
        if not self.built:
            self.factors = [self.rates.get(variable.path, 1.0) for variable in variables]
        super().build(variables)

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Take one step for one variable."""
        rate = learning_rate * self.factors[self._get_variable_index(variable)]  # TensorFlow's variables have no path
        decayed = keras.ops.cast(rate, variable.dtype) * keras.ops.cast(self.decay_share, variable.dtype)
        self.assign_sub(variable, variable * decayed)
        super().update_step(gradient, variable, rate)

    def get_config(self) -> dict[str, Any]:
        """All arguments, as JSON knows them."""
        config: dict[str, Any] = super().get_config()
        config.pop("weight_decay")
        return config | {"weight_decay": self.decay_share, "rates": self.rates}
