"""How long the library takes to import and to build a model, beside Keras and keras.applications.

    python benchmarks/build_time.py [--rounds N]

Everything is timed in turn, A B A B …, so that a slow minute of the machine falls on both alike; the
ratio of each pair is what counts. The backend is KERAS_BACKEND's.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    imports = [(_import_seconds("keras_classics"), _import_seconds("keras")) for _ in range(rounds)]
    _show("import keras_classics | keras", imports)

    import keras

    import keras_classics

    pairs = []
    for _ in range(rounds + 1):
        keras.utils.clear_session()
        ours = _seconds(keras_classics.MobileNetV2)
        keras.utils.clear_session()
        pairs.append((ours, _seconds(lambda: keras.applications.MobileNetV2(weights=None))))
    _show("build MobileNetV2, ours | keras.applications", pairs[1:])  # the first builds warm the backend up
    print(f"Keras {keras.__version__}, backend {keras.backend.backend()}, {rounds} rounds")


def _import_seconds(module: str) -> float:
    code = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _seconds(build: Callable[[], object]) -> float:
    start = time.perf_counter()
    build()
    return time.perf_counter() - start


def _show(name: str, pairs: list[tuple[float, float]]) -> None:
    first, second = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    middle = statistics.median(ratios)
    print(f"{name}: {first:.2f} s | {second:.2f} s, ratio {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
