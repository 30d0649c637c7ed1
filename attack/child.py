"""The process in which trials run, one after the other: `python -m attack.child SEED [KIND FIRST SECONDS]…`.

It prints a line of JSON when a trial begins and when it has ended. What kills it is told by the trial that has not
ended.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np

from attack.kinds import KINDS
from attack.trial import Fell, Kind


def main() -> None:
    """Run trials until the time is over."""
    seed, words = int(sys.argv[1]), sys.argv[2:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, first, seconds in zip(words[::3], words[1::3], words[2::3], strict=True):
        kind = KINDS[name]
        if kind.memory:
            resource.setrlimit(resource.RLIMIT_DATA, (kind.memory, kind.memory))
        end = time.monotonic() + float(seconds)
        number = int(first)
        while number == int(first) or time.monotonic() < end:
            row: dict[str, object] = {"kind": name, "number": number}
            print(json.dumps(row), file=answers)
            print(json.dumps(row | _outcome(kind, seed, number)), file=answers)
            number += 1


def _outcome(kind: Kind, seed: int, number: int) -> dict[str, object]:
    generator = np.random.default_rng([seed, zlib.crc32(kind.name.encode()), number])
    here = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="attack-", ignore_cleanup_errors=True) as folder:
        try:
            return {"tried": kind.trial(generator, Path(folder))}
        except Fell as error:
            return {"tried": 1, "fell": str(error)}
        except BaseException:  # a fault of the attack itself, or a signal of ours
            return {"tried": 1, "fell": "unforeseen: " + traceback.format_exc()[-600:]}
        finally:
            os.chdir(here)


if __name__ == "__main__":
    main()
