"""Inputs of the user's in place of noise."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from android_bench import given_input, results
from android_bench.document import Tensor

pytestmark = pytest.mark.usefixtures("litert")
FEW = ["--runs", "3", "--warmup", "1", "--repeats", "2"]


def test_an_image_takes_the_place_of_noise_and_is_quantized_as_the_model_wants(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    image = np.linspace(0, 1, 24 * 24 * 3, dtype=np.float32).reshape(24, 24, 3)
    np.save(tmp_path / "image.npy", image)
    files = [models / "float32.tflite", models / "int8.tflite"]
    assert run(*files, *FEW, "--output", output) == 0
    assert run(*files, "--input", tmp_path / "image.npy", *FEW, "--output", output) == 0
    digests = {(row.model, row.output_check.sha256) for row in results.read(output)}
    assert len(digests) == 4
    np.save(tmp_path / "wide.npy", image[None, :, :20])
    np.save(tmp_path / "bytes.npy", np.zeros((24, 24, 3), np.uint8))
    (tmp_path / "text.npy").write_text("no numbers")
    for name, words in (
        ("wide", "shape (1, 24, 24, 3)"),
        ("bytes", "takes float32 input"),
        ("text", "is no .npy file"),
    ):
        capsys.readouterr()
        assert run(files[0], "--input", tmp_path / f"{name}.npy", *FEW, "--output", output) == 2
        assert words in capsys.readouterr().err


def test_floats_are_quantized_to_the_nearest_step_within_the_range() -> None:
    tensor = Tensor([1, 3], "int8", 0.5, -10)
    content = given_input.as_bytes(np.array([0.0, 1.3, 900.0]), [tensor], Path("model.tflite"))
    assert np.frombuffer(content, np.int8).tolist() == [-10, -7, 127]


def test_the_runner_computes_on_the_input_it_is_given(models: Path, runner: Path, tmp_path: Path) -> None:
    def outputs(*words: str | Path) -> tuple[dict[str, Any], bytes]:
        path = tmp_path / "output.bin"
        command = [sys.executable, runner, "--model", models / "float32.tflite", "--runtime", "litert"]
        process = subprocess.run(
            [*command, "--runs", "1", "--warmup", "0", "--output", path, *words], capture_output=True, text=True
        )
        return json.loads(process.stdout.splitlines()[-1]), path.read_bytes()

    zeros = tmp_path / "zeros.bin"
    zeros.write_bytes(bytes(24 * 24 * 3 * 4))
    _, noise = outputs("--save-input", tmp_path / "noise.bin")
    _, again = outputs("--input", tmp_path / "noise.bin")
    _, silence = outputs("--input", zeros)
    assert noise == again != silence
    zeros.write_bytes(b"12")
    document, _ = outputs("--input", zeros)
    assert document["error"]["kind"] == "input"
