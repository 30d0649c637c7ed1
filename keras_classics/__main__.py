"""`keras-classics VERB …`, or `python -m keras_classics VERB …`: one command for the whole road.

Nothing heavy is imported here: `--help` and a wrong argument are answered before Keras and its backend are there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from keras_classics.cli.verbs import VERBS
from keras_classics.errors import ArgumentParser, command_line, unknown

NAME = "keras-classics"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the first of the arguments (default: the process's) says with the rest; the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and not words[0].startswith("-"):
        return _verb(words[0], words[1:])
    return _without_verb(words)


def _verb(name: str, arguments: Sequence[str]) -> int:
    if name not in VERBS:
        return _refuse(name)
    return VERBS[name].main()(arguments, f"{NAME} {name}")


@command_line
def _refuse(name: str) -> None:
    raise unknown("command", name, VERBS)


@command_line
def _without_verb(arguments: Sequence[str]) -> None:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:{width}}  {verb.help}" for name, verb in VERBS.items())
    parser = ArgumentParser(
        prog=NAME,
        usage=f"{NAME} [-h] [--version] VERB …",
        description="Classic networks for Keras 3, and the road from there to a verified TFLite file.",
        epilog=f"verbs:\n{verbs}\n\n`{NAME} VERB --help` lists what each takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {version(NAME)}")
    parser.parse_args(arguments)
    parser.print_help()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["list"]))
