"""Code for an app beside a file: with the labels, the normalization and the quantization of that very file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from export.errors import InputError
from export.report import Report
from export.tflite_file.interpreter import Interpreter, Port
from export.tflite_file.logits import softmax_inputs
from keras_classics.files import write_text

_TEMPLATES = {"py": "python.txt", "js": "javascript.txt", "kt": "kotlin.txt"}


@dataclass(frozen=True)
class Facts:
    """What an app must know of a file.

    Attributes:
        output: position of the output that tells the classes.
        probabilities: whether that ends in a softmax, so that an app need not take one.
    """

    path: Path
    sha256: str
    labels: list[str]
    mean: list[float]
    std: list[float]
    input: Port
    output_port: Port
    output: int
    probabilities: bool


def write_snippet(report: Report, language: str) -> Path:
    """Write `NAME-MODE.py`, `.js` or `.kt` beside the file of `report`.

    Raises:
        InputError: the file does not take one photo whose range is known, or the language cannot use its types.
    """
    facts = _facts(report)
    values = {"py": _python, "js": _javascript, "kt": _kotlin}[language](facts)
    path = facts.path.with_suffix(f".{language}")
    values |= {
        "FILE": facts.path.name,
        "SNIPPET": path.name,
        "SHA256": facts.sha256,
        "OUTPUT": str(facts.output),
        **dict(zip(("HEIGHT", "WIDTH", "CHANNELS"), map(str, facts.input.shape[1:]), strict=True)),
    }
    template = resources.files("export.snippets").joinpath(_TEMPLATES[language]).read_text(encoding="utf-8")
    # Lines that a file has no use for are left out whole.
    lines = [line for line in template.split("\n") if values.get(line.strip().strip("@"), "…") != ""]
    text = re.sub(r"@([A-Z][A-Z0-9_]*)@", lambda found: values[found[1]], "\n".join(lines))
    write_text(path, text)
    return path


def _facts(report: Report) -> Facts:
    path = Path(report.path)
    interpreter = Interpreter(path)
    shape = interpreter.inputs[0].shape
    if len(interpreter.inputs) != 1 or len(shape) != 4 or shape[3] not in (1, 3):
        raise InputError("--snippet is for models that take one photo, (height, width, 1 or 3); leave it out")
    if report.normalization is None:
        raise InputError("--snippet needs to know what the model takes; give --input-range")
    fitting = [
        index
        for index, port in enumerate(interpreter.outputs)
        if len(port.shape) == 2 and (report.class_names is None or port.shape[1] == len(report.class_names))
    ]
    if not fitting:
        raise InputError("--snippet is for classifiers, which give one number for each class; leave it out")
    output = fitting[0]
    port = interpreter.outputs[output]
    return Facts(
        path=path,
        sha256=report.sha256,
        labels=report.class_names or [str(index) for index in range(port.shape[1])],
        mean=report.normalization["mean"],
        std=report.normalization["std"],
        input=interpreter.inputs[0],
        output_port=port,
        output=output,
        probabilities=port.index in softmax_inputs(path.read_bytes()),
    )


def _limits(port: Port) -> tuple[int, int]:
    limits = np.iinfo(port.dtype)
    return int(limits.min), int(limits.max)


def _numbers(values: list[float], suffix: str = "") -> str:
    return ", ".join(f"{float(value)!r}{suffix}" for value in values)


def _python(facts: Facts) -> dict[str, str]:
    parameters, encode, decode = [], "", []
    if facts.input.scale:
        low, high = _limits(facts.input)
        parameters.append(f"INPUT_SCALE, INPUT_ZERO_POINT = {facts.input.scale!r}, {facts.input.zero_point}")
        encode = (
            f"    steps = np.round(values / np.float32(INPUT_SCALE)) + INPUT_ZERO_POINT\n"
            f"    values = np.clip(steps, {low}, {high}).astype(np.{facts.input.dtype})"
        )
    if facts.output_port.scale:
        port = facts.output_port
        parameters.append(f"OUTPUT_SCALE, OUTPUT_ZERO_POINT = {port.scale!r}, {port.zero_point}")
        decode.append("    scores = (scores.astype(np.float32) - OUTPUT_ZERO_POINT) * np.float32(OUTPUT_SCALE)")
    if not facts.probabilities:
        decode.append("    scores = np.exp(scores - scores.max())\n    scores = scores / scores.sum()")
    return {
        "LABELS": json.dumps(facts.labels, ensure_ascii=False),
        "MEAN": f"[{_numbers(facts.mean)}]",
        "STD": f"[{_numbers(facts.std)}]",
        "PARAMETERS": "\n".join(parameters) + "\n" if parameters else "\n",
        "ENCODE": encode,
        "DECODE": "\n".join(decode),
    }


def _javascript(facts: Facts) -> dict[str, str]:
    types = {"float32": "Float32Array", "uint8": "Uint8Array"}
    for port in (facts.input, facts.output_port):
        if port.dtype not in types:
            raise InputError(f"LiteRT.js takes no {port.dtype} in- and outputs; export with --for litertjs")
    parameters, encode, decode = [], "number", "value"
    if facts.input.scale:
        low, high = _limits(facts.input)
        parameters.append(f"const [INPUT_SCALE, INPUT_ZERO_POINT] = [{facts.input.scale!r}, {facts.input.zero_point}];")
        encode = f"Math.min({high}, Math.max({low}, Math.round(number / INPUT_SCALE) + INPUT_ZERO_POINT))"
    if facts.output_port.scale:
        port = facts.output_port
        parameters.append(f"const [OUTPUT_SCALE, OUTPUT_ZERO_POINT] = [{port.scale!r}, {port.zero_point}];")
        decode = "(value - OUTPUT_ZERO_POINT) * OUTPUT_SCALE"
    softmax = (
        "  const greatest = Math.max(...scores);\n"
        "  const powers = scores.map((score) => Math.exp(score - greatest));\n"
        "  const sum = powers.reduce((a, b) => a + b);\n"
        "  return powers.map((power) => power / sum);"
    )
    return {
        "LABELS": json.dumps(facts.labels, ensure_ascii=False),
        "MEAN": f"[{_numbers(facts.mean)}]",
        "STD": f"[{_numbers(facts.std)}]",
        "PARAMETERS": "\n".join(parameters) + "\n" if parameters else "\n",
        "TYPED_ARRAY": types[facts.input.dtype],
        "ENCODE": encode,
        "DECODE": decode,
        "SOFTMAX": "  return scores;" if facts.probabilities else softmax,
    }


def _kotlin(facts: Facts) -> dict[str, str]:
    widths = {"float32": 4, "int16": 2, "int8": 1, "uint8": 1}
    puts = {
        "int16": "input.putShort({}.toShort())",
        "int8": "input.put({}.toByte())",
        "uint8": "input.put({}.toByte())",
    }
    gets = {"int16": "output.short.toInt()", "int8": "output.get().toInt()", "uint8": "(output.get().toInt() and 255)"}
    parameters, encode, decode = [], "input.putFloat(number)", "output.float"
    if facts.input.scale:
        low, high = _limits(facts.input)
        step = f"(Math.round(number / INPUT_SCALE) + INPUT_ZERO_POINT).coerceIn({low}, {high})"
        encode = puts[facts.input.dtype].format(step)
        parameters.append(f"        const val INPUT_SCALE = {facts.input.scale!r}f")
        parameters.append(f"        const val INPUT_ZERO_POINT = {facts.input.zero_point}")
    if facts.output_port.scale:
        port = facts.output_port
        decode = f"({gets[port.dtype]} - OUTPUT_ZERO_POINT) * OUTPUT_SCALE"
        parameters.append(f"        const val OUTPUT_SCALE = {port.scale!r}f")
        parameters.append(f"        const val OUTPUT_ZERO_POINT = {port.zero_point}")
    softmax = (
        "        val powers = scores.map { exp(it - scores.max()) }\n"
        "        val probabilities = powers.map { it / powers.sum() }.toFloatArray()"
    )
    words = [word for word in re.split(r"\W+|_", facts.path.stem) if word]
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return {
        "CLASS": name if name[:1].isalpha() else f"Model{name}",
        "LABELS": ", ".join(json.dumps(label, ensure_ascii=False).replace("$", "\\$") for label in facts.labels),
        "MEAN": _numbers(facts.mean, "f"),
        "STD": _numbers(facts.std, "f"),
        "PARAMETERS": "\n".join(parameters),
        "INPUT_BYTES": str(widths[facts.input.dtype]),
        "OUTPUT_BYTES": str(widths[facts.output_port.dtype]),
        "ENCODE": encode,
        "DECODE": decode,
        "SOFTMAX": "        val probabilities = scores" if facts.probabilities else softmax,
    }
