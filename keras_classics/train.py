"""Train a model: `python -m keras_classics.train MODEL --data DATA --epochs N --output DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from keras_classics.errors import command_line
from keras_classics.quiet import start_keras
from keras_classics.training.arguments import parser
from keras_classics.training.defaults import BATCH_SIZE

if TYPE_CHECKING:
    from keras_classics.training.batches import batches
    from keras_classics.training.fitting import build, fit
    from keras_classics.training.measuring import accuracy

_HOMES = {"accuracy": "measuring", "batches": "batches", "build": "fitting", "fit": "fitting"}

__all__ = ["BATCH_SIZE", "accuracy", "batches", "build", "fit", "main"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that the command answers `--help` at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'keras_classics.train' has no attribute {name!r}")
    return getattr(import_module(f"keras_classics.training.{_HOMES[name]}"), name)


@command_line
def main(argv: Sequence[str] | None = None, prog: str = "python -m keras_classics.train") -> None:
    """Parse, then do what `keras_classics.training.command` does."""
    options = parser(prog).parse_args(argv)
    start_keras(options.verbose)
    from keras_classics.training import command

    command.run(options)


if __name__ == "__main__":
    sys.exit(main())
