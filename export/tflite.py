"""`python -m export.tflite [MODEL] [--int8] …`: export a model to TFLite. `export.cli.command` is the command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from export.cli.arguments import needed, parser
from keras_classics.errors import command_line, require
from keras_classics.quiet import start_keras


@command_line
def main(arguments: Sequence[str] | None = None, prog: str = "python -m export.tflite") -> None:
    """Parse, then do what `export.cli.command` does."""
    chosen = parser(prog).parse_args(arguments)
    require(*needed(chosen))
    start_keras(chosen.verbose)
    from export.cli import command

    command.run(chosen)


if __name__ == "__main__":
    sys.exit(main())
