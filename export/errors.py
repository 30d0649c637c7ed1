"""What export refuses, and why."""

from keras_classics.errors import FailedPartError, GateError, InputError

__all__ = ["CalibrationWarning", "ConversionError", "GateError", "InputError", "UnsupportedLayerError"]


class UnsupportedLayerError(InputError):
    """A layer that no bridge knows. The message names it, its class and what to do."""


class ConversionError(FailedPartError):
    """The worker failed on a request or died of it: a fault of ours, of the converter, or too little memory."""


class CalibrationWarning(UserWarning):
    """Data that can be used, and probably is not what the model was trained on."""
