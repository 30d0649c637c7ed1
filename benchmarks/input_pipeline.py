"""What reading images costs: CPU-milliseconds an image, ours beside others, on JPEGs that are made here.

    python benchmarks/input_pipeline.py [--images 200] [--size 1200 900] [--repeats 3]

The photos of scikit-image are resized, changed a little and written as JPEGs. Each row reads all of them to 224×224
from the disk's cache: process time over all threads, and wall time, the medians of the repeats with the least and the
greatest. `without draft` is Pillow's whole decode, as before JPEGs were decoded at a fraction of their size. Libraries
that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from skimage import data as photos

from keras_classics.datasets import data, image_folder
from keras_classics.datasets.image_folder import FileImages
from keras_classics.errors import InputError, command_line
from keras_classics.training.batches import Epoch

SIDE, BATCH = 224, 32


def write(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEGs of photos, each cut and mirrored otherwise, in two class folders."""
    random = np.random.default_rng(0)
    sources = [Image.fromarray(each()) for each in (photos.chelsea, photos.coffee, photos.astronaut)]
    paths = []
    for number in range(count):
        source = sources[number % len(sources)]
        left, top = random.integers(0, 40, 2)
        cut = source.crop((left, top, source.width - 40 + left, source.height - 40 + top))
        path = folder / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        ImageOps.fit(cut, size, Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def whole_decode(paths: list[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        with Image.open(path) as image:
            yield np.asarray(ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.BILINEAR))


def ours(paths: list[Path]) -> Iterator[np.ndarray]:
    files = tuple(image_folder.ImageFile(path, 0, "", (0, 0), False) for path in paths)
    source = FileImages(files, (SIDE, SIDE, 3))
    for start in range(0, len(paths), BATCH):
        yield source.pixels(np.arange(start, min(start + BATCH, len(paths))))


def with_augmentation(folder: Path) -> Callable[[], Iterator[np.ndarray]]:
    dataset = data.load(str(folder), (SIDE, SIDE, 3))

    def read() -> Iterator[np.ndarray]:
        epoch = Epoch(dataset.train, BATCH, 0, dataset.augmentation)
        for step in range(len(epoch)):
            yield epoch[step][0]

    return read


def fused_by_tensorflow(paths: list[Path]) -> Iterator[np.ndarray]:
    import tensorflow as tf

    def decode(path: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize_with_crop_or_pad(tf.image.resize(image, (256, 341)), SIDE, SIDE)

    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    yield from files.map(decode, num_parallel_calls=2).batch(BATCH).as_numpy_iterator()


def measured(read: Callable[[], Iterator[np.ndarray]], repeats: int) -> dict[str, list[float]]:
    """CPU- and wall-milliseconds an image of each repeat, after one that is not counted."""
    cpu, wall = [], []
    for repeat in range(repeats + 1):
        started = time.process_time(), time.perf_counter()
        count = sum(1 if image.ndim == 3 else len(image) for image in read())
        if repeat:
            cpu.append(1000 * (time.process_time() - started[0]) / count)
            wall.append(1000 * (time.perf_counter() - started[1]) / count)
    return {"cpu_ms": cpu, "wall_ms": wall}


@command_line
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, nargs=2, default=(1200, 900), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.images < 2 * BATCH:
        raise InputError(f"--images is {chosen.images}; it takes at least {2 * BATCH}")
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        paths = write(folder, chosen.images, tuple(chosen.size))
        rows: dict[str, Callable[[], Iterator[np.ndarray]]] = {
            "ours": lambda: ours(paths),
            "without draft": lambda: whole_decode(paths),
            "ours, changed as for training": with_augmentation(folder),
        }
        if importlib.util.find_spec("tensorflow"):
            rows["tf.data, decode and resize"] = lambda: fused_by_tensorflow(paths)
        results = {name: measured(read, chosen.repeats) for name, read in rows.items()}
    if chosen.json:
        print(json.dumps(results, indent=2))
        return
    for name, row in results.items():
        told = "  ".join(
            f"{kind.removesuffix('_ms')} {statistics.median(values):.2f} ms ({min(values):.2f} to {max(values):.2f})"
            for kind, values in row.items()
        )
        print(f"{name:32}{told}")


if __name__ == "__main__":
    sys.exit(main())
