"""The same models in LiteRT, tflite-runtime, ONNX Runtime, OpenVINO and TensorFlow: latency and agreement.

    python benchmarks/runtimes.py [--models NAME…] [--rounds N] [--output FOLDER]

Each runtime is a process with one thread; their turns are interleaved in random order. All of them run our
float32 and int8 files (float in- and outputs), but for `tf.function`, which runs the Keras model. MobileNetV2 has
torchvision's weights, the others random ones, whose SQNR alone means something. What is not installed here is
put into a folder of its own (`--packages`), and tflite-runtime is taken from `make .venv-tflite-runtime`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import agreement
import interleaved
import numpy as np
import produce
from rich.console import Console

from export import Worker, export_tflite
from keras_classics.errors import command_line
from keras_classics.files import write_json, write_text

SERVER = Path(__file__).with_name("runtime_server.py")
MODELS = ("mobilenet_v2", "mobilenet_v1", "resnet50", "googlenet", "vgg16")
PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "openvino", "tf2onnx")
BLOCK = 10
COMPARED = 50


class Server:
    """One model in one runtime."""

    def __init__(self, runtime: str, path: Path, options: argparse.Namespace) -> None:
        alone = runtime == "tflite-runtime"
        command = [options.tflite_runtime_python] if alone else [sys.executable]
        command += [SERVER, runtime, path] if alone else [SERVER, runtime, path, options.packages]
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def outputs(self, images: np.ndarray, file: Path) -> np.ndarray:
        """The runtime's outputs for the images; RuntimeError where it cannot run the model."""
        np.save(file, images)
        self._ask(f"outputs {file}")
        return np.load(file)

    def seconds(self) -> float:
        """The fastest of a block of calls."""
        return float(self._ask(str(BLOCK)))

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise RuntimeError("the runtime cannot load the model") from None
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the runtime cannot run the model")
        return answer


def install(packages: Path) -> None:
    """Put the other runtimes into a folder, once."""
    if not packages.is_dir():
        target = ["--quiet", "--no-deps", "--target", str(packages)]
        command = [sys.executable, "-m", "pip", "install", *target, *PACKAGES]
        subprocess.run(command, check=True)


def compare(name: str, images: np.ndarray, calibration: np.ndarray, folder: Path, options: argparse.Namespace) -> dict:
    """Latency and agreement of one model in every runtime and mode."""
    weights = agreement.checkpoint() if name == "mobilenet_v2" else None
    model = produce.build(name, weights)
    expected = model.predict(images, batch_size=8, verbose=0)
    files = {"float32": folder / f"{name}-float32.tflite", "int8": folder / f"{name}-int8.tflite"}
    with Worker() as worker:
        for mode, path in files.items():
            samples = calibration if mode == "int8" else None
            export_tflite(model, path, mode, calibration=samples, io="float32", gate=False, worker=worker)
    model.save(folder / f"{name}.keras")
    alone = ["tflite-runtime"] if options.tflite_runtime_python.exists() else []
    runtimes = ["LiteRT", "OpenVINO", "ONNX Runtime", *alone]
    plans = [(runtime, mode, path) for mode, path in files.items() for runtime in runtimes]
    plans.append(("tf.function", "float32", folder / f"{name}.keras"))
    servers: dict[str, Server] = {}
    rows: dict[str, dict] = {}
    for runtime, mode, path in plans:
        server = Server(runtime, path, options)
        label = f"{runtime}, {mode}"
        try:
            found = server.outputs(images, folder / "images.npy")
        except RuntimeError as error:
            rows[label] = {"error": str(error)}
            server.stop()
        else:
            servers[label] = server
            result = agreement.compare(expected, found, list(map(str, range(len(images)))))
            rows[label] = {"agree": result.agree, "sqnr": result.sqnr_mean}
    timed = interleaved.rounds({label: server.seconds for label, server in servers.items()}, options.rounds)
    for label, ratio in interleaved.ratios(timed, "LiteRT, float32").items():
        rows[label] |= vars(ratio)
    for server in servers.values():
        server.stop()
    return rows


@command_line
def main() -> None:
    """Compare all, and write `runtimes.md` and `runtimes.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--photos", type=Path, default=Path("benchmark-output/photos"))
    parser.add_argument("--packages", type=Path, default=Path("benchmark-output/runtime-packages"))
    parser.add_argument("--tflite-runtime-python", type=Path, default=Path(".venv-tflite-runtime/bin/python"))
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/runtimes"))
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    install(options.packages)
    options.output.mkdir(parents=True, exist_ok=True)
    evaluation, _ = agreement.normalized(options.photos, "evaluation")
    images = evaluation[:: len(evaluation) // COMPARED][:COMPARED]
    calibration, _ = agreement.normalized(options.photos, "calibration")
    rows = {name: compare(name, images, calibration, options.output, options) for name in options.models}
    table = _markdown(rows, options)
    write_json(options.docs / "runtimes.json", rows)
    write_text(options.docs / "runtimes.md", table)
    Console(soft_wrap=True).print(table, markup=False, highlight=False)


def _markdown(rows: dict[str, dict], options: argparse.Namespace) -> str:
    lines = [
        f"One thread; {options.rounds} interleaved rounds of the fastest of {BLOCK} calls; ratio to LiteRT float32 in "
        f"the same round, median and 95 % interval. Agreement and SQNR against the Keras model on {COMPARED} photos.",
        "",
        "| model | runtime, mode | ms | ratio | SQNR, dB | agree |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in rows.items():
        for label, row in figures.items():
            if "error" in row:
                lines.append(f"| {name} | {label} | | {row['error']} | | |")
                continue
            agree = f"{row['agree']:.0%}" if name == "mobilenet_v2" else ""
            ratio = f"{row['ratio']:.2f} ({row['low']:.2f}–{row['high']:.2f})"
            lines.append(f"| {name} | {label} | {1000 * row['seconds']:.2f} | {ratio} | {row['sqnr']:.1f} | {agree} |")
    made = interleaved.footnote("keras", "tensorflow", "ai-edge-litert")
    found = sorted(path.name.removesuffix(".dist-info") for path in options.packages.glob("*.dist-info"))
    return "\n".join([*lines, "", f"{made} {', '.join(found)}.", ""])


if __name__ == "__main__":
    sys.exit(main())
