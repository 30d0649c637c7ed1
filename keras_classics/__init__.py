"""The classic convolutional networks for Keras 3, true to their papers, on TensorFlow, JAX and PyTorch."""

from keras_classics.alexnet import AlexNet
from keras_classics.cost import Cost, LayerCost, model_cost
from keras_classics.features import features, inference_model
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
    "Cost",
    "GoogLeNet",
    "LayerCost",
    "LeNet5",
    "MaximumAPosteriori",
    "MobileNetV1",
    "MobileNetV2",
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
    "create_model",
    "decode_predictions",
    "features",
    "inference_model",
    "list_models",
    "model_cost",
    "preprocessing_for",
    "published_weights",
    "save_weights",
]
