"""The classic convolutional networks for Keras 3, true to their papers, on TensorFlow, JAX and PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_classics import registration

if TYPE_CHECKING:
    from export import (
        Clustering,
        FineTuning,
        PostTraining,
        Pruning,
        Report,
        Samples,
        Worker,
        export_tflite,
        load_classifier,
        register_bridge,
    )
    from keras_classics.alexnet import AlexNet
    from keras_classics.cost import Cost, LayerCost, model_cost
    from keras_classics.feature_maps import features, inference_model
    from keras_classics.googlenet import GoogLeNet
    from keras_classics.lenet import LeNet5
    from keras_classics.mobilenet_v1 import MobileNetV1
    from keras_classics.mobilenet_v2 import MobileNetV2
    from keras_classics.pretrained.catalog import published_weights
    from keras_classics.pretrained.imagenet import decode_predictions, preprocessing_for
    from keras_classics.registry import create_model, list_models
    from keras_classics.resnet import (
        ResNet18,
        ResNet20,
        ResNet32,
        ResNet34,
        ResNet44,
        ResNet50,
        ResNet56,
        ResNet101,
        ResNet110,
        ResNet152,
    )
    from keras_classics.training.losses import MaximumAPosteriori
    from keras_classics.vgg import VGG11, VGG13, VGG16, VGG19
    from keras_classics.weights import save_weights

__all__ = [
    "VGG11",
    "VGG13",
    "VGG16",
    "VGG19",
    "AlexNet",
    "Clustering",
    "Cost",
    "FineTuning",
    "GoogLeNet",
    "LayerCost",
    "LeNet5",
    "MaximumAPosteriori",
    "MobileNetV1",
    "MobileNetV2",
    "PostTraining",
    "Pruning",
    "Report",
    "ResNet18",
    "ResNet20",
    "ResNet32",
    "ResNet34",
    "ResNet44",
    "ResNet50",
    "ResNet56",
    "ResNet101",
    "ResNet110",
    "ResNet152",
    "Samples",
    "Worker",
    "create_model",
    "decode_predictions",
    "export_tflite",
    "features",
    "inference_model",
    "list_models",
    "load_classifier",
    "model_cost",
    "preprocessing_for",
    "published_weights",
    "register_bridge",
    "save_weights",
]

_HOMES = {
    "AlexNet": "alexnet",
    "Cost": "cost",
    "GoogLeNet": "googlenet",
    "LayerCost": "cost",
    "LeNet5": "lenet",
    "MaximumAPosteriori": "training.losses",
    "MobileNetV1": "mobilenet_v1",
    "MobileNetV2": "mobilenet_v2",
    **{f"ResNet{depth}": "resnet" for depth in (18, 20, 32, 34, 44, 50, 56, 101, 110, 152)},
    **{f"VGG{depth}": "vgg" for depth in (11, 13, 16, 19)},
    "create_model": "registry",
    "decode_predictions": "pretrained.imagenet",
    "features": "feature_maps",
    "inference_model": "feature_maps",
    "list_models": "registry",
    "model_cost": "cost",
    "preprocessing_for": "pretrained.imagenet",
    "published_weights": "pretrained.catalog",
    "save_weights": "weights",
}

registration.with_keras()


def __getattr__(name: str) -> Any:
    """Import on first use, so that a command answers `--help` before Keras and its backend are there."""
    if name in _HOMES:
        value = getattr(import_module(f"keras_classics.{_HOMES[name]}"), name)
    elif name in __all__:
        value = getattr(import_module("keras_classics.siblings").sibling("export"), name)
    else:
        raise AttributeError(f"module 'keras_classics' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
