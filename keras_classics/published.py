"""What makes a function of a paper's file a constructor: its row in the registry, its docstring, its weights."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, cast

import keras

from keras_classics import arguments, weights
from keras_classics.pretrained import catalog
from keras_classics.pretrained.conversion import LayerNames

P = ParamSpec("P")

SMALL_SIDE = 32
"""Height and width, in pixels, of a cheap input for tests, where a network takes it."""


class Counts(NamedTuple):
    """What a network costs at batch 1: scalars, and multiply-accumulates as `keras_classics.cost` counts them."""

    parameters: int
    trainable_parameters: int
    macs: int

    def __str__(self) -> str:
        trainable = (
            "" if self.trainable_parameters == self.parameters else f" ({self.trainable_parameters:,} trainable)"
        )
        return f"{self.parameters:,} parameters{trainable}, {self.macs:,} multiply-accumulates"


@dataclass(frozen=True)
class Architecture:
    """One row of the registry.

    Attributes:
        name: what `create_model` calls it.
        paper: authors, year and title.
        counts: those of the constructor without arguments, which is the paper's network.
        minimum_size: the smallest height and width, in pixels.
        input_shape: the paper's, (height, width, channels).
        classes: the paper's.
        small_image_arguments: what our recipes pass for small images.
        variants: counts of other forms of the network at the same size, by the argument that asks
            for them, such as `("variant", "1998")`.
        layer_names: what publishers of weights call its layers.
    """

    name: str
    paper: str
    counts: Counts
    minimum_size: int
    input_shape: tuple[int, int, int] = (224, 224, 3)
    classes: int = 1000
    small_image_arguments: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[tuple[str, Any], Counts] = field(default_factory=dict)
    layer_names: LayerNames = field(default_factory=LayerNames)

    @property
    def small_input_shape(self) -> tuple[int, int, int]:
        """A cheap input for tests: `SMALL_SIDE` pixels a side, or the least that it takes."""
        side = max(self.minimum_size, SMALL_SIDE)
        return side, side, self.input_shape[2]

    def texts(self) -> dict[str, str]:
        """What `$counts` and `$weights` stand for in the docstring of its constructor."""
        variants = "".join(f" With {key}={value!r} {counts}." for (key, value), counts in self.variants.items())
        return {"counts": f"By default {self.counts}.{variants}", "weights": _weights_text(self.name, self.layer_names)}


class Constructor(Protocol[P]):
    """A function that builds a network, and knows its row of the registry."""

    architecture: Architecture
    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> keras.Model:
        """Build the network. Raises ValueError where an argument cannot be used."""


def published(architecture: Architecture) -> Callable[[Callable[P, keras.Model]], Constructor[P]]:
    """Make a function that ignores its argument `weights` a constructor that loads them.

    Published weights first set the arguments that they were trained with, where the caller left
    these out. `$NAME` in the function's docstring stands for the texts of the architecture and for
    those that all constructors share.
    """

    def constructor(build: Callable[P, keras.Model]) -> Constructor[P]:
        signature = inspect.signature(build)
        defaults = {name: parameter.default for name, parameter in signature.parameters.items()}

        @functools.wraps(build)
        def construct(*args: P.args, **kwargs: P.kwargs) -> keras.Model:
            passed = signature.bind(*args, **kwargs).arguments
            source = passed.pop("weights", None)
            if source is None:
                return build(*args, **kwargs)
            path, needed = weights.resolve(architecture.name, source, passed, defaults, architecture.layer_names)
            model = build(**needed)  # type: ignore[call-arg]
            fresh = "classes" in passed
            weights.load(model, path, architecture.name, architecture.layer_names, needed.get("alpha", 1.0), fresh)
            return model

        if build.__doc__:  # Python -OO drops docstrings
            construct.__doc__ = arguments.documented(build.__doc__, architecture.texts())
        result = cast(Constructor[P], construct)
        result.architecture = architecture
        return result

    return constructor


def member(
    family: Callable[Concatenate[int, P], keras.Model], depth: int, architecture: Architecture, function_name: str
) -> Constructor[P]:
    """The constructor of a family's network of `depth` layers, with a name and docstring of its own.

    `$title` in the family's docstring stands for the member's name; its argument `depth` is left out.
    """
    signature = inspect.signature(family)
    parameters = [
        parameter.replace(default=architecture.name) if parameter.name == "name" else parameter
        for parameter in list(signature.parameters.values())[1:]
    ]
    own = signature.replace(parameters=parameters)

    def build(*args: P.args, **kwargs: P.kwargs) -> keras.Model:
        bound = own.bind(*args, **kwargs)
        bound.apply_defaults()
        return family(depth, *bound.args, **bound.kwargs)

    build.__name__ = build.__qualname__ = function_name
    build.__module__ = family.__module__
    if family.__doc__:
        build.__doc__ = re.sub(r"\n *depth: .*", "", family.__doc__).replace("$title", function_name)
    build.__signature__ = own  # type: ignore[attr-defined]
    return published(architecture)(build)


def _weights_text(name: str, layer_names: LayerNames) -> str:
    suffixes = ["`.keras`", "`.weights.h5`"]
    suffixes += ["PyTorch's `.pth`, `.pt`, `.th`, `.ckpt`", "`.safetensors`"] if layer_names.of_pytorch else []
    suffixes += ["keras.applications' `.h5`"] if layer_names.keras_applications else []
    files = f"the path of a file: {', '.join(suffixes[:-1])} or {suffixes[-1]}."
    names = ", ".join(f'"{published_name}"' for published_name in catalog.names(name))
    fresh = "Where `classes` is given and is not the number that they tell apart, the classifier alone is random."
    if not names:
        return f"None for random weights, or {files} {fresh}"
    return f"None for random weights; the name of published ones, {names}; or {files} {fresh}"
