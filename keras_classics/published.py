"""What every constructor gets from outside its paper: weights, and the members of a family."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import keras

P = ParamSpec("P")


def constructor(build: Callable[P, keras.Model]) -> Callable[P, keras.Model]:
    """Make `build`, which ignores its argument `weights`, one that loads them.

    Published weights first set the arguments that they were trained with, where the caller left
    these out. The architecture's name is the default of `build`'s argument `name`.
    """
    signature = inspect.signature(build)
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    architecture = defaults["name"]

    @functools.wraps(build)
    def construct(*args: P.args, **kwargs: P.kwargs) -> keras.Model:
        given = signature.bind(*args, **kwargs).arguments
        weights = given.pop("weights", None)
        if weights is None:
            return build(*args, **kwargs)
        from keras_classics import weights as weight_files

        path, arguments = weight_files.resolve(architecture, weights, given, defaults)
        model = build(**arguments)  # type: ignore[call-arg]
        weight_files.load(model, path, architecture, arguments.get("alpha", 1.0))
        return model

    return construct


def member(
    family: Callable[Concatenate[int, P], keras.Model], depth: int, name: str, summary: str
) -> Callable[P, keras.Model]:
    """The constructor of a family's network of `depth` layers, with a name and docstring of its own."""
    signature = inspect.signature(family)
    parameters = [
        parameter.replace(default=name.lower()) if parameter.name == "name" else parameter
        for parameter in list(signature.parameters.values())[1:]
    ]
    own = signature.replace(parameters=parameters)

    def build(*args: P.args, **kwargs: P.kwargs) -> keras.Model:
        bound = own.bind(*args, **kwargs)
        bound.apply_defaults()
        return family(depth, *bound.args, **bound.kwargs)

    build.__name__ = build.__qualname__ = name
    build.__module__ = family.__module__
    build.__doc__ = f"{summary}\n\n{inspect.getdoc(family)}"
    build.__signature__ = own  # type: ignore[attr-defined]
    return constructor(build)
