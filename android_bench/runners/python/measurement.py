"""One measurement: a model, a runtime, a configuration; from loading to the document."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from android_bench.runners.python import delegation, machine, tensors, timing
from android_bench.runners.python.energy import EnergyMeter
from android_bench.runners.python.errors import RunnerError
from android_bench.runners.python.runtime import Interpreter, import_runtime, load
from android_bench.runners.python.timing import Watcher
from android_bench.runners.python.yardstick import Yardstick


class Arguments(NamedTuple):
    """What to measure.

    Attributes:
        model: path of the .tflite file.
        runtime: "litert", "tflite-runtime" or "tensorflow".
        delegate: "xnnpack" or "none".
        threads: threads of one inference.
        cpus: cores to be bound to; None for all.
        runs: inferences; None for a duration.
        seconds: the duration; None for the usual one.
        warmup: inferences before; None for as many as it takes to become steady.
        input: path of the raw bytes of all inputs; None for the same noise every time.
        save_input: where the raw bytes of all inputs go, if anywhere.
        output: where the raw bytes of all outputs go.
    """

    model: str
    runtime: str
    delegate: str
    threads: int
    cpus: list[int] | None
    runs: int | None
    seconds: float | None
    warmup: int | None
    input: str | None
    save_input: str | None
    output: str


def run(arguments: Arguments) -> dict[str, Any]:
    """Measure.

    Args:
        arguments: what to measure.

    Returns:
        The document, as the host's `android_bench.document.Document` describes it.

    Raises:
        RunnerError: where the runtime, the model, its input or the cores cannot be had.
    """
    if arguments.cpus:
        machine.restrict_to(arguments.cpus)
    cpus = machine.usable_cpus()
    if arguments.threads > len(cpus):
        raise RunnerError("threads", f"{arguments.threads} threads on {len(cpus)} usable cores")
    runtime = import_runtime(arguments.runtime)
    baseline = machine.resident_bytes("VmRSS")
    start = time.perf_counter_ns()
    interpreter = load(runtime, arguments.model, arguments.delegate, arguments.threads)
    init_us = (time.perf_counter_ns() - start) / 1000
    first_us = _first_inference(interpreter, arguments)
    series = _series(interpreter, arguments, cpus)
    return {
        "runtime_version": runtime.version,
        "device": machine.device(),
        "emulated": machine.emulated(),
        "cpus": cpus,
        "inputs": [tensors.describe(each) for each in interpreter.get_input_details()],
        "outputs": [tensors.describe(each) for each in interpreter.get_output_details()],
        "init_us": init_us,
        "first_us": first_us,
        **series,
        "baseline_rss_bytes": baseline,
        "peak_rss_bytes": machine.resident_bytes("VmHWM"),
        "statistics": None,
        "operators": None,
        **delegation.of_interpreter(interpreter),
    }


def _first_inference(interpreter: Interpreter, arguments: Arguments) -> float:
    """Run the first inference, write its output, and return its wall time in microseconds."""
    inputs = interpreter.get_input_details()
    if arguments.input:
        with open(arguments.input, "rb") as file:
            content = file.read()
    else:
        content = tensors.random_input(inputs)
    tensors.set_inputs(interpreter, inputs, content)
    try:
        first = timing.timed(interpreter.invoke)
    except RuntimeError as error:
        raise RunnerError("model", str(error)) from error
    with open(arguments.output, "wb") as file:
        file.write(tensors.output_bytes(interpreter, interpreter.get_output_details()))
    if arguments.save_input:
        with open(arguments.save_input, "wb") as file:
            file.write(content)
    return first.wall_us


def _series(interpreter: Interpreter, arguments: Arguments, cpus: list[int]) -> dict[str, Any]:
    """Warm up and measure; return the samples and what was seen of the machine meanwhile."""
    warmup_runs, steady = timing.warm_up(interpreter.invoke, arguments.warmup)
    before = machine.conditions(cpus)
    meter = EnergyMeter()
    # One core's speed says little of several, and that of an emulated processor nothing.
    yardstick = Yardstick() if arguments.threads == 1 and not machine.emulated() else None
    watchers: list[Watcher] = [meter] if yardstick is None else [meter, yardstick]
    samples = timing.measure(interpreter.invoke, arguments.runs, arguments.seconds, watchers)
    energy = meter.reading()
    after = machine.conditions(cpus)
    return {
        "warmup_runs": warmup_runs,
        "steady": steady,
        "samples_us": [round(each.wall_us, 3) for each in samples],
        "cpu_us": [round(each.cpu_us, 3) for each in samples],
        "energy": energy,
        "yardstick": None if yardstick is None else yardstick.reading(),
        **machine.disturbance(before, after),
    }
