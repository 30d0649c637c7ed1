"""Our layers are known to Keras as soon as both it and this package are imported, in whichever order.

So `keras.saving.load_model` reads files that have them, and importing this package does not wait for Keras.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from keras_classics.errors import InputError

REGISTERED = ("keras_classics.layers", "keras_classics.training.losses")
"""Modules that register what they hold with Keras as they are imported."""


def import_of_user(name: str) -> None:
    """Import a module that registers custom layers.

    Raises:
        InputError: there is none of that name, or it fails to import another.
    """
    try:
        import_module(name)
    except (ImportError, TypeError, ValueError) as error:  # the others for what is no module's name
        raise InputError(f"--import {name}: {error}; put its folder on PYTHONPATH") from error


def with_keras() -> None:
    """Import what registers itself, now where Keras is there, else when it comes."""
    if hasattr(sys.modules.get("keras"), "saving"):
        _register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _register() -> None:
    for name in REGISTERED:
        import_module(name)


class _Finder(MetaPathFinder):
    """Finds Keras where others do, once, and has our modules imported after it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _register()
