"""`keras-classics predict FILE IMAGE…`: what one file, or two side by side, say is on images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from keras_classics.cli.output import add_common, print_json, print_table
from keras_classics.errors import ArgumentParser, InputError, command_line, require
from keras_classics.quiet import start_keras
from keras_classics.registration import import_of_user

if TYPE_CHECKING:
    from export.classifier import Classifier, Prediction

MODELS = (".keras", ".tflite")
NAME = "keras-classics predict"


def parser(prog: str = NAME) -> argparse.ArgumentParser:
    """What the verb takes."""
    result = ArgumentParser(
        prog=prog,
        description="Name what is on images. Two files, such as a .keras and its int8 .tflite, are told side by side.",
    )
    result.add_argument("words", nargs="+", metavar="FILE… IMAGE…", help=".keras and .tflite files; images and folders")
    result.add_argument("--top", type=int, default=5, metavar="N", help="classes to tell of each image (default 5)")
    result.add_argument(
        "--input-range", metavar="LOW,HIGH", help="where no file says it: 0,1 or -1,1 or 0,255 or imagenet or caffe"
    )
    result.add_argument("--import", dest="module", metavar="MODULE", help="a module that registers custom layers")
    add_common(result)
    return result


@command_line
def main(arguments: Sequence[str] | None = None, prog: str = NAME) -> None:
    """Print the most probable classes of each image."""
    chosen = parser(prog).parse_args(arguments)
    files = [word for word in chosen.words if word.endswith(MODELS)]
    if not files:
        raise InputError(f"no file ends in {' or '.join(MODELS)}; name the model first, then the images")
    if chosen.top < 1:
        raise InputError(f"--top is {chosen.top}; it takes at least 1")
    for missing in (file for file in files if not Path(file).is_file()):
        raise InputError(f"{missing} is not a file; check the path")
    require("PIL", *(["ai_edge_litert"] if any(file.endswith(".tflite") for file in files) else []))
    if any(file.endswith(".keras") for file in files):
        start_keras(chosen.verbose)
    from export.classifier import load_classifier

    if chosen.module:
        import_of_user(chosen.module)
    images = _images([word for word in chosen.words if not word.endswith(MODELS)])
    classifiers = [load_classifier(file, input_range=chosen.input_range) for file in files]
    found = {
        str(each.path): [row for image in images for row in each.predict([image], chosen.top)] for each in classifiers
    }
    if chosen.json:
        print_json(
            [
                {
                    "image": str(image),
                    "predictions": {file: [asdict(each) for each in rows[index]] for file, rows in found.items()},
                }
                for index, image in enumerate(images)
            ]
        )
    else:
        print_table(_table(images, classifiers, found))


def _images(words: Sequence[str]) -> list[Path]:
    """The images that were named, and those of folders; all that cannot be read are told at once."""
    from keras_classics.datasets import image_folder

    paths: list[Path] = []
    for word in map(Path, words):
        inside = image_folder.image_files(word) if word.is_dir() else [word]
        if not inside:
            raise InputError(f"{word} holds no images; put {', '.join(sorted(image_folder.SUFFIXES))} files there")
        paths += inside
    if not paths:
        raise InputError("there is no image to name; give at least one")
    image_folder.check(paths)
    return paths


def _table(images: Sequence[Path], classifiers: Sequence[Classifier], found: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1))
    table.add_column("image", overflow="fold")
    for each in classifiers:
        table.add_column(each.path.name, overflow="fold")
        table.add_column("", justify="right", no_wrap=True)
    for index, image in enumerate(images):
        columns: list[list[Prediction]] = [found[str(each.path)][index] for each in classifiers]
        for rank, row in enumerate(zip(*columns, strict=True)):
            cells = [cell for each in row for cell in (each.name, f"{each.probability:.1%}")]
            last = rank == len(columns[0]) - 1 and index < len(images) - 1
            table.add_row("" if rank else str(image), *cells, end_section=last)
    return table
