"""Natural photos of installed packages, in three parts that share no subject: the folder that int8 is judged on.

    python benchmarks/photos.py FOLDER

writes FOLDER/{calibration,tuning,evaluation}/*.png, 224×224 RGB. `photos.json` beside this file names
every source by package, version and SHA-256, its part, its subject, and the square boxes cut from it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_classics.errors import InputError, command_line

MANIFEST = Path(__file__).with_suffix(".json")
PARTS = ("calibration", "tuning", "evaluation")
SIZE = 224
INSTALL = {"skimage": "pip install scikit-image", "sklearn": "pip install scikit-learn"}


def sources() -> list[dict[str, Any]]:
    """The manifest's entries: package, version, file, sha256, part, subject, boxes (left, top, right, bottom)."""
    return json.loads(MANIFEST.read_text())


def make(folder: Path) -> dict[str, int]:
    """Write all photos; the number of each part.

    Raises:
        InputError: a package is missing, or holds other files than the manifest's version of it.
    """
    for part in PARTS:
        (folder / part).mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(PARTS, 0)
    for source in sources():
        image = Image.open(_checked(source)).convert("RGBA")
        for number, box in enumerate(source["boxes"]):
            seed = int(source["sha256"][:8], 16) + number
            _cut(image, box, seed).save(folder / source["part"] / f"{_stem(source)}-{number}.png")
            counts[source["part"]] += 1
    return counts


def load(folder: Path, part: str) -> tuple[np.ndarray, list[str]]:
    """The part's photos, uint8 (N, 224, 224, 3), and the subject of each; they are cut first where there are none."""
    if not (folder / part).is_dir():
        make(folder)
    names = [
        (f"{_stem(source)}-{number}.png", source["subject"])
        for source in sources()
        if source["part"] == part
        for number in range(len(source["boxes"]))
    ]
    images = [np.asarray(Image.open(folder / part / name)) for name, _ in names]
    return np.stack(images), [subject for _, subject in names]


def _stem(source: dict[str, Any]) -> str:
    return f"{source['package']}-{Path(source['file']).stem}-{source['sha256'][:6]}"


def _checked(source: dict[str, Any]) -> Path:
    package, mend = source["package"], INSTALL.get(source["package"], f"apt install {source['package']}")
    path = Path(source["file"])
    if not path.is_absolute():
        found = importlib.util.find_spec(package)
        path = Path(*(found.submodule_search_locations or ()) if found else (), path)
    if not path.is_file():
        raise InputError(f"{package} is not installed ({path} is missing); {mend}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != source["sha256"]:
        raise InputError(f"{path} is not that of {package} {source['version']}; install that version")
    return path


def _cut(image: Image.Image, box: list[int], seed: int) -> Image.Image:
    """The box of the image at 224×224, on a texture where it is transparent or beyond the edge."""
    left, top, right, bottom = box
    square = Image.new("RGBA", (right - left, bottom - top))
    square.paste(image, (-left, -top))
    # Premultiplied, or the colour that hides behind transparent pixels bleeds into the edges.
    cut = np.asarray(square.convert("RGBa").resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)
    pixels = cut[..., :3] + (1 - cut[..., 3:] / 255) * texture(seed)
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))


def texture(seed: int) -> np.ndarray:
    """A coloured texture, (224, 224, 3) in [0, 255], whose amplitude falls as 1/frequency, as that of photos does."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :])
    frequency[0, 0] = np.inf
    waves = np.exp(2j * np.pi * random.random((3, *frequency.shape))) / frequency
    planes = np.fft.irfft2(waves, (SIZE, SIZE))
    planes /= planes.std(axis=(1, 2), keepdims=True)
    tint = random.uniform(70, 180) + random.uniform(-25, 25, (3, 1, 1))
    return np.moveaxis(np.clip(tint + 25 * planes[:1] + 6 * planes, 0, 255), 0, -1)


@command_line
def main() -> None:
    """Write the three parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    counts = make(parser.parse_args().folder)
    print(", ".join(f"{count} {part}" for part, count in counts.items()))


if __name__ == "__main__":
    sys.exit(main())
