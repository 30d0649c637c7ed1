"""What a training takes where nothing else is asked for. The command tells it in `--help`, before Keras is there."""

from __future__ import annotations

BATCH_SIZE = 64
"""Images of one step of training, unless the caller wants others."""

LEARNING_RATE = 4e-3
"""Peak learning rate of networks without batch normalization."""

BATCH_NORM_LEARNING_RATE = 1e-2
"""Peak learning rate of networks with batch normalization, whose activations bear larger steps."""

CHECKPOINT_MINUTES = 10.0
"""A checkpoint is written after each epoch, and when the last one is older than this."""

CLASSIFIER_LEARNING_RATE = 4e-3
"""Peak learning rate of a classifier alone."""

UNFROZEN_LEARNING_RATE = 1e-4
"""Peak learning rate of a network that was trained before, so that steps leave what it knows."""

FINE_TUNING_BATCH_SIZE = 32
"""Images of one step of fine-tuning; small folders have few steps in an epoch as it is."""
