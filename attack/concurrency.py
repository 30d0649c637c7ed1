"""Threads and processes at the same files."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from attack import models
from attack.commands import ended, start
from attack.trial import Fell, Kind

WRITERS = 4
ROUNDS = 30


def _replace(path: Path, letter: int, rounds: int) -> None:
    from keras_classics import files

    for _ in range(rounds):
        with files.replacing(path) as temporary:
            temporary.write_bytes(bytes([letter]) * 50_000)


def writers(generator: np.random.Generator, folder: Path) -> int:
    """Threads and processes replace one file; a reader never sees half of one or two."""
    path = folder / "file.bin"
    _replace(path, 0, 1)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_replace, args=(path, 1 + number, ROUNDS)) for number in range(WRITERS)]
    threads = [threading.Thread(target=_replace, args=(path, 101 + number, ROUNDS)) for number in range(WRITERS)]
    for each in (*processes, *threads):
        each.start()
    while any(each.is_alive() for each in (*processes, *threads)):
        content = path.read_bytes()
        if len(content) != 50_000 or len(set(content)) != 1:
            raise Fell("a reader saw a file that is not whole")
    for each in (*processes, *threads):
        each.join()
    if any(process.exitcode for process in processes):
        raise Fell("a writer failed")
    if left := [each.name for each in folder.iterdir() if each != path]:
        raise Fell(f"left behind: {left}")
    return 2 * WRITERS * ROUNDS


def downloads(generator: np.random.Generator, folder: Path) -> int:
    """Threads ask for one published file at once."""
    import dataclasses
    import os

    from keras_classics.pretrained import catalog
    from keras_classics.pretrained import downloads as fetching

    content = generator.bytes(100_000)
    source = folder / f"mobilenet_v2-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    source.write_bytes(content)
    os.environ["KERAS_HOME"] = str(folder / "home")
    row = dataclasses.replace(catalog.published_weights("mobilenet_v2")[0], url=source.as_uri())
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetching.fetch(row), range(8)))
    if {path.read_bytes() == content for path in paths} != {True} or len(set(paths)) != 1:
        raise Fell("a thread got another file")
    shutil.rmtree(folder / "home")
    return 8


def _append(path: Path, content: bytes, rounds: int) -> None:
    import json

    from android_bench import records, results

    row = records.decode(results.Row, json.loads(content))
    for _ in range(rounds):
        results.append(path, [row])


def appenders(generator: np.random.Generator, folder: Path) -> int:
    """Processes append to one results file."""
    from android_bench import results

    path = folder / "results.jsonl"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append, args=(path, models.row(), ROUNDS)) for _ in range(WRITERS)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    if len(results.read(path)) != WRITERS * ROUNDS:
        raise Fell(f"{len(results.read(path))} of {WRITERS * ROUNDS} rows are there")
    return WRITERS * ROUNDS


def trainings(generator: np.random.Generator, folder: Path) -> int:
    """Two trainings into one folder: one is refused, the other's model stands there."""
    words = ["keras_classics.train", "lenet5", "--data", "digits", "--epochs", "2", "--output", "out", "--seed"]
    codes = [ended(process, 300) for process in [start([*words, seed], folder) for seed in ("1", "2")]]
    if sorted(code for code, _ in codes) != [0, 2]:
        raise Fell(f"two trainings ended with {codes}")
    return 2


KINDS = (
    Kind("threads and processes replace a file", "concurrency", writers, 1, 120, None),
    Kind("threads fetch a file", "concurrency", downloads, 1, 120, None),
    Kind("processes append rows", "concurrency", appenders, 1, 120, None),
    Kind("two trainings in a folder", "concurrency", trainings, 1, 400, None, short=False),
)
