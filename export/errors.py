"""What export refuses, and why."""

from keras_classics.errors import GateError, InputError

__all__ = ["CalibrationWarning", "ConversionError", "GateError", "InputError", "UnsupportedLayerError"]


class UnsupportedLayerError(InputError):
    """A layer that no bridge knows. The message names it, its class and what to do."""


class ConversionError(RuntimeError):
    """The worker failed on a graph it was given: a fault of ours or of the converter."""


class CalibrationWarning(UserWarning):
    """Data that can be used, and probably is not what the model was trained on."""
