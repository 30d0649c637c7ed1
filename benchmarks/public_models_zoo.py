"""Networks that the public builds, written from their descriptions and small, as `keras.Model`s that end in scores.

None of them was looked at when the export was made. Each function takes the shape of a sample, or of several inputs.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Shape = tuple[int, ...]
MOMENTUM = 0.9
"""Of batch normalizations: Keras's 0.99 takes longer to forget its start than these trainings last."""


@keras.saving.register_keras_serializable("public")
class Patches(layers.Layer):
    """An image as a sequence of flattened patches."""

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = size

    def call(self, images: Any) -> Any:
        patches = ops.image.extract_patches(images, self.size)
        return ops.reshape(patches, (-1, patches.shape[1] * patches.shape[2], patches.shape[3]))


@keras.saving.register_keras_serializable("public")
class PatchEncoder(layers.Layer):
    """Patches projected, and what their places have learned added."""

    def __init__(self, count: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.count = count
        self.projection = layers.Dense(width)
        self.places = layers.Embedding(count, width)

    def call(self, patches: Any) -> Any:
        return self.projection(patches) + self.places(ops.expand_dims(ops.arange(self.count), 0))


def _perceptron(x: Any, units: tuple[int, ...], dropout: float) -> Any:
    for count in units:
        x = layers.Dropout(dropout)(layers.Dense(count, activation="gelu")(x))
    return x


def _encoder(x: Any, heads: int, width: int, dropout: float = 0.1) -> Any:
    """A transformer block that normalizes before attention and before the perceptron."""
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([layers.MultiHeadAttention(heads, width // heads, dropout=dropout)(y, y), x])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    return layers.Add()([_perceptron(y, (2 * width, width), dropout), x])


def vit(shape: Shape, classes: int) -> keras.Model:
    """A vision transformer (Dosovitskiy et al. 2021) as Keras's example has it: all tokens are flattened."""
    image = layers.Input(shape)
    x = Patches(4)(image)
    x = PatchEncoder(x.shape[1], 48)(x)
    for _ in range(3):
        x = _encoder(x, 3, 48)
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x))
    x = _perceptron(layers.Dropout(0.3)(x), (64,), 0.3)
    return keras.Model(image, layers.Dense(classes)(x), name="vit")


def _inverted_residual(x: Any, channels: int, stride: int) -> Any:
    y = layers.Conv2D(2 * x.shape[-1], 1, use_bias=False)(x)
    y = layers.Activation("swish")(layers.BatchNormalization(momentum=MOMENTUM)(y))
    y = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(y)
    y = layers.Activation("swish")(layers.BatchNormalization(momentum=MOMENTUM)(y))
    y = layers.BatchNormalization(momentum=MOMENTUM)(layers.Conv2D(channels, 1, use_bias=False)(y))
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y


def _mobilevit_block(x: Any, width: int, blocks: int) -> Any:
    """Local features as words, attention between those at the same place of each patch, and both joined."""
    local = layers.Conv2D(width, 1, activation="swish")(layers.Conv2D(width, 3, padding="same", activation="swish")(x))
    height, breadth = local.shape[1:3]
    y = layers.Reshape((4, height * breadth // 4, width))(local)
    for _ in range(blocks):
        y = _encoder(y, 2, width)
    y = layers.Conv2D(x.shape[-1], 1, activation="swish")(layers.Reshape((height, breadth, width))(y))
    y = layers.Concatenate()([x, y])
    return layers.Conv2D(x.shape[-1], 3, padding="same", activation="swish")(y)


def mobilevit(shape: Shape, classes: int) -> keras.Model:
    """Convolutions and attention in turn (Mehta and Rastegari 2022)."""
    image = layers.Input(shape)
    x = layers.Conv2D(16, 3, 2, "same", activation="swish")(image)
    x = _inverted_residual(_inverted_residual(x, 16, 1), 24, 2)
    x = _mobilevit_block(_inverted_residual(x, 24, 1), 32, 2)
    x = layers.Conv2D(64, 1, activation="swish")(_inverted_residual(x, 32, 2))
    return keras.Model(image, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)), name="mobilevit")


def mlp_mixer(shape: Shape, classes: int) -> keras.Model:
    """Perceptrons over places and over channels in turn (Tolstikhin et al. 2021)."""
    image = layers.Input(shape)
    x = Patches(4)(image)
    x = layers.Dense(48)(x)
    for _ in range(3):
        y = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-6)(x))
        y = layers.Dense(x.shape[1])(layers.Dense(96, activation="gelu")(y))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([x, layers.Dense(48)(layers.Dense(96, activation="gelu")(y))])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, layers.Dense(classes)(layers.Dropout(0.2)(x)), name="mlp_mixer")


def convmixer(shape: Shape, classes: int) -> keras.Model:
    """Depthwise and pointwise convolutions of patches (Trockman and Kolter 2022)."""
    image = layers.Input(shape)
    x = layers.BatchNormalization(momentum=MOMENTUM)(layers.Activation("gelu")(layers.Conv2D(48, 2, 2)(image)))
    for _ in range(3):
        y = layers.BatchNormalization(momentum=MOMENTUM)(
            layers.Activation("gelu")(layers.DepthwiseConv2D(5, padding="same")(x))
        )
        x = layers.Conv2D(48, 1)(layers.Add()([y, x]))
        x = layers.BatchNormalization(momentum=MOMENTUM)(layers.Activation("gelu")(x))
    return keras.Model(image, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)), name="convmixer")


def siamese(shape: Shape) -> keras.Model:
    """Whether two images show the same: the distance of what one network makes of both, as Keras's example has it."""
    image = layers.Input(shape)
    x = layers.BatchNormalization(momentum=MOMENTUM)(image)
    x = layers.AveragePooling2D(2)(layers.Conv2D(4, 5, activation="tanh")(x))
    x = layers.AveragePooling2D(2)(layers.Conv2D(16, 5, activation="tanh")(x))
    x = layers.BatchNormalization(momentum=MOMENTUM)(layers.Flatten()(x))
    embedding = keras.Model(image, layers.Dense(10, activation="tanh")(x), name="embedding")
    left, right = layers.Input(shape, name="left"), layers.Input(shape, name="right")

    def distance(both: Any) -> Any:
        total = ops.sum(ops.square(both[0] - both[1]), axis=1, keepdims=True)
        return ops.sqrt(ops.maximum(total, keras.backend.epsilon()))

    x = layers.Lambda(distance, output_shape=(1,))([embedding(left), embedding(right)])
    return keras.Model([left, right], layers.Dense(1)(layers.BatchNormalization(momentum=MOMENTUM)(x)), name="siamese")


def _twice(x: Any, channels: int) -> Any:
    for _ in range(2):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
    return x


def unet(shape: Shape, classes: int) -> keras.Model:
    """Down and up again, with what was seen on the way down (Ronneberger et al. 2015)."""
    image = layers.Input(shape)
    x, skips = image, []
    for channels in (8, 16):
        skips.append(_twice(x, channels))
        x = layers.Dropout(0.1)(layers.MaxPooling2D(2)(skips[-1]))
    x = _twice(x, 32)
    for skip in reversed(skips):
        x = layers.Conv2DTranspose(skip.shape[-1], 3, 2, "same")(x)
        x = _twice(layers.Concatenate()([x, skip]), skip.shape[-1])
    return keras.Model(image, layers.Conv2D(classes, 1)(x), name="unet")


def _normalized(x: Any, channels: int, size: int = 3, dilation: int = 1, stride: int = 1) -> Any:
    x = layers.Conv2D(channels, size, stride, "same", dilation_rate=dilation, use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(x))


def deeplab(shape: Shape, classes: int) -> keras.Model:
    """Dilated convolutions at several rates beside the mean of all (Chen et al. 2018), joined with early features."""
    image = layers.Input(shape)
    early = _normalized(image, 12, stride=2)
    x = _normalized(_normalized(early, 24, stride=2), 24)
    size = x.shape[1:3]
    pooled = _normalized(layers.AveragePooling2D(size)(x), 16, 1)
    pooled = layers.UpSampling2D(size, interpolation="bilinear")(pooled)
    rates = [_normalized(x, 16, 1 if rate == 1 else 3, rate) for rate in (1, 2, 4)]
    x = _normalized(layers.Concatenate()([pooled, *rates]), 24, 1)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Concatenate()([x, _normalized(early, 8, 1)])
    x = layers.UpSampling2D(2, interpolation="bilinear")(_normalized(x, 24))
    return keras.Model(image, layers.Conv2D(classes, 1)(x), name="deeplab")


def keyword_gru(shape: Shape, classes: int) -> keras.Model:
    """A keyword spotter: convolutions in time, recurrent layers, a score (Arik et al. 2017)."""
    sound = layers.Input(shape)
    x = layers.BatchNormalization(momentum=MOMENTUM)(layers.Conv1D(32, 5, 2, "same", activation="relu")(sound))
    x = layers.GRU(32)(layers.GRU(32, return_sequences=True)(x))
    return keras.Model(sound, layers.Dense(classes)(layers.Dense(32, activation="relu")(x)), name="keyword_gru")


def tcn(shape: Shape, classes: int) -> keras.Model:
    """Dilated causal convolutions with shortcuts (Bai et al. 2018)."""
    x = sequence = layers.Input(shape)
    for dilation in (1, 2, 4):
        y = x
        for _ in range(2):
            y = layers.Conv1D(24, 3, padding="causal", dilation_rate=dilation, activation="relu")(y)
            y = layers.SpatialDropout1D(0.1)(layers.LayerNormalization()(y))
        shortcut = x if x.shape[-1] == 24 else layers.Conv1D(24, 1)(x)
        x = layers.Activation("relu")(layers.Add()([shortcut, y]))
    x = layers.Lambda(lambda steps: steps[:, -1])(x)
    return keras.Model(sequence, layers.Dense(classes)(x), name="tcn")


def autoencoder(shape: Shape) -> keras.Model:
    """An image through a narrow place, as Keras's example has it."""
    image = layers.Input(shape)
    x = layers.MaxPooling2D(2)(layers.Conv2D(16, 3, padding="same", activation="relu")(image))
    x = layers.MaxPooling2D(2)(layers.Conv2D(16, 3, padding="same", activation="relu")(x))
    x = layers.Conv2DTranspose(16, 3, 2, "same", activation="relu")(x)
    x = layers.Conv2DTranspose(16, 3, 2, "same", activation="relu")(x)
    return keras.Model(image, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x), name="autoencoder")


def deep_and_wide(features: int, columns: int, words: int, classes: int) -> keras.Model:
    """Numbers, and columns of categories, embedded for the deep side and one-hot for the wide (Cheng et al. 2016)."""
    numbers = layers.Input((features,), name="numbers")
    categories = [layers.Input((1,), dtype="int32", name=f"category_{index}") for index in range(columns)]
    embedded = [layers.Flatten()(layers.Embedding(words, 4)(each)) for each in categories]
    wide = [layers.CategoryEncoding(words, "one_hot")(each) for each in categories]
    deep = layers.Concatenate()([numbers, *embedded])
    for units in (32, 32):
        deep = layers.Dropout(0.1)(
            layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(layers.Dense(units)(deep)))
        )
    wide_side = layers.BatchNormalization(momentum=MOMENTUM)(layers.Concatenate()([numbers, *wide]))
    both = layers.Concatenate()([deep, wide_side])
    return keras.Model([numbers, *categories], layers.Dense(classes)(both), name="deep_and_wide")


def crnn(shape: Shape, classes: int) -> keras.Model:
    """Convolutions, columns as steps, recurrent layers both ways, a score a step (Shi et al. 2017)."""
    image = layers.Input(shape)
    x = layers.MaxPooling2D(2)(layers.Conv2D(16, 3, padding="same", activation="relu")(image))
    x = layers.MaxPooling2D(2)(layers.Conv2D(24, 3, padding="same", activation="relu")(x))
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Dense(32, activation="relu")(layers.Reshape((x.shape[1], -1))(x))
    x = layers.Bidirectional(layers.LSTM(24, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(x)
    return keras.Model(image, layers.Dense(classes)(x), name="crnn")
