"""The verbs of `keras-classics`, each with the module whose `main(arguments, prog)` does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple, cast

from keras_classics.siblings import sibling

Main = Callable[[Sequence[str], str], int]


class Verb(NamedTuple):
    """One verb: where it is done, and what it does in a line."""

    module: str
    help: str

    def main(self) -> Main:
        """What does it. `export` and `android_bench` are reached by name alone: nothing here depends on them."""
        package = self.module.partition(".")[0]
        module = import_module(self.module) if package == "keras_classics" else sibling(self.module)
        return cast(Main, module.main)


VERBS = {
    "list": Verb("keras_classics.cli.listing", "the models, with papers, costs and published accuracy"),
    "show": Verb("keras_classics.cli.showing", "one model: a name, or a .keras file"),
    "cost": Verb("keras_classics.cli.costs", "parameters, multiply-accumulates and activations of each layer"),
    "train": Verb("keras_classics.train", "train a model on a dataset or a folder of photos"),
    "predict": Verb("export.cli.predict", "name what is on images, with a .keras or .tflite file"),
    "export": Verb("export.tflite", "write a verified .tflite file and its report"),
    "bench": Verb("android_bench.__main__", "measure .tflite files here, over ssh or over adb"),
    "demo": Verb("export.cli.demo", "the whole road in minutes: train, quantize, verify, time"),
}
