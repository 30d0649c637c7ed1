"""The zoo on the terminal: `python -m keras_classics`, and what a model costs: `… cost NAME`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from keras_classics import registry, zoo
from keras_classics.cost import model_cost
from keras_classics.errors import ArgumentParser, command_line


@command_line
def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of all models, or that of one model's layers."""
    parser = ArgumentParser(prog="python -m keras_classics", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="{cost}")
    cost = commands.add_parser("cost", help="parameters, multiply-accumulates and activations of each layer")
    cost.add_argument("model", help="a name of the table that the bare command prints")
    cost.add_argument("--input-shape", nargs=3, type=int, metavar=("H", "W", "C"), help="default: the paper's")
    cost.add_argument("--classes", type=int, metavar="N", help="default: the paper's")
    cost.add_argument("--csv", metavar="FILE", help="write the rows there too")
    options = parser.parse_args(arguments)
    if options.command is None:
        _print(zoo.zoo_table())
        return
    chosen = {"input_shape": options.input_shape, "classes": options.classes}
    constructor_arguments = {name: value for name, value in chosen.items() if value is not None}
    result = model_cost(registry.abstract_model(options.model, **constructor_arguments))
    _print(zoo.cost_table(options.model, result))
    if options.csv:
        result.write_csv(options.csv)


def _print(table: Table) -> None:
    """Fit the terminal; in a file or pipe take the room that the table needs."""
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)


if __name__ == "__main__":
    sys.exit(main())
