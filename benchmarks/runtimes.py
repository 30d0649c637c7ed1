"""The same models in LiteRT, tflite-runtime, ONNX Runtime, OpenVINO, ExecuTorch and TensorFlow: latency and agreement.

    python benchmarks/runtimes.py [--models NAME…] [--make-only] [--output FOLDER]

First the files and what each runtime makes of them, where the folder does not have that yet; then their latency.
Each runtime is a process with one thread; their turns are interleaved in random order. All of them run our
float32 and int8 files (float in- and outputs), but for `tf.function`, which runs the Keras model, and ExecuTorch,
which runs what it makes of torchvision's. MobileNetV2 has torchvision's weights, the others random ones, whose SQNR
alone means something. What is not installed here is put into a folder of its own (`--packages`); tflite-runtime is
taken from `make .venv-tflite-runtime`, ExecuTorch from `make .venv-torch`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import agreement
import interleaved
import numpy as np
import produce
from published import kept, publish, table
from random_weights import live_in

from export import Worker, export_tflite
from keras_classics.errors import command_line

SERVER = Path(__file__).with_name("runtime_server.py")
MODELS = ("mobilenet_v2", "mobilenet_v1", "resnet50", "googlenet", "vgg16")
PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "openvino", "tf2onnx")
RUNTIMES = ("LiteRT", "OpenVINO", "ONNX Runtime")
ALONE = ("tflite-runtime", "ExecuTorch")  # in environments of their own
MODES = ("float32", "int8")
REFERENCE = "LiteRT, float32"
COMPARED = 50
TURN = 0.15  # seconds
COLUMNS = ("model", "runtime, mode", "ms", "/ LiteRT float32", "SQNR, dB", "agree")


class Server:
    """One model in one runtime."""

    def __init__(self, label: str, folder: Path, options: argparse.Namespace) -> None:
        runtime, _, mode = label.partition(", ")
        files = {"tf.function": "model.keras", "ExecuTorch": f"{mode}.pte"}
        command = [_python(runtime, options), SERVER, runtime, folder / files.get(runtime, f"{mode}.tflite")]
        command += [] if runtime in ALONE else [options.packages]
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def outputs(self, images: Path, file: Path) -> np.ndarray:
        """The runtime's outputs for the images; RuntimeError where it cannot run the model."""
        self._ask("outputs", images, file)
        return np.load(file)

    def seconds(self) -> float:
        """The fastest of the calls of one turn, on an image of the last `outputs`."""
        return float(self._ask("time", TURN))

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, *words: object) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(*words, sep="\t", file=self._process.stdin, flush=True)
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


def make(name: str, folder: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The model's files, and the agreement of every runtime and mode with it; `error` where it cannot run them."""
    weights = agreement.checkpoint() if name == "mobilenet_v2" else None
    model = produce.build(name, weights)
    calibration, images = (np.load(options.output / f"{part}.npy") for part in ("calibration", "evaluation"))
    if not weights:
        live_in(model, calibration[: produce.LIVED_IN])
    expected = model.predict(images, batch_size=8, verbose=0)
    folder.mkdir(exist_ok=True)
    with Worker() as worker:
        for mode in MODES:
            samples = calibration if mode == "int8" else None
            path = folder / f"{mode}.tflite"
            export_tflite(model, path, mode, calibration=samples, io="float32", gate=False, worker=worker)
    model.save(folder / "model.keras")
    rows: dict[str, dict[str, Any]] = {}
    for label in _labels(name, options):
        reference = expected
        if label.startswith("ExecuTorch"):
            try:
                reference = _made_by_executorch(name, label.partition(", ")[2], weights, folder, options)
            except RuntimeError as error:
                rows[label] = {"error": str(error)}
                continue
        server = Server(label, folder, options)
        try:
            found = server.outputs(options.output / "evaluation.npy", folder / "outputs.npy")
        except RuntimeError as error:
            rows[label] = {"error": str(error)}
        else:
            result = agreement.compare(reference, found, list(map(str, range(len(images)))))
            rows[label] = {"agree": result.agree, "sqnr": result.sqnr_mean}
        server.stop()
    return rows


def _made_by_executorch(
    name: str, mode: str, weights: Path | None, folder: Path, options: argparse.Namespace
) -> np.ndarray:
    """Write the ExecuTorch file of torchvision's model; that model's own logits in float."""
    path = folder / f"{mode}.pte"
    command = [options.torch_python, SERVER.with_name("produce_torch.py"), "executorch", name, mode, path]
    for part in ("calibration", "evaluation"):
        command += [f"--{part}", options.output / f"{part}.npy"]
    command += ["--weights", weights] if weights else []
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["ExecuTorch cannot export the model"])[-1][:200])
    return np.load(path.with_suffix(".npy"))


def timing(rows: dict[str, dict[str, Any]], folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every round, by runtime and mode, and where they were measured."""
    servers = {label: Server(label, folder, options) for label, row in rows.items() if "error" not in row}
    try:
        for server in servers.values():
            server.outputs(options.output / "image.npy", folder / "outputs.npy")
        found = interleaved.rounds({label: server.seconds for label, server in servers.items()}, options.rounds)
    finally:
        for server in servers.values():
            server.stop()
    made = interleaved.footnote("keras", "tensorflow", "ai-edge-litert").rstrip(".")
    return {"seconds": found, "made": f"{made}, {_versions(options)}."}


@command_line
def main() -> None:
    """Compare all, and write `runtimes.md` and `runtimes.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--make-only", action="store_true", help="make the files and time nothing")
    parser.add_argument("--again", action="store_true", help="time what was timed before")
    parser.add_argument("--photos", type=Path, default=Path("benchmark-output/photos"))
    parser.add_argument("--packages", type=Path, default=Path("benchmark-output/runtime-packages"))
    parser.add_argument("--tflite-runtime-python", type=Path, default=Path(".venv-tflite-runtime/bin/python"))
    parser.add_argument("--torch-python", type=Path, default=Path(".venv-torch/bin/python"))
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/runtimes"))
    parser.add_argument("--docs", type=Path, default=interleaved.DOCS, help="where the table goes")
    options = parser.parse_args()
    install(options.packages)
    options.output.mkdir(parents=True, exist_ok=True)
    evaluation, _ = agreement.normalized(options.photos, "evaluation")
    np.save(options.output / "calibration.npy", agreement.normalized(options.photos, "calibration")[0])
    np.save(options.output / "evaluation.npy", evaluation[:: len(evaluation) // COMPARED][:COMPARED])
    np.save(options.output / "image.npy", evaluation[:1])
    made = {}
    for name in options.models:
        folder = options.output / name
        made[name] = kept(folder / "agreement.json", make, name, folder, options)
    if options.make_only:
        return
    found: dict[str, dict[str, Any]] = {}
    timed: list[dict[str, Any]] = []
    for name, rows in made.items():
        folder = options.output / name
        timed.append(kept(folder / "timing.json", timing, rows, folder, options, again=options.again))
        ratios = interleaved.ratios(timed[-1]["seconds"], REFERENCE)
        found[name] = {label: row | (asdict(ratios[label]) if label in ratios else {}) for label, row in rows.items()}
        publish(options.docs, "runtimes", _paragraphs(found, timed), found)


def _python(runtime: str, options: argparse.Namespace) -> Path:
    return {"tflite-runtime": options.tflite_runtime_python, "ExecuTorch": options.torch_python}.get(
        runtime, Path(sys.executable)
    )


def _labels(name: str, options: argparse.Namespace) -> list[str]:
    """Runtimes that are here and can have the model, with their modes."""
    alone = [each for each in ALONE if _python(each, options).exists()]
    if name in produce.WITHOUT_PYTORCH and "ExecuTorch" in alone:
        alone.remove("ExecuTorch")
    return [f"{runtime}, {mode}" for mode in MODES for runtime in (*RUNTIMES, *alone)] + ["tf.function, float32"]


def _versions(options: argparse.Namespace) -> str:
    folders = [options.packages, *options.torch_python.parents[1].glob("lib/python*/site-packages")]
    found = {each.name: each.version for each in distributions(path=list(map(str, folders)))}
    names = ("onnxruntime", "openvino", "tf2onnx", "executorch")
    return ", ".join(f"{name} {found[name]}" for name in names if name in found)


def _paragraphs(found: dict[str, dict[str, Any]], timed: list[dict[str, Any]]) -> list[str]:
    rounds = len(timed[0]["seconds"][REFERENCE])
    return [
        f"One thread; {rounds} interleaved rounds of the fastest call in {TURN} s; ratio to LiteRT float32 in the same "
        f"round, median and 95 % interval. Agreement and SQNR against the Keras model on {COMPARED} photos. "
        "ExecuTorch has torchvision's model, which is another network for GoogLeNet.",
        table(COLUMNS, [_cells(name, label, row) for name, rows in found.items() for label, row in rows.items()]),
        interleaved.merged(each["made"] for each in timed),
    ]


def _cells(name: str, label: str, row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [name, label, "", row["error"], "", ""]
    ratio = f"{row['ratio']:.2f} ({row['low']:.2f}–{row['high']:.2f})"
    agree = f"{row['agree']:.0%}" if name == "mobilenet_v2" else ""
    return [name, label, f"{1000 * row['seconds']:.2f}", ratio, f"{row['sqnr']:.1f}", agree]


if __name__ == "__main__":
    sys.exit(main())
