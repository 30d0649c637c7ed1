"""What a training takes where nothing else is asked for. The command tells it in `--help`, before Keras is there."""

from __future__ import annotations

BATCH_SIZE = 64
"""Images of one step of training, unless the caller wants others."""

LEARNING_RATE = 4e-3
"""Peak learning rate of networks without batch normalization."""

BATCH_NORM_LEARNING_RATE = 1e-2
"""Peak learning rate of networks with batch normalization, whose activations bear larger steps."""
