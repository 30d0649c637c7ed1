"""The packages that are installed beside this one, whatever a user's folder has under their names."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).resolve().parents[1]
"""The folder that holds `keras_classics` and its siblings."""


def sibling(name: str) -> ModuleType:
    """Import `export` or `android_bench` from beside this package, or a module of them (`export.tflite`).

    Imported by name alone, a file `export.py` in the folder where Python was started would come in their place.

    Raises:
        ImportError: a module of that name, and not ours, is imported already; or ours is not there.
    """
    package, _, inner = name.partition(".")
    found = sys.modules.get(package)
    if found is None:
        spec = PathFinder.find_spec(package, [str(HOME)])
        if spec is None or spec.loader is None:
            raise ImportError(f"the package {package!r} is missing in {HOME}; install keras-classics again")
        found = sys.modules[package] = module_from_spec(spec)
        try:
            spec.loader.exec_module(found)
        except BaseException:
            del sys.modules[package]
            raise
    elif not any(Path(each).resolve() == HOME / package for each in getattr(found, "__path__", ())):
        place = getattr(found, "__file__", None) or "another place"
        raise ImportError(f"a module {package!r} of {place} stands in the way of ours; rename it, or its folder")
    return import_module(name) if inner else found
