"""`python -m export.tflite [MODEL] [--int8] …`: export a model to TFLite. `export.cli.command` is the command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from export.quiet import quiet_stderr


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():  # TensorFlow, if it is the backend, greets at length
        from export.cli import command
    return command.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
