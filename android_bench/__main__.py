"""`python -m android_bench`: measure TFLite models where they will run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from android_bench.arguments import parser
from android_bench.errors import command_line


@command_line
def main(words: Sequence[str] | None = None, prog: str = "python -m android_bench") -> None:
    """Run the command that `words` (default: the process's arguments) name."""
    options = parser(prog).parse_args(words)
    from android_bench import commands

    commands.COMMANDS[options.command](options)


if __name__ == "__main__":
    sys.exit(main())
