"""From any Keras 3 model, under any backend, to a verified TFLite file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.classifier import Classifier, load_classifier
    from export.client import Worker
    from export.data.sources import Samples
    from export.errors import CalibrationWarning, ConversionError, GateError, InputError, UnsupportedLayerError
    from export.frontend.builder import register_bridge
    from export.pipeline import export_tflite
    from export.quantization.ptq import PostTraining
    from export.quantization.qat import FineTuning
    from export.quantization.sparsity import Clustering, Pruning
    from export.report import Report

__all__ = [
    "CalibrationWarning",
    "Classifier",
    "Clustering",
    "ConversionError",
    "FineTuning",
    "GateError",
    "InputError",
    "PostTraining",
    "Pruning",
    "Report",
    "Samples",
    "UnsupportedLayerError",
    "Worker",
    "export_tflite",
    "load_classifier",
    "register_bridge",
]

_HOMES = {
    "Classifier": "classifier",
    "load_classifier": "classifier",
    "register_bridge": "frontend.builder",
    "Clustering": "quantization.sparsity",
    "FineTuning": "quantization.qat",
    "Pruning": "quantization.sparsity",
    "export_tflite": "pipeline",
    "PostTraining": "quantization.ptq",
    "Report": "report",
    "Samples": "data.sources",
    "Worker": "client",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the worker, which must not import Keras 3, lives in this package too."""
    if name not in __all__:
        raise AttributeError(f"module 'export' has no attribute {name!r}")
    return getattr(import_module(f"export.{_HOMES.get(name, 'errors')}"), name)
