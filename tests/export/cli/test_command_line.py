"""`python -m export.tflite`: what it writes, what it says of bad input, and its exit codes."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_classics as kc
from export.tflite import main
from export.tflite_file.audit import audit
from keras_classics import registry
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset


@pytest.fixture
def model_file(lenet: keras.Model, tmp_path: Path) -> Path:
    path = tmp_path / "digits.keras"
    lenet.save(path)
    path.with_name("digits.preprocess.json").write_text('{"input_range": [0, 1]}')
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_keras_file_becomes_a_checked_int8_file(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, model_file, "--int8", "--data", "mnist", "--output", tmp_path / "out")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["digits-int8.json", "digits-int8.tflite"]
    report = json.loads((tmp_path / "out" / "digits-int8.json").read_text())
    assert report["evaluated"] == 1000
    assert report["input_range"] == [0, 1]
    assert f"{report['accuracy']:.2%}" in out
    assert report["sha256"] == audit(tmp_path / "out" / "digits-int8.tflite").sha256
    assert report["class_names"] == list("0123456789")


def test_a_file_for_mediapipe_takes_bytes_and_has_code_beside_it(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--int8", "--data", "mnist", "--for", "mediapipe", "--snippet", "py", "kt", "--output", tmp_path]
    code, out, err = run(capsys, model_file, *arguments)
    assert code == 0, err
    report = json.loads((tmp_path / "digits-int8.json").read_text())
    assert report["input"]["dtype"] == report["output"]["dtype"] == "uint8"
    for suffix in ("py", "kt"):
        assert str(tmp_path / f"digits-int8.{suffix}") in out
        assert report["sha256"] in (tmp_path / f"digits-int8.{suffix}").read_text()


def photos(images: np.ndarray, folder: Path) -> Path:
    """A folder with gray images as files, one level down."""
    (folder / "inner").mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray((image[..., 0] * 255).astype(np.uint8)).save(folder / "inner" / f"{index}.png")
    return folder


def test_calibration_from_a_folder_and_from_arrays(
    model_file: Path, mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = mnist.calibration.images(slice(20))
    np.savez(tmp_path / "arrays.npz", image=images)
    for source in (photos(images, tmp_path / "photos"), tmp_path / "arrays.npz"):
        code, _, err = run(capsys, model_file, "--int8", "--calibration", source, "--output", tmp_path)
        assert code == 0, err
        report = json.loads((tmp_path / "digits-int8.json").read_text())
        assert report["accuracy"] is None
        assert report["calibration"]["count"] == 20
        assert report["parity"]["compared_on"] == "calibration"


def test_a_small_folder_calibrates_on_training_images_too(
    model_file: Path, mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = mnist.test.images(slice(200)), mnist.test.labels[:200]
    for label in range(10):
        (tmp_path / "photos" / str(label)).mkdir(parents=True)
        for index in np.flatnonzero(labels == label)[:6]:
            picture = Image.fromarray((images[index, ..., 0] * 255).round().astype(np.uint8))
            picture.save(tmp_path / "photos" / str(label) / f"{index}.png")
    (tmp_path / "photos" / "3" / "broken.png").write_bytes(b"no picture")
    arguments = [model_file, "--int8", "--no-gate", "--data", tmp_path / "photos", "--output", tmp_path / "out"]
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "broken.png cannot be read as an image" in err
    code, _, err = run(capsys, *arguments, "--skip-unreadable")
    assert code == 0, err
    report = json.loads((tmp_path / "out" / "digits-int8.json").read_text())
    dataset = data.load(str(tmp_path / "photos"), skip_unreadable=True)
    assert len(dataset.calibration) < 20
    assert report["calibration"]["count"] == len(dataset.calibration) + len(dataset.train)
    assert report["evaluated"] == len(dataset.test)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_folder = tmp_path / "out"
    code, out, err = run(capsys, "--int8", "--qat", "--dry-run", "--output", out_folder)
    assert code == 0, err
    assert "mobilenet_v2, trained first for 15 epochs (seed 0)" in out
    assert "int8 (int8 in and out) --qat" in out
    assert "mnist: 3,500 train, 300 validation, 200 calibration, 1,000 test; 10 classes" in out
    code, out, _ = run(capsys, model_file, "--float32", "--dry-run", "--output", out_folder)
    assert f"{model_file}, as it is" in out
    assert "not known: there is no report of it" in out
    assert not out_folder.exists()
    code, _, err = run(capsys, model_file, "--int8", "--dry-run")
    assert (code, "give --data or --calibration" in err) == (2, True)


def test_layers_can_be_looked_at_and_kept_in_float(
    model_file: Path, mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "images.npy", mnist.calibration.images())
    arguments = [model_file, "--int8", "--calibration", tmp_path / "images.npy", "--output", tmp_path]
    code, out, err = run(capsys, *arguments, "--layers", "--keep-float", "c3", "f*")
    assert code == 0, err
    report = json.loads((tmp_path / "digits-int8.json").read_text())
    assert report["keep_float"]["operations"] == ["c3", "c3/1", "f6", "f6/1", "flatten"]
    assert f"{report['keep_float']['latency_over_int8']['ratio']:.2f} times as long as all in int8" in out
    (line,) = [line for line in out.splitlines() if line.split()[:2] == ["c3", "c3/1"]]
    assert float(line.split()[-1].strip("*")) > 60  # its own error, in float


def test_a_model_is_distilled_on_photos_without_labels(
    model_file: Path, mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(mnist.calibration.images(slice(16)), tmp_path / "photos")
    training = ["--qat", "--distill", "--qat-epochs", 2]
    code, _, err = run(capsys, model_file, "--int8", *training, "--calibration", folder, "--output", tmp_path / "out")
    assert code == 0, err
    report = json.loads((tmp_path / "out" / "digits-int8.json").read_text())
    assert report["qat"]["distilled"]
    assert len(report["qat"]["history"]) == 2
    assert report["fully_integer"]
    assert report["accuracy"] is None
    assert report["calibration"]["count"] == 16
    assert (tmp_path / "out" / "digits-int8.keras").is_file()


@pytest.mark.slow
def test_mixed_precision_mends_what_int8_loses(
    cancelling: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cancelling.keras"
    cancelling.save(path)
    code, out, err = run(capsys, path, "--int8", "--mixed", "--data", "mnist", "--output", tmp_path)
    assert code == 0, err
    report = json.loads((tmp_path / "cancelling-int8.json").read_text())
    assert {"up", "down"} <= set(report["keep_float"]["operations"])
    assert report["drop"]["points"] <= 1
    assert "latency over int8" in out
    assert f"{report['mixed']['sets'][-1]['latency']['ratio']:.2f}" in out


def test_random_weights_train_nothing_and_need_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "lenet5", "--int8", "--weights", "random", "--output", tmp_path)
    assert code == 0, err
    report = json.loads((tmp_path / "lenet5-int8.json").read_text())
    assert report["fully_integer"]
    assert report["accuracy"] is None
    assert not report["gate"]["enforced"]


@pytest.mark.slow
@pytest.mark.parametrize("name", kc.list_models())
def test_every_name_works_with_random_weights(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = registry.entry(name).small_input_shape
    arguments = [name, "--int8", "--weights", "random", "--input-shape", *shape, "--output", tmp_path]
    code, _, err = run(capsys, *arguments)
    assert code == 0, err
    assert json.loads((tmp_path / f"{name}-int8.json").read_text())["fully_integer"]


def test_a_failed_gate_is_exit_code_3_and_leaves_nothing(
    spoiled: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spoiled.keras"
    spoiled.save(path)
    code, out, err = run(capsys, path, "--int8", "--data", "mnist", "--output", tmp_path / "out")
    assert code == 3
    assert out == ""
    assert err.startswith("refused: ")
    assert "accuracy fell by" in err
    assert err.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


def truncated(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:5000])
    return path


def foreign(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")
    return path


def empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


def file_there(path: Path) -> Path:
    path.write_text("a file")
    return path


BAD = {
    "unknown model": (lambda p, m: ["mobilnet_v2", "--int8"], "unknown model 'mobilnet_v2'; did you mean mobilenet_v2"),
    "unknown data": (lambda p, m: ["lenet5", "--data", "mnits"], "unknown dataset 'mnits'; did you mean mnist"),
    "missing model file": (lambda p, m: [p / "no.keras"], "no.keras is not a file"),
    "truncated model": (lambda p, m: [truncated(m)], "digits.keras is not a whole .keras file"),
    "foreign zip": (lambda p, m: [foreign(m)], "cannot be read as a Keras model"),
    "no data": (lambda p, m: [m, "--int8"], "int8 needs representative images for its ranges; give --data or --calib"),
    "both data": (lambda p, m: [m, "--int8", "--data", "mnist", "--calibration", p], "give either --data or --calib"),
    "qat without data": (lambda p, m: [m, "--int8", "--qat", "--calibration", p], "--qat needs labelled images"),
    "qat without int8": (lambda p, m: ["lenet5", "--qat"], "--qat trains for int8 and the mode is float32"),
    "prune without data": (lambda p, m: [m, "--prune", 0.5], "--prune needs labelled images to train on; give --data"),
    "prune everything": (lambda p, m: [m, "--prune", 1], "'1' is no share between 0 and 1, such as 0.7, nor a pattern"),
    "block of nothing": (
        lambda p, m: ["lenet5", "--prune", "2:4", "--prune-block", 1, 4],
        "--prune-block shapes what --prune SPARSITY makes zero; give that",
    ),
    "keep float in float": (
        lambda p, m: ["lenet5", "--weights", "random", "--keep-float", "c1"],
        "--keep-float keeps layers of an int8 file in float and the mode is float32",
    ),
    "mix in float": (lambda p, m: ["lenet5", "--mixed"], "--mixed finds layers for int8 that is tuned and not trained"),
    "keep what is not there": (
        lambda p, m: ["lenet5", "--weights", "random", "--int8", "--keep-float", "conv1"],
        "the model has no layer 'conv1' to keep in float; near names are ",
    ),
    "two clusters": (lambda p, m: ["lenet5", "--cluster", 2], "--cluster 2 is too few; it takes at least 3"),
    "two modes": (lambda p, m: [m, "--int8", "--float32"], "not allowed with argument"),
    "missing folder": (lambda p, m: ["lenet5", "--data", p / "nothing"], "nothing"),
    "empty folder": (lambda p, m: [m, "--int8", "--calibration", empty_folder(p / "e")], "holds no images"),
    "calibration file": (
        lambda p, m: [m, "--int8", "--calibration", file_there(p / "a.npz")],
        "not a whole NumPy file",
    ),
    "small input": (
        lambda p, m: ["lenet5", "--weights", "random", "--input-shape", 8, 8, 1],
        "too small; this network",
    ),
    "channels": (lambda p, m: ["lenet5", "--input-shape", 32, 32, 3], "mnist is grayscale"),
    "classes": (lambda p, m: ["lenet5", "--classes", 7], "--classes is 7 and mnist has 10 classes"),
    "epochs": (lambda p, m: ["lenet5", "--epochs", 0], "'0' is not a whole number above 0"),
    "input range": (lambda p, m: [m, "--input-range", "1,0"], "it takes LOW,HIGH"),
    "range disagrees": (
        lambda p, m: [m, "--int8", "--calibration", arrays(p, 255), "--input-range", "0,1"],
        "reaches from 0 to 255",
    ),
    "int8 for a browser": (
        lambda p, m: [m, "--int8", "--for", "litertjs", "--io", "int8"],
        "takes no int8 in- and out",
    ),
    "int8 in JavaScript": (lambda p, m: [m, "--int8", "--snippet", "js"], "give --for litertjs"),
    "channels for MediaPipe": (
        lambda p, m: [m, "--int8", "--for", "mediapipe", "--data", "mnist", "--input-range", "imagenet"],
        "MediaPipe normalizes all channels alike",
    ),
    "other order of classes": (lambda p, m: [turned(m), "--data", "mnist"], "trained on the classes 9, 8, 7, 6, 5"),
    "metric": (lambda p, m: ["lenet5", "--metric", "acuracy"], "metric 'acuracy' is not known; it takes accuracy, "),
    "import": (lambda p, m: [m, "--import", "no_such_module"], "no_such_module"),
    "import of no name": (lambda p, m: [m, "--import", ".'"], "--import .': the 'package' argument is required"),
    "weights for a file": (lambda p, m: [m, "--weights", "random"], "--weights goes with a model's name"),
    "output is a file": (lambda p, m: [m, "--output", file_there(p / "out")], "a file stands where a folder is needed"),
}


def turned(model: Path) -> Path:
    """A record beside the model that has the digits the other way round."""
    record = {"input_range": [0, 1], "class_names": list("9876543210")}
    model.with_name("digits.preprocess.json").write_text(json.dumps(record))
    return model


def arrays(folder: Path, scale: float) -> Path:
    ramp = np.linspace(0, scale, 32, dtype=np.float32)
    np.save(folder / "ramp.npy", np.broadcast_to(ramp[:, None, None], (4, 32, 32, 1)))
    return folder / "ramp.npy"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    case: str, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = BAD[case]
    arguments = make(tmp_path, model_file)
    output = [] if "--output" in arguments else ["--output", tmp_path / "out"]
    code, out, err = run(capsys, *arguments, *output)
    assert code == 2, err
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not list(tmp_path.rglob("*.tflite"))


def test_an_output_that_cannot_be_written_is_found_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "lenet5", "--int8", "--output", "/proc/exports")
    assert code == 2
    assert "/proc/exports" in err
    assert out == ""


def test_classes_of_model_and_data_must_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = layers.Input((32, 32, 1))
    keras.Model(image, layers.Dense(3)(layers.Flatten()(image)), name="three").save(tmp_path / "three.keras")
    code, _, err = run(capsys, tmp_path / "three.keras", "--data", "mnist", "--output", tmp_path)
    assert code == 2
    assert "has 3 outputs and mnist 10 classes" in err


def test_a_full_disk_leaves_nothing_half_written(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tiny file system needs root")
    try:
        code, _, err = run(capsys, model_file, "--output", disk)
        assert code == 2
        assert "No space left on device; free some space" in err
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_signals_during_training_leave_nothing(number: signal.Signals, code: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export.tflite", "lenet5", "--epochs", "500", "--output", str(tmp_path)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # the first epoch has ended
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == code
    assert err.decode().strip().splitlines()[-1].startswith("interrupted: ")
    assert b"Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_sigterm_during_an_export_leaves_no_file_and_no_folder(model_file: Path, tmp_path: Path) -> None:
    """It comes when the new file's temporary name is there, with a worker and its folder beside it."""
    (temporary := tmp_path / "temporary").mkdir()
    output = tmp_path / "output"
    program = (
        "import os, signal, sys; from export import pipeline; from export.tflite import main\n"
        "convert = pipeline.convert_and_verify\n"
        "def ended(run, candidate, file, *rest):\n"
        "    assert file.exists() and '.partial' in file.name\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return convert(run, candidate, file, *rest)\n"
        "pipeline.convert_and_verify = ended\n"
        f"sys.exit(main([{str(model_file)!r}, '--output', {str(output)!r}]))"
    )
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert process.returncode == 143, process.stderr
    assert process.stderr.strip().splitlines()[-1] == "interrupted: ended by SIGTERM; nothing half-written is left"
    assert [*output.iterdir(), *temporary.iterdir()] == []


def test_folders_named_export_where_the_user_stands_do_no_harm(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "here" / "export").mkdir(parents=True)
    program = "import keras, sys, export\nfrom export import export_tflite\n"
    program += f"export_tflite(keras.saving.load_model({str(model_file)!r}), 'a.tflite')"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "here", env=environment, check=True)
    assert (tmp_path / "here" / "a.tflite").stat().st_size > 200_000


def test_a_part_that_fails_is_one_line_and_exit_code_4(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "tensorflow.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setenv("PYTHONPATH", str(modules))
    code, out, err = run(capsys, model_file, "--float32", "--output", tmp_path / "out")
    assert code == 4
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("failed: the converter's process was killed (SIGKILL), most likely because memory ran out")
    assert not list((tmp_path / "out").glob("*"))
