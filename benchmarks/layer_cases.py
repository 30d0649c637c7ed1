"""The cases of the table of layers: every public class of `keras.layers`, every function of `keras.ops`, or why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

SAMPLES = 4

STATEFUL = "keeps a table or state of its own between calls"
STRINGS = "works on strings"
TRAINING = "is for training: a loss, a gradient or random numbers"
COMPLEX = "gives or takes complex numbers"
DYNAMIC = "gives a shape that depends on the values"
ALGEBRA = "a matrix decomposition, which TFLite lacks"
CREATION = "takes no tensor: what it gives is a constant in any model"
SHAPES = "tells of shapes or types, or converts; no computation"
CONTROL = "takes Python functions that are run by the backend: control flow"
BITS = "works on the bits of integers"
COMPUTED_PLACES = "takes or puts numbers at places that are computed, or from a transform that is"
BATCH = "joins, sorts or counts over all values, across the batch"
BROKEN = "fails in Keras 3.15 itself in a functional model"
FOREIGN = "wraps another framework"
BASE = "a base class or a helper, no computation of its own"


@dataclass(frozen=True)
class Case:
    """A model of one layer or operation: what it makes of its inputs, and what these are like."""

    build: Callable[..., Any]
    shapes: Sequence[tuple[int, ...]] = ((6, 8, 4),)
    values: str = "normal"


def rows(build: Callable[..., Any], values: str = "normal", inputs: int = 1) -> Case:
    """A case of matrices (5, 6)."""
    return Case(build, ((5, 6),) * inputs, values)


def sequence(build: Callable[..., Any], values: str = "normal", inputs: int = 1) -> Case:
    """A case of sequences of seven steps of four numbers."""
    return Case(build, ((7, 4),) * inputs, values)


def image(build: Callable[..., Any], values: str = "normal") -> Case:
    """A case of images (6, 8, 4)."""
    return Case(build, ((6, 8, 4),), values)


def volume(build: Callable[..., Any]) -> Case:
    """A case of volumes (5, 6, 7, 2)."""
    return Case(build, ((5, 6, 7, 2),))


def ids(build: Callable[..., Any], length: int = 7) -> Case:
    """A case of indices from 0 to 9, the last ones of each sample 0."""
    return Case(build, ((length,),), "ids")


def _constant(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


CORNERS = np.tile(np.array([[0.0, 0.0], [0.0, 5.0], [4.0, 0.0], [4.0, 5.0]], np.float32), (4, 1, 1))

LAYERS: dict[str, Case] = {
    "Activation": rows(lambda x: layers.Activation("mish")(x)),
    "ActivityRegularization": rows(lambda x: layers.ActivityRegularization(0.1)(x)),
    "AdaptiveAveragePooling1D": sequence(lambda x: layers.AdaptiveAveragePooling1D(3)(x)),
    "AdaptiveAveragePooling2D": image(lambda x: layers.AdaptiveAveragePooling2D((3, 5))(x)),
    "AdaptiveAveragePooling3D": volume(lambda x: layers.AdaptiveAveragePooling3D(3)(x)),
    "AdaptiveMaxPooling1D": sequence(lambda x: layers.AdaptiveMaxPooling1D(3)(x)),
    "AdaptiveMaxPooling2D": image(lambda x: layers.AdaptiveMaxPooling2D((3, 5))(x)),
    "AdaptiveMaxPooling3D": volume(lambda x: layers.AdaptiveMaxPooling3D(3)(x)),
    "Add": rows(lambda x, y: layers.Add()([x, y]), inputs=2),
    "AdditiveAttention": sequence(lambda x, y: layers.AdditiveAttention()([x, y], use_causal_mask=True), inputs=2),
    "AlphaDropout": rows(lambda x: layers.AlphaDropout(0.5)(x)),
    "Attention": sequence(lambda x, y: layers.Attention(use_scale=True)([x, y], use_causal_mask=True), inputs=2),
    "Average": rows(lambda x, y: layers.Average()([x, y]), inputs=2),
    "AveragePooling1D": sequence(lambda x: layers.AveragePooling1D(2)(x)),
    "AveragePooling2D": image(lambda x: layers.AveragePooling2D(3, 2, "same")(x)),
    "AveragePooling3D": volume(lambda x: layers.AveragePooling3D(2, 2, "same")(x)),
    "BatchNormalization": image(lambda x: layers.BatchNormalization(moving_variance_initializer="ones")(x)),
    "Bidirectional": sequence(lambda x: layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)),
    "CategoryEncoding": ids(lambda x: layers.CategoryEncoding(10, "multi_hot")(x)),
    "CenterCrop": image(lambda x: layers.CenterCrop(4, 5)(x)),
    "Concatenate": rows(lambda x, y: layers.Concatenate()([x, y]), inputs=2),
    "Conv1D": sequence(lambda x: layers.Conv1D(3, 3, dilation_rate=2, padding="causal")(x)),
    "Conv1DTranspose": sequence(lambda x: layers.Conv1DTranspose(3, 3, 2, output_padding=1)(x)),
    "Conv2D": image(lambda x: layers.Conv2D(6, 3, 2, "same", groups=2)(x)),
    "Conv2DTranspose": image(lambda x: layers.Conv2DTranspose(3, 3, dilation_rate=2)(x)),
    "Conv3D": volume(lambda x: layers.Conv3D(3, 3, 2, "same")(x)),
    "Conv3DTranspose": volume(lambda x: layers.Conv3DTranspose(3, 3, 2, "same")(x)),
    "ConvLSTM1D": Case(lambda x: layers.ConvLSTM1D(3, 3, padding="same")(x), ((4, 8, 2),)),
    "ConvLSTM2D": Case(lambda x: layers.ConvLSTM2D(3, 3, return_sequences=True)(x), ((3, 6, 6, 2),)),
    "ConvLSTM3D": Case(lambda x: layers.ConvLSTM3D(2, 3, padding="same")(x), ((3, 4, 4, 4, 2),)),
    "Cropping1D": sequence(lambda x: layers.Cropping1D(2)(x)),
    "Cropping2D": image(lambda x: layers.Cropping2D(((1, 0), (2, 1)))(x)),
    "Cropping3D": volume(lambda x: layers.Cropping3D(1)(x)),
    "Dense": rows(lambda x: layers.Dense(3, activation="gelu")(x)),
    "DepthwiseConv1D": sequence(lambda x: layers.DepthwiseConv1D(3, 2, "same", depth_multiplier=2)(x)),
    "DepthwiseConv2D": image(lambda x: layers.DepthwiseConv2D(3, 2)(x)),
    "Discretization": rows(lambda x: layers.Discretization([-1.0, 0.0, 0.5])(x)),
    "Dot": sequence(lambda x, y: layers.Dot(axes=2, normalize=True)([x, y]), inputs=2),
    "Dropout": rows(lambda x: layers.Dropout(0.5)(x)),
    "ELU": rows(lambda x: layers.ELU(0.5)(x)),
    "EinsumDense": sequence(lambda x: layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")(x)),
    "Embedding": ids(lambda x: layers.GlobalAveragePooling1D()(layers.Embedding(10, 4, mask_zero=True)(x))),
    "Flatten": image(lambda x: layers.Flatten()(x)),
    "GRU": sequence(lambda x: layers.GRU(3)(x)),
    "GRUCell": sequence(lambda x: layers.RNN(layers.GRUCell(3, reset_after=False), return_state=True)(x)),
    "GaussianDropout": rows(lambda x: layers.GaussianDropout(0.5)(x)),
    "GaussianNoise": rows(lambda x: layers.GaussianNoise(0.5)(x)),
    "GlobalAveragePooling1D": sequence(lambda x: layers.GlobalAveragePooling1D()(layers.Masking()(x)), "masked"),
    "GlobalAveragePooling2D": image(lambda x: layers.GlobalAveragePooling2D(keepdims=True)(x)),
    "GlobalAveragePooling3D": volume(lambda x: layers.GlobalAveragePooling3D()(x)),
    "GlobalMaxPooling1D": sequence(lambda x: layers.GlobalMaxPooling1D()(x)),
    "GlobalMaxPooling2D": image(lambda x: layers.GlobalMaxPooling2D()(x)),
    "GlobalMaxPooling3D": volume(lambda x: layers.GlobalMaxPooling3D()(x)),
    "GroupNormalization": image(lambda x: layers.GroupNormalization(2)(x)),
    "GroupQueryAttention": sequence(lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x)),
    "Identity": rows(lambda x: layers.Identity()(x)),
    "LSTM": sequence(lambda x: layers.LSTM(3, return_sequences=True)(layers.Masking()(x)), "masked"),
    "LSTMCell": sequence(lambda x: layers.RNN(layers.LSTMCell(3), go_backwards=True, return_state=True)(x)),
    "Lambda": rows(lambda x: layers.Lambda(lambda t: ops.tanh(t) * 2)(x)),
    "LayerNormalization": image(lambda x: layers.LayerNormalization(axis=(1, 2))(x)),
    "LeakyReLU": rows(lambda x: layers.LeakyReLU()(x)),
    "Masking": sequence(lambda x: layers.Masking()(x), "masked"),
    "Maximum": rows(lambda x, y: layers.Maximum()([x, y]), inputs=2),
    "MaxPooling1D": sequence(lambda x: layers.MaxPooling1D(2)(x)),
    "MaxPooling2D": image(lambda x: layers.MaxPooling2D(3, 2, "same")(x)),
    "MaxPooling3D": volume(lambda x: layers.MaxPooling3D(2)(x)),
    "Minimum": rows(lambda x, y: layers.Minimum()([x, y]), inputs=2),
    "MultiHeadAttention": sequence(lambda x: layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)),
    "Multiply": rows(lambda x, y: layers.Multiply()([x, y]), inputs=2),
    "Normalization": image(lambda x: layers.Normalization(mean=0.5, variance=2.0)(x)),
    "PReLU": rows(lambda x: layers.PReLU("glorot_uniform")(x)),
    "Permute": image(lambda x: layers.Permute((3, 1, 2))(x)),
    "RMSNormalization": rows(lambda x: layers.RMSNormalization()(x)),
    "RNN": sequence(lambda x: layers.RNN([layers.SimpleRNNCell(3), layers.GRUCell(4)])(x)),
    "ReLU": rows(lambda x: layers.ReLU(1.5, 0.1, 0.25)(x)),
    "RepeatVector": Case(lambda x: layers.RepeatVector(3)(x), ((6,),)),
    "Rescaling": image(lambda x: layers.Rescaling(0.5, 1.0)(x)),
    "Reshape": image(lambda x: layers.Reshape((8, -1))(x)),
    "Resizing": image(lambda x: layers.Resizing(4, 4, "bicubic", crop_to_aspect_ratio=True)(x)),
    "ReversibleEmbedding": ids(lambda x: layers.ReversibleEmbedding(10, 4)(x)),
    "SeparableConv1D": sequence(lambda x: layers.SeparableConv1D(3, 3)(x)),
    "SeparableConv2D": image(lambda x: layers.SeparableConv2D(3, 3, 2, "same")(x)),
    "SimpleRNN": sequence(lambda x: layers.SimpleRNN(3, return_sequences=True, go_backwards=True)(x)),
    "SimpleRNNCell": sequence(lambda x: layers.RNN(layers.SimpleRNNCell(3))(x)),
    "Softmax": image(lambda x: layers.Softmax(axis=(1, 2))(x)),
    "SpatialDropout1D": sequence(lambda x: layers.SpatialDropout1D(0.5)(x)),
    "SpatialDropout2D": image(lambda x: layers.SpatialDropout2D(0.5)(x)),
    "SpatialDropout3D": volume(lambda x: layers.SpatialDropout3D(0.5)(x)),
    "SpectralNormalization": image(lambda x: layers.SpectralNormalization(layers.Conv2D(3, 3))(x)),
    "StackedRNNCells": sequence(
        lambda x: layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(2)]))(x)
    ),
    "Subtract": rows(lambda x, y: layers.Subtract()([x, y]), inputs=2),
    "TimeDistributed": Case(lambda x: layers.TimeDistributed(layers.Conv2D(3, 3))(x), ((3, 6, 6, 2),)),
    "UnitNormalization": rows(lambda x: layers.UnitNormalization()(x)),
    "UpSampling1D": sequence(lambda x: layers.UpSampling1D(2)(x)),
    "UpSampling2D": image(lambda x: layers.UpSampling2D(2, interpolation="bicubic")(x)),
    "UpSampling3D": volume(lambda x: layers.UpSampling3D(2)(x)),
    "ZeroPadding1D": sequence(lambda x: layers.ZeroPadding1D(2)(x)),
    "ZeroPadding2D": image(lambda x: layers.ZeroPadding2D(1)(x)),
    "ZeroPadding3D": volume(lambda x: layers.ZeroPadding3D(1)(x)),
    "STFTSpectrogram": Case(
        lambda x: layers.STFTSpectrogram("log", frame_length=16, frame_step=8, fft_length=16)(x), ((64, 1),)
    ),
    "MelSpectrogram": Case(
        lambda x: layers.MelSpectrogram(32, 16, 32, sampling_rate=800, num_mel_bins=8, min_freq=10)(x), ((128,),)
    ),
    "add": rows(lambda x, y: layers.add([x, y]), inputs=2),
    "average": rows(lambda x, y: layers.average([x, y]), inputs=2),
    "concatenate": rows(lambda x, y: layers.concatenate([x, y]), inputs=2),
    "dot": Case(lambda x, y: layers.dot([x, y], axes=1), ((6,), (6,))),
    "maximum": rows(lambda x, y: layers.maximum([x, y]), inputs=2),
    "minimum": rows(lambda x, y: layers.minimum([x, y]), inputs=2),
    "multiply": rows(lambda x, y: layers.multiply([x, y]), inputs=2),
    "subtract": rows(lambda x, y: layers.subtract([x, y]), inputs=2),
}
IDENTITIES: dict[str, Callable[[], Any]] = {
    "AugMix": lambda: layers.AugMix(),
    "CutMix": lambda: layers.CutMix(),
    "MixUp": lambda: layers.MixUp(),
    "RandAugment": lambda: layers.RandAugment(),
    "RandomBrightness": lambda: layers.RandomBrightness(0.2),
    "RandomColorDegeneration": lambda: layers.RandomColorDegeneration(0.2),
    "RandomColorJitter": lambda: layers.RandomColorJitter(),
    "RandomContrast": lambda: layers.RandomContrast(0.2),
    "RandomElasticTransform": lambda: layers.RandomElasticTransform(),
    "RandomErasing": lambda: layers.RandomErasing(),
    "RandomFlip": lambda: layers.RandomFlip(),
    "RandomGaussianBlur": lambda: layers.RandomGaussianBlur(),
    "RandomGrayscale": lambda: layers.RandomGrayscale(),
    "RandomHue": lambda: layers.RandomHue(0.2),
    "RandomInvert": lambda: layers.RandomInvert(),
    "RandomPerspective": lambda: layers.RandomPerspective(),
    "RandomPosterization": lambda: layers.RandomPosterization(4),
    "RandomRotation": lambda: layers.RandomRotation(0.2),
    "RandomSaturation": lambda: layers.RandomSaturation(0.2),
    "RandomSharpness": lambda: layers.RandomSharpness(0.2),
    "RandomShear": lambda: layers.RandomShear(),
    "RandomTranslation": lambda: layers.RandomTranslation(0.2, 0.2),
    "RandomZoom": lambda: layers.RandomZoom(0.2),
    "Solarization": lambda: layers.Solarization(),
}
"""Augmentations, which leave images as they are at inference."""
LAYERS |= {name: Case(lambda x, make=make: make()(x), ((6, 8, 3),), "unit") for name, make in IDENTITIES.items()}
LAYERS["AutoContrast"] = Case(lambda x: layers.AutoContrast((0, 1))(x), ((6, 8, 3),), "unit")
EXCLUDED_LAYERS = {
    "Equalization": "gives its own input at inference, by which Keras 3.15 cannot make a functional model",
    "ContrastLimitedAdaptiveHistogramEqualization": COMPUTED_PLACES,
    "FlaxLayer": FOREIGN, "JaxLayer": FOREIGN, "TFSMLayer": FOREIGN, "TorchModuleWrapper": FOREIGN,
    "HashedCrossing": STATEFUL, "Hashing": STATEFUL, "IntegerLookup": STATEFUL, "StringLookup": STRINGS,
    "TextVectorization": STRINGS, "Input": BASE, "InputLayer": BASE, "InputSpec": BASE, "Layer": BASE,
    "Wrapper": BASE, "Pipeline": BASE, "deserialize": BASE, "serialize": BASE, "MaxNumBoundingBoxes": BASE,
    "RandomCrop": "leaves images as they are at inference although it declares them cropped (Keras 3.15)",
}  # fmt: skip

ONE_TENSOR = (
    "abs", "absolute", "arcsinh", "arctan", "argsort", "cbrt", "ceil", "celu", "conj", "conjugate", "copy", "cos",
    "cosh", "deg2rad", "elu", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "fabs", "floor", "fliplr", "gelu",
    "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "i0", "isfinite", "isinf",
    "isnan", "isneginf", "isposinf", "isreal", "layer_normalization", "leaky_relu", "log_sigmoid", "log_softmax",
    "nan_to_num", "negative", "normalize", "rad2deg", "real", "relu", "relu6", "rms_normalization", "round", "selu",
    "sigmoid", "sign", "signbit", "silu", "sin", "sinc", "sinh", "soft_shrink", "softmax", "softplus", "softsign",
    "sort", "sparse_plus", "sparse_sigmoid", "sparsemax", "square", "squareplus", "stop_gradient", "swish", "tan",
    "tanh", "tanh_shrink", "trunc",
)  # fmt: skip
OF_POSITIVE = (
    "arccosh", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt",
)  # fmt: skip
BETWEEN_ONES = (
    "arccos", "arcsin", "arctanh",
)  # fmt: skip
TWO_TENSORS = (
    "add", "arctan2", "equal", "fmax", "fmin", "greater", "greater_equal", "heaviside", "hypot", "isclose", "isin",
    "less", "less_equal", "logaddexp", "logaddexp2", "maximum", "minimum", "multiply", "nextafter", "not_equal",
    "subtract",
)  # fmt: skip
TWO_POSITIVE = (
    "divide", "divide_no_nan", "floor_divide", "fmod", "mod", "power", "true_divide",
)  # fmt: skip
REDUCTIONS = (
    "all", "amax", "amin", "any", "average", "count_nonzero", "logsumexp", "max", "mean", "median", "min",
    "nanargmax", "nanargmin", "nanmax", "nanmean", "nanmedian", "nanmin", "nanprod", "nanstd", "nansum", "nanvar",
    "prod", "ptp", "std", "sum", "var",
)  # fmt: skip


def operation(name: str, values: str = "normal", inputs: int = 1, **options: Any) -> Case:
    """A case of the operation of that name on matrices."""
    return rows(lambda *tensors: getattr(ops, name)(*tensors, **options), values, inputs)


OPERATIONS: dict[str, Case] = {name: operation(name) for name in ONE_TENSOR}
OPERATIONS |= {name: operation(name, "positive") for name in OF_POSITIVE}
OPERATIONS |= {name: operation(name, "inner") for name in BETWEEN_ONES}
OPERATIONS |= {name: operation(name, inputs=2) for name in TWO_TENSORS}
OPERATIONS |= {name: operation(name, "positive", 2) for name in TWO_POSITIVE}
OPERATIONS |= {name: operation(name, axis=-1) for name in REDUCTIONS}
OPERATIONS |= {
    "adaptive_average_pool": image(lambda x: ops.adaptive_average_pool(x, (4, 3))),
    "adaptive_max_pool": image(lambda x: ops.adaptive_max_pool(x, (4, 3))),
    "append": rows(lambda x, y: ops.append(x, y, axis=1), inputs=2),
    "argmax": rows(lambda x: ops.argmax(x, axis=-1)),
    "argmin": rows(lambda x: ops.argmin(x, axis=1)),
    "argpartition": rows(lambda x: ops.argpartition(x, 2)),
    "array_split": rows(lambda x: ops.array_split(x, 4, axis=-1)),
    "average_pool": image(lambda x: ops.average_pool(x, 2, 1)),
    "batch_normalization": image(lambda x: ops.batch_normalization(x, np.ones(4, "f"), np.ones(4, "f") * 2, -1)),
    "broadcast_to": Case(lambda x: layers.Lambda(lambda t: ops.broadcast_to(t, (ops.shape(t)[0], 5, 6)))(x), ((1, 6),)),
    "cast": rows(lambda x: ops.cast(ops.greater(x, 0.0), "float32")),
    "saturate_cast": rows(lambda x: ops.saturate_cast(ops.greater(x, 0.0), "float32")),
    "cdist": sequence(lambda x, y: ops.cdist(x, y), inputs=2),
    "clip": rows(lambda x: ops.clip(x, -0.5, 1.0)),
    "concatenate": rows(lambda x, y: ops.concatenate([x, y], axis=1), inputs=2),
    "conv": image(lambda x: ops.conv(x, _constant(3, 3, 4, 2), 2, "same")),
    "cross": Case(lambda x, y: ops.cross(x, y), ((5, 3), (5, 3))),
    "cumprod": rows(lambda x: ops.cumprod(x, axis=-1)),
    "cumsum": rows(lambda x: ops.cumsum(x, axis=1)),
    "nancumprod": rows(lambda x: ops.nancumprod(x, axis=-1)),
    "nancumsum": rows(lambda x: ops.nancumsum(x, axis=1)),
    "depth_to_space": image(lambda x: ops.depth_to_space(x, 2)),
    "depthwise_conv": image(lambda x: ops.depthwise_conv(x, _constant(3, 3, 4, 2))),
    "diagonal": sequence(lambda x: ops.diagonal(x, 1, 1, 2)),
    "diff": rows(lambda x: ops.diff(x, 2)),
    "dot": rows(lambda x: ops.dot(x, _constant(6, 3))),
    "dot_product_attention": Case(
        lambda x, y: ops.dot_product_attention(x, y, y, is_causal=True), ((5, 4, 3), (5, 2, 3))
    ),
    "dsplit": image(lambda x: ops.dsplit(x, 2)),
    "dstack": rows(lambda x, y: ops.dstack([x, y]), inputs=2),
    "einsum": sequence(lambda x, y: ops.einsum("bij,bkj->bik", x, y), inputs=2),
    "empty_like": rows(lambda x: ops.empty_like(x) * 0.0 + x),
    "expand_dims": rows(lambda x: ops.expand_dims(x, 1)),
    "extract_sequences": rows(lambda x: ops.extract_sequences(x, 3, 2)),
    "flip": image(lambda x: ops.flip(x, axis=(1, 2))),
    "full_like": rows(lambda x: ops.full_like(x, 2.0)),
    "get_item": image(lambda x: ops.get_item(x, (slice(None), slice(1, 5, 2), -1))),
    "hsplit": rows(lambda x: ops.hsplit(x, 5)),
    "hstack": rows(lambda x, y: ops.hstack([x, y]), inputs=2),
    "identity": rows(lambda x: layers.Identity()(x)),
    "image.crop_images": image(lambda x: ops.image.crop_images(x, 1, 2, target_height=3, target_width=4)),
    "image.extract_patches": image(lambda x: ops.image.extract_patches(x, 3, 2, padding="same")),
    "image.extract_patches_3d": volume(lambda x: ops.image.extract_patches_3d(x, 2)),
    "image.gaussian_blur": image(lambda x: ops.image.gaussian_blur(x, (3, 3), (1.0, 2.0))),
    "image.hsv_to_rgb": Case(lambda x: ops.image.hsv_to_rgb(x), ((6, 8, 3),), "unit"),
    "image.pad_images": image(lambda x: ops.image.pad_images(x, 1, 2, target_height=10, target_width=12)),
    "image.resize": image(lambda x: ops.image.resize(x, (9, 5), "lanczos3", antialias=True)),
    "image.rgb_to_grayscale": Case(lambda x: ops.image.rgb_to_grayscale(x), ((6, 8, 3),)),
    "image.rgb_to_hsv": Case(lambda x: ops.image.rgb_to_hsv(x), ((6, 8, 3),), "unit"),
    "image.sobel_edges": image(lambda x: ops.image.sobel_edges(x)),
    "image.ssim": Case(lambda x, y: ops.image.ssim(x, y), ((16, 16, 3), (16, 16, 3)), "unit"),
    "inner": rows(lambda x: ops.inner(x, _constant(3, 6))),
    "matmul": sequence(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))),
    "max_pool": image(lambda x: ops.max_pool(x, 2, 2, padding="same", data_format="channels_last")),
    "moments": image(lambda x: ops.moments(x, (1, 2))),
    "moveaxis": image(lambda x: ops.moveaxis(x, 3, 1)),
    "multi_hot": ids(lambda x: ops.multi_hot(ops.cast(x, "int32"), 10)),
    "nanpercentile": rows(lambda x: ops.nanpercentile(x, 25.0, axis=-1)),
    "nanquantile": rows(lambda x: ops.nanquantile(x, 0.25, axis=-1)),
    "norm": rows(lambda x: ops.norm(x, axis=(-1,))),  # a number fails in Keras itself under JAX
    "one_hot": ids(lambda x: ops.one_hot(ops.cast(x, "int32"), 10)),
    "ones_like": rows(lambda x: ops.ones_like(x) + x),
    "pad": image(lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), "reflect")),
    "percentile": rows(lambda x: ops.percentile(x, 25.0, axis=-1)),
    "quantile": rows(lambda x: ops.quantile(x, 0.25, axis=(-1,))),
    "rearrange": image(lambda x: layers.Lambda(lambda t: ops.rearrange(t, "b h w c -> b c (h w)"))(x)),
    "repeat": rows(lambda x: ops.repeat(x, 2, axis=1)),
    "reshape": image(lambda x: ops.reshape(x, (-1, 12, 16))),
    "roll": rows(lambda x: ops.roll(x, 2, axis=-1)),
    "rot90": image(lambda x: ops.rot90(x, axes=(1, 2))),
    "select": rows(lambda x: ops.select([x > 1.0, x > 0.0], [x * 2.0, x], 0.5)),
    "separable_conv": image(lambda x: ops.separable_conv(x, _constant(3, 3, 4, 1), _constant(1, 1, 4, 3))),
    "slice": rows(lambda x: layers.Lambda(lambda t: ops.slice(t, (0, 1, 2), (ops.shape(t)[0], 3, 3)))(x)),
    "space_to_depth": image(lambda x: ops.space_to_depth(x, 2)),
    "split": rows(lambda x: ops.split(x, [2, 3], axis=-1)),
    "squeeze": Case(lambda x: ops.squeeze(x, 1), ((1, 6),)),
    "stack": rows(lambda x, y: ops.stack([x, y], axis=2), inputs=2),
    "swapaxes": image(lambda x: ops.swapaxes(x, 1, 2)),
    "take": image(lambda x: ops.take(x, [3, 0, 2], axis=1)),
    "take_along_axis": rows(lambda x: ops.take_along_axis(x, np.array([[[1, 0]] * 5]), axis=2)),
    "tensordot": image(lambda x: ops.tensordot(x, _constant(8, 4, 3), axes=[[2, 3], [0, 1]])),
    "threshold": rows(lambda x: ops.threshold(x, 0.5, -1.0)),
    "tile": image(lambda x: ops.tile(x, (1, 2, 1, 3))),
    "top_k": rows(lambda x: ops.top_k(x, 3)),
    "trace": sequence(lambda x: ops.trace(x, 0, 1, 2)),
    "transpose": image(lambda x: ops.transpose(x, (0, 3, 1, 2))),
    "trapezoid": rows(lambda x: ops.trapezoid(x)),
    "tril": rows(lambda x: ops.tril(x)),
    "triu": rows(lambda x: ops.triu(x, 1)),
    "unfold": Case(lambda x: ops.unfold(x, 3, padding=1, stride=2), ((2, 6, 8),)),
    "fold": Case(lambda x: ops.fold(x, (4, 4), 2, stride=2), ((8, 4),)),
    "unstack": rows(lambda x: ops.unstack(x, axis=1)),
    "ldexp": rows(lambda x: ops.ldexp(x, np.array([0, 1, 2, -1, -2, 3]))),
    "logical_not": rows(lambda x: ops.logical_not(ops.greater(x, 0.5))),
    "logical_and": rows(lambda x, y: ops.logical_and(x > 0.5, y > 0.0), inputs=2),
    "logical_or": rows(lambda x, y: ops.logical_or(x > 0.5, y > 0.0), inputs=2),
    "logical_xor": rows(lambda x, y: ops.logical_xor(x > 0.5, y > 0.0), inputs=2),
    "isin": rows(lambda x: ops.isin(ops.relu(x), np.array([0.0, 1.0], np.float32))),
    "digitize": rows(lambda x: ops.digitize(x, np.array([-1.0, 0.0, 1.0], np.float32))),
    "image.affine_transform": image(lambda x: ops.image.affine_transform(x, np.eye(3).ravel()[None, :8].repeat(4, 0))),
    "image.map_coordinates": Case(lambda x, y: ops.image.map_coordinates(x, y, 1), ((5, 6), (5, 6))),
    "image.perspective_transform": image(lambda x: ops.image.perspective_transform(x, CORNERS, CORNERS + 0.5)),
    "image.scale_and_translate": image(
        lambda x: ops.image.scale_and_translate(x, (4, 4, 4, 4), np.ones(2), np.zeros(2), (1, 2), "linear")
    ),
    "scatter": ids(lambda x: ops.scatter(x[:, :, None], ops.cast(x, "float32"), (10,))),
    "scatter_update": rows(lambda x: ops.scatter_update(x, np.array([[0, 1, 2]]), np.array([1.0]))),
    "searchsorted": rows(lambda x: ops.searchsorted(np.array([-1.0, 0.0, 1.0], np.float32), x)),
    "slice_update": Case(lambda x, y: ops.slice_update(x, (0, 1, 2), y), ((5, 6), (2, 3))),
    "unravel_index": ids(lambda x: ops.unravel_index(x, (2, 5))),
    "where": rows(lambda x, y: ops.where(x > y, x, y * 0.5), inputs=2),
    "zeros_like": rows(lambda x: ops.zeros_like(x) + x),
}
EXCLUDED_OPERATIONS: dict[str, str] = {}
for reason, names in (
    (TRAINING, (
        "binary_crossentropy", "categorical_crossentropy", "ctc_decode", "ctc_loss", "custom_gradient",
        "image.elastic_transform", "in_top_k", "jvp", "sparse_categorical_crossentropy",
    )),
    (COMPLEX, (
        "angle", "fft", "fft2", "ifft2", "imag", "irfft", "istft", "polar", "rfft", "stft", "view_as_complex",
        "view_as_real",
    )),
    (DYNAMIC, (
        "bincount", "histogram", "nonzero", "unique",
    )),
    (ALGEBRA, (
        "cholesky", "cholesky_inverse", "corrcoef", "det", "eig", "eigh", "inv", "logdet", "lstsq", "lu_factor",
        "matrix_rank", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd",
    )),
    (CREATION, (
        "arange", "array", "bartlett", "blackman", "diag", "diagflat", "empty", "eye", "full", "geomspace",
        "hamming", "hanning", "kaiser", "linspace", "logspace", "meshgrid", "ones", "tri", "vander", "zeros",
    )),
    (SHAPES, (
        "convert_to_numpy", "convert_to_tensor", "dtype", "is_tensor", "ndim", "shape", "size", "view",
    )),
    (CONTROL, (
        "associative_scan", "cond", "fori_loop", "map", "scan", "switch", "vectorize", "vectorized_map",
        "while_loop",
    )),
    (BITS, (
        "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift",
        "bitwise_xor", "gcd", "lcm", "left_shift", "right_shift",
    )),
    (BROKEN, (
        "conv_transpose",
    )),
    (BATCH, (
        "allclose", "correlate", "flipud", "kron", "outer", "psnr", "ravel", "segment_max", "segment_min",
        "segment_prod", "segment_sum", "vdot", "vsplit", "vstack",
    )),
):  # fmt: skip
    EXCLUDED_OPERATIONS |= dict.fromkeys(names, reason)


REFUSED: dict[str, str] = {}
"""Why cases are refused that are not excluded."""
for reason, names in (
    (COMPUTED_PLACES, (
        "ops.image.affine_transform", "ops.image.map_coordinates", "ops.image.perspective_transform",
        "ops.image.scale_and_translate", "ops.fold", "ops.scatter", "ops.scatter_update", "ops.take_along_axis",
        "ops.unravel_index",
    )),
    ("sorts past what is no number, in an order that TFLite's sorting lacks", (
        "ops.argpartition", "ops.nanmedian", "ops.nanpercentile", "ops.nanquantile",
    )),
    ("a series or a rounding that no operator computes", (
        "ops.erfinv", "ops.i0", "ops.nextafter",
    )),
    ("not said in simpler operations yet", (
        "ops.image.extract_patches_3d", "ops.image.hsv_to_rgb", "ops.image.rgb_to_hsv", "ops.image.ssim",
    )),
    ("in 8 bits the converter refuses the scales of its reshapes; float is exact", (
        "layers.STFTSpectrogram",
    )),
):  # fmt: skip
    REFUSED |= dict.fromkeys(names, reason)
BY_BACKEND = {
    "layers.AveragePooling2D": "under PyTorch Keras 3.15 takes the edge's pixels for padding too; an export is refused",
    "layers.LayerNormalization": "under PyTorch Keras 3.15 fails on these axes itself",
    "ops.count_nonzero": "under PyTorch Keras 3.15 gives it transposed",
    "ops.image.resize": "PyTorch has no Lanczos interpolation",
    "ops.searchsorted": "under TensorFlow Keras 3.15 fails on several axes itself",
}
"""Why a backend's row differs from the others'."""


def names_of_operations() -> list[str]:
    """All functions of `keras.ops`, each once; those of `image` and `linalg` that are nowhere else, by their module."""
    plain = [name for name in dir(ops) if callable(getattr(ops, name)) and not name.startswith("_")]
    inside = [
        f"{module}.{name}"
        for module in ("image", "linalg")
        for name in dir(getattr(ops, module))
        if not name.startswith("_") and not hasattr(ops, name)
    ]
    return sorted({*plain, *inside})


def names_of_layers() -> list[str]:
    """All of `keras.layers`, other names of the same class left out."""
    public = {name: getattr(layers, name) for name in dir(layers) if not name.startswith("_")}
    functions = {name: value for name, value in public.items() if callable(value)}
    return [name for name, value in functions.items() if value.__name__ == name or value.__name__ not in functions]


def inputs_of(case: Case) -> list[np.ndarray]:
    """Samples (SAMPLES, …) for each input."""
    random = np.random.default_rng(0)
    arrays = []
    for shape in case.shapes:
        values = random.normal(size=(SAMPLES, *shape)).astype(np.float32)
        if case.values == "positive":
            values = np.abs(values) + np.float32(1.1)
        elif case.values == "inner":
            values = np.tanh(values) * np.float32(0.9)
        elif case.values == "unit":
            values = random.random(values.shape, np.float32)
        elif case.values == "ids":
            values = random.integers(1, 10, values.shape).astype(np.float32)
            values[:, -2:] = 0
        elif case.values == "masked":
            values[:2, -2:] = 0
            values[2, 0] = 0
        arrays.append(values)
    return arrays


def model_of(case: Case) -> keras.Model:
    """The model of one layer or operation, with random weights."""
    keras.utils.set_random_seed(0)
    symbols = [
        keras.Input(shape, name=f"input_{index}", dtype="int32" if case.values == "ids" else "float32")
        for index, shape in enumerate(case.shapes)
    ]
    return keras.Model(symbols, case.build(*symbols))
