"""`keras-classics list`: every model, with its paper and what it costs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from keras_classics.cli.output import add_common, print_json, print_table
from keras_classics.errors import ArgumentParser, command_line
from keras_classics.quiet import start_keras


def parser(prog: str = "keras-classics list") -> argparse.ArgumentParser:
    """What the verb takes."""
    result = ArgumentParser(prog=prog, description="The models, with papers, costs and published accuracy.")
    result.add_argument("pattern", nargs="?", default="*", help="names with the wildcards * ? […], such as 'resnet*'")
    add_common(result)
    return result


@command_line
def main(arguments: Sequence[str] | None = None, prog: str = "keras-classics list") -> None:
    """Print the table."""
    chosen = parser(prog).parse_args(arguments)
    start_keras(chosen.verbose)
    from keras_classics import zoo

    if chosen.json:
        print_json(zoo.zoo_rows(chosen.pattern))
    else:
        print_table(zoo.zoo_table(chosen.pattern))
