"""A folder with one folder of images for each class, read as a dataset."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_classics.datasets.augment import Augmentation
from keras_classics.datasets.folder_index import FolderIndex, Found
from keras_classics.datasets.parts import Dataset, Part, Shape
from keras_classics.errors import InputError

T = TypeVar("T")
# Names of image files end in one of these.
SUFFIXES = {".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# A folder that macOS puts into its ZIP files, of files that are no images and called like them.
LEFT_BESIDE = "__MACOSX"
MOST_NAMED = 10
"""A message names so many of the images that cannot be read, and counts the rest."""
# Pillow's names of the formats that they may hold. It knows others for which it starts programs, such as PostScript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# Of these, further pictures in one file are frames or pages; those in a JPEG belong to the photo, as a preview does.
SEVERAL_PICTURES = ("GIF", "PNG", "TIFF", "WEBP")
MOST_PIXELS = 1 << 27
"""Height times width. A few kilobytes can announce, and a compressed image hold, any number of pixels."""
# The part that a folder of each name holds.
SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
HELD_OUT_SHARES = {"test": 1 / 10, "validation": 1 / 9, "calibration": 1 / 16}
"""The share of the images still left that each part takes, in this order; 75 % of all are trained on."""

PHOTO_AUGMENTATION = Augmentation(rotation_degrees=5, shift=0.05, zoom=0.1, horizontal_flip=True, fill="nearest")
"""Photos are turned and moved a little and mirrored left to right."""


DEFAULT_SIZE = 224
"""Height and width, in pixels, of images that differ in size, as in most of the papers."""


@dataclass(frozen=True)
class ImageFile:
    """One image, as a first reading found it. `size` is (height, width)."""

    path: Path
    label: int
    digest: str
    size: tuple[int, int]
    grayscale: bool


@dataclass(frozen=True)
class FileImages:
    """Images on disk, decoded when they are asked for and brought to one shape."""

    files: tuple[ImageFile, ...]
    image_shape: Shape

    def pixels(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices`, uint8 (n, height, width, channels)."""
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        paths = [self.files[index].path for index in indices]
        with ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
            for image, pixels in zip(images, pool.map(lambda path: decode(path, self.image_shape), paths), strict=True):
                image[...] = pixels
        return images

    def digest(self) -> str:
        """SHA-256 over the files' own digests and the shape they are brought to."""
        return hashlib.sha256(repr(([file.digest for file in self.files], self.image_shape)).encode()).hexdigest()


def load(
    root: Path, image_shape: Shape | None = None, default_size: int | None = None, skip_unreadable: bool = False
) -> Dataset:
    """Read the class folders under `root`; see `keras_classics.datasets.data.load`.

    Every image is decoded once, so that a damaged one is found before training and not in it, and
    then again only if it has changed (see `folder_index`).
    Without `train/` and `test/`, a tenth of each class goes to each of validation and test by the
    rank of the content's hash: the same folder always gives the same parts, wherever it lies. An
    image that occurs more than once, under whatever name, lands in one part.
    """
    folders = _split_folders(root)
    class_names = tuple(folder.name for folder in _class_folders(folders["train"]))
    if len(class_names) < 2:
        raise InputError(
            f"{folders['train']} has one class folder, {class_names[0]}; classification takes at least two"
        )
    faults: list[InputError] = []
    files = {name: _read_classes(folder, class_names, faults) for name, folder in folders.items()}
    if faults and not skip_unreadable:
        raise InputError(f"{together(faults)}, or give --skip-unreadable")
    shape = _common_shape(root, [file for part in files.values() for file in part], image_shape, default_size)
    parts = {
        name: Part(np.array([file.label for file in chosen], np.int64), FileImages(tuple(chosen), shape))
        for name, chosen in _divide(root, files, class_names).items()
    }
    skipped = tuple(map(str, faults))
    return Dataset(str(root), class_names, shape, augmentation=PHOTO_AUGMENTATION, skipped=skipped, **parts)


def image_files(folder: Path) -> list[Path]:
    """The images below a folder, sorted: regular files, without hidden ones and what archivers leave beside them."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") or part == LEFT_BESIDE for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def check(paths: Sequence[Path]) -> None:
    """Raise InputError if any of these cannot be read as images; it names them all."""
    with ThreadPoolExecutor() as pool:
        faults = [each for each in pool.map(_attempted(_read), paths) if isinstance(each, InputError)]
    if faults:
        raise InputError(together(faults))


def decode_readable(paths: Sequence[Path], shape: Shape, skip_unreadable: bool = False) -> list[np.ndarray]:
    """These images as `decode` gives them.

    Raises:
        InputError: some cannot be read, and are not to be left out; or none can.
    """
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(_attempted(lambda path: decode(path, shape)), paths))
    faults = [each for each in found if isinstance(each, InputError)]
    if faults and (not skip_unreadable or len(faults) == len(found)):
        raise InputError(f"{together(faults)}, or give --skip-unreadable")
    return [each for each in found if isinstance(each, np.ndarray)]


def together(faults: Sequence[InputError]) -> str:
    """One message of all images that cannot be read."""
    if len(faults) == 1:
        return str(faults[0])
    named = "; ".join(str(fault).partition(";")[0] for fault in faults[:MOST_NAMED])
    more = f"; and {len(faults) - MOST_NAMED} more" if len(faults) > MOST_NAMED else ""
    return f"{len(faults)} images cannot be read: {named}{more}; replace or remove them"


def _attempted(read: Callable[[Path], T]) -> Callable[[Path], T | InputError]:
    """The same, giving the error where it would raise it."""

    def attempt(path: Path) -> T | InputError:
        try:
            return read(path)
        except InputError as error:
            return error

    return attempt


def decode(path: Path | BinaryIO, shape: Shape) -> np.ndarray:
    """One image file as uint8 (height, width, channels): shorter side resized, centre cropped.

    JPEG files much larger than that are decoded at the half, quarter or eighth of their size that is
    still as large.

    Raises:
        ValueError: the file, which the message names, is damaged or not an image.
    """
    return fitted(_read(path, max(shape[:2])), shape)


def fitted(image: Image.Image, shape: Shape) -> np.ndarray:
    """An image as uint8 (height, width, channels): shorter side resized, centre cropped."""
    height, width, channels = shape
    image = image.convert("L" if channels == 1 else "RGB")
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)).reshape(shape)


def _read(path: Path | BinaryIO, least_side: int | None = None) -> Image.Image:
    """The whole image, upright, with 8 bits a channel; a JPEG at a smaller scale, both sides at least `least_side`."""
    try:
        if isinstance(path, Path) and not path.is_file():  # a pipe would be waited for
            raise ValueError("it is not a file")
        with Image.open(path, formats=FORMATS) as image:
            _check(image)
            if least_side is not None:
                image.draft(None, (least_side, least_side))
            return _eight_bit(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise InputError(f"{path} cannot be read as an image (it is none of {kinds}); replace or remove it") from error
    except Exception as error:  # each of Pillow's decoders has its own
        reason = " ".join(str(error).replace(f" {str(path)!r}", "").split())
        raise InputError(f"{path} cannot be read as an image ({reason}); replace or remove it") from error


def _check(image: Image.Image) -> None:
    """Refuse what is no single picture, or would fill the memory, by what its header says."""
    height, width = image.height, image.width
    if height * width > MOST_PIXELS:
        raise ValueError(f"{height}×{width} are more than {MOST_PIXELS:,} pixels")
    if image.format in SEVERAL_PICTURES and getattr(image, "n_frames", 1) > 1:
        raise ValueError("it holds several pictures, frames or pages")


def _eight_bit(image: Image.Image) -> Image.Image:
    """`image`, its 16-bit grays scaled to 8 bits, which Pillow would clip."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) / 257).round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are of mode {image.mode}, without a known range")
    return image


def _split_folders(root: Path) -> dict[str, Path]:
    """Where each part lies: the folders `train`, `test` and `val` of `root`, or `root` itself."""
    if not root.is_dir():
        raise InputError(
            f"{root} is not a folder; --data takes mnist, fashion-mnist, digits or a folder of class folders"
        )
    inside = {folder.name for folder in _folders(root)}
    if not inside:
        raise InputError(f"{root} has no class folders; put the images of each class in a folder of that class's name")
    if not ("train" in inside and inside <= SPLITS.keys()):
        return {"train": root}
    if "test" not in inside:
        raise InputError(f"{root} has train but no test; add a folder test, or rename one to it")
    if {"val", "validation"} <= inside:
        raise InputError(f"{root} has both val and validation; keep one")
    return {SPLITS[name]: root / name for name in inside}


def _folders(root: Path) -> list[Path]:
    inside = (path for path in root.iterdir() if not path.name.startswith(".") and path.name != LEFT_BESIDE)
    return sorted(path for path in inside if path.is_dir())


def _class_folders(root: Path) -> list[Path]:
    folders = _folders(root)
    if not folders:
        raise InputError(f"{root} has no class folders; put the images of each class in a folder of that class's name")
    return folders


def _read_classes(root: Path, class_names: tuple[str, ...], faults: list[InputError]) -> list[ImageFile]:
    """Every image of the class folders under `root`, decoded once; to `faults` goes what cannot be."""
    jobs = []
    for folder in _class_folders(root):
        if folder.name not in class_names:
            raise InputError(f"{folder} is a class that train has not; add it there or remove it")
        images = image_files(folder)
        if not images:
            raise InputError(f"{folder} has no images ({', '.join(sorted(SUFFIXES))}); add some or remove the folder")
        jobs += [(path, class_names.index(folder.name)) for path in images]
    index = FolderIndex(root)

    def inspect(job: tuple[Path, int]) -> ImageFile | InputError:
        path, label = job
        try:
            if (found := index.find(path)) is None:
                found = _inspect(path)
                index.add(path, found)
        except InputError as error:
            return error
        return ImageFile(path, label, found.digest, found.size, found.grayscale)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(inspect, jobs))
    index.write()
    faults += [each for each in found if isinstance(each, InputError)]
    return [each for each in found if isinstance(each, ImageFile)]


def _inspect(path: Path) -> Found:
    image = _read(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Found(digest, (image.height, image.width), image.mode in ("1", "L", "LA"))


def _common_shape(root: Path, files: list[ImageFile], asked: Shape | None, default_size: int | None) -> Shape:
    channels = 1 if all(file.grayscale for file in files) else 3
    if asked is None:
        side = default_size or DEFAULT_SIZE
        sizes = {file.size for file in files}
        height, width = sizes.pop() if len(sizes) == 1 else (side, side)
        return (height, width, channels) if max(height, width) <= side else (side, side, channels)
    height, width, _ = asked
    if asked[2] != channels:
        kind = "grayscale" if channels == 1 else "colour"
        raise InputError(
            f"{root} holds {kind} images and an image shape of {height}×{width}×{asked[2]} is asked for; "
            f"use {height}×{width}×{channels} or other data"
        )
    return asked


def _divide(root: Path, files: dict[str, list[ImageFile]], class_names: tuple[str, ...]) -> dict[str, list[ImageFile]]:
    """The four parts: those that have folders of their own, the others held out of `train`."""
    parts = _without_repeats(root, files)
    for name, share in HELD_OUT_SHARES.items():
        if name not in parts:
            parts["train"], parts[name] = _hold_out(parts["train"], share)
        if not parts[name]:
            raise InputError(f"{root} leaves no image for {name}; add images that occur nowhere else")
    trained = {file.label for file in parts["train"]}
    for label, class_name in enumerate(class_names):
        if label not in trained:
            raise InputError(
                f"class {class_name} of {root} has too few different images to train, validate, calibrate "
                "and test on; give each class at least four"
            )
    return parts


def _without_repeats(root: Path, files: dict[str, list[ImageFile]]) -> dict[str, list[ImageFile]]:
    """`files` without the training images that are also tested or validated on."""
    seen: set[str] = set()
    parts: dict[str, list[ImageFile]] = {}
    left_out = 0
    for name in ("test", "validation", "train"):
        if name in files:
            parts[name] = [file for file in files[name] if file.digest not in seen]
            left_out += len(files[name]) - len(parts[name])
            seen |= {file.digest for file in parts[name]}
    if left_out:
        warnings.warn(f"{root}: {left_out} images occur in more than one part and are kept in one", stacklevel=2)
    return parts


def _hold_out(files: list[ImageFile], share: float) -> tuple[list[ImageFile], list[ImageFile]]:
    """What stays and what is held out: of each class the contents whose hashes rank first."""
    label_of = {file.digest: file.label for file in reversed(files)}
    ranked: dict[int, list[str]] = {}
    for digest in sorted(label_of):
        ranked.setdefault(label_of[digest], []).append(digest)
    held = {digest for digests in ranked.values() for digest in digests[: max(1, round(share * len(digests)))]}
    return [file for file in files if file.digest not in held], [file for file in files if file.digest in held]
