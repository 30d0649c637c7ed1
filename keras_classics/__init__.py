"""The classic convolutional networks for Keras 3, true to their papers, on TensorFlow, JAX and PyTorch."""

from keras_classics.cost import Cost, LayerCost, model_cost
from keras_classics.lenet import LeNet5
from keras_classics.mobilenet_v2 import MobileNetV2
from keras_classics.registry import create_model, list_models

__all__ = [
    "Cost",
    "LayerCost",
    "LeNet5",
    "MobileNetV2",
    "create_model",
    "list_models",
    "model_cost",
]
