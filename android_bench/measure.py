"""The run: every model in every configuration, interleaved; checked before it counts, kept once measured."""

from __future__ import annotations

import datetime
import itertools
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from android_bench import given_input, noise, output_check, results
from android_bench.errors import InputError, RefusedError, TargetLostError
from android_bench.jobs import Configuration, Graph, Job, Measurement
from android_bench.model_file import ModelFile, refuse_if_changed
from android_bench.output_check import OutputCheck, Reference
from android_bench.results import Row
from android_bench.targets.base import Target
from android_bench.targets.local import LocalTarget

# How long a target may take to cool down, and how often its sensor is read meanwhile, in seconds.
LONGEST_COOLDOWN_SECONDS = 900.0
COOLDOWN_STEP_SECONDS = 2.0
# What a reference's kernels are called, by the delegate that LiteRT is given.
KERNELS = {"xnnpack": "XNNPACK", "none": "built-in"}


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        repeats: processes for each model and configuration.
        runs: a job's, as are `warmup`, `timeout` and `seconds`.
        cooldown: degrees Celsius that the target must have cooled down to before each process.
        input: what the models get instead of fixed-seed noise.
    """

    repeats: int = 5
    runs: int | None = None
    warmup: int | None = None
    timeout: float = 600.0
    seconds: float | None = None
    cooldown: float | None = None
    input: np.ndarray | None = None

    def job(self, model: ModelFile, configuration: Configuration, input: Path, graph: Graph) -> Job:
        """Return the job of one process."""
        timeout = self.timeout + (self.seconds or 0)
        return Job(model, configuration, input, self.runs, self.warmup, timeout, self.seconds, graph)


class References:
    """The input of each model and its outputs on LiteRT, here, each in a process of its own.

    Args:
        folder: where the inputs are kept.
        plan: the run's.
    """

    def __init__(self, folder: Path, plan: Plan):
        self._folder = folder
        self._plan = plan
        self._target = LocalTarget()
        self._known: dict[tuple[str, str], Reference] = {}
        self._graphs: dict[str, Graph] = {}

    def input(self, model: ModelFile) -> tuple[Path, Graph]:
        """Return the file with the raw bytes of all inputs of `model`, and what LiteRT says of its graph."""
        self._reference(model, "xnnpack")
        return self._input_path(model), self._graphs[model.sha256]

    def check(self, model: ModelFile, output: bytes) -> OutputCheck:
        """Compare with LiteRT's XNNPACK kernels, and where that fails with its built-in kernels too."""
        first = self._reference(model, "xnnpack")
        if output_check.check(output, first).passed:
            return output_check.check(output, first)
        return output_check.nearest(output, [first, self._reference(model, "none")])

    def _input_path(self, model: ModelFile) -> Path:
        return self._folder / f"{model.sha256}.input"

    def _reference(self, model: ModelFile, delegate: str) -> Reference:
        key = (model.sha256, delegate)
        if key not in self._known:
            path = self._input_path(model)
            configuration = Configuration("litert", delegate, threads=1)
            job = Job(model, configuration, input=None, runs=1, warmup=0, timeout=self._plan.timeout)
            measurement = self._target.save_input(job, path)
            if self._plan.input is not None:
                content = given_input.as_bytes(self._plan.input, measurement.document.inputs or [], model.path)
                path.write_bytes(content)
                measurement = self._target.run(replace(job, input=path))
            document = measurement.document
            assert measurement.output is not None
            self._known[key] = Reference(
                KERNELS[delegate], document.runtime_version, document.outputs or [], measurement.output
            )
            self._graphs[model.sha256] = Graph(document.inputs or [], document.nodes or 0, document.integer_nodes or 0)
        return self._known[key]


def measure(
    target: Target,
    models: Sequence[ModelFile],
    configurations: Sequence[Configuration],
    plan: Plan,
    output: Path,
    resume: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[Row]:
    """Measure all models in all configurations.

    Each round of repeats has its own random order. A model that a configuration cannot run, or whose output is wrong
    there, is left out from then on; the others go on.

    Args:
        target: where; entered already.
        models: what.
        configurations: how each of them is run.
        plan: how often and how long.
        output: the results file.
        resume: whether what `output` already holds is not measured again.
        advance: called once a job.

    Yields:
        The rows, each already appended to `output`.

    Raises:
        TargetLostError: at once, where the target is gone.
        RefusedError: after all else is measured, where an output was wrong.
        InputError: after all else is measured, where a model could not run.
    """
    target.preflight(configurations)
    results.writable(output)
    known = results.read(output) if resume and output.exists() else []
    run = uuid.uuid4().hex
    failures: dict[tuple[ModelFile, Configuration], Exception] = {}
    order = itertools.count()
    with tempfile.TemporaryDirectory(prefix="android_bench-") as folder:
        references = References(Path(folder), plan)
        inputs = {model: references.input(model) for model in models}
        for repeat in range(plan.repeats):
            cells = list(itertools.product(models, configurations))
            random.shuffle(cells)
            for model, configuration in cells:
                if (model, configuration) not in failures and not _holds(known, target, model, configuration, repeat):
                    job = plan.job(model, configuration, *inputs[model])
                    try:
                        _cool_down(target, plan.cooldown)
                        measurement = target.run(job)
                        refuse_if_changed(model)
                        checked = _checked(references, target, job, measurement)
                    except TargetLostError:
                        raise
                    except (InputError, RefusedError) as error:
                        failures[model, configuration] = error
                    else:
                        row = _row(run, target, job, measurement, checked, repeat, next(order))
                        results.append(output, [row])
                        yield row
                advance()
    raise_all(list(failures.values()))


def _cool_down(target: Target, limit: float | None) -> None:
    """Wait until the target is at most `limit` °C; raise TargetLostError where it shows no temperature or stays hot."""
    if limit is None:
        return
    stop = time.monotonic() + LONGEST_COOLDOWN_SECONDS
    while (heat := target.temperature()) is None or heat > limit:
        if heat is None:
            raise TargetLostError(f"{target.name} shows no temperature; run without --cooldown")
        if time.monotonic() > stop:
            raise TargetLostError(f"{target.name} is still at {heat:.0f} °C; cool it, or raise --cooldown")
        time.sleep(COOLDOWN_STEP_SECONDS)


def _holds(rows: Sequence[Row], target: Target, model: ModelFile, configuration: Configuration, repeat: int) -> bool:
    wanted = (target.name, model.sha256, configuration.runtime, configuration.delegate, configuration.threads, repeat)
    return any(
        (row.target, row.model_sha256, row.runtime, row.delegate, row.threads, row.repeat) == wanted
        and configuration.cpus in ((), tuple(row.cpus))
        for row in rows
    )


def _checked(references: References, target: Target, job: Job, measurement: Measurement) -> OutputCheck | None:
    if measurement.output is None:
        return None
    checked = references.check(job.model, measurement.output)
    if not checked.passed:
        difference = (
            "has another size or is not finite"
            if checked.relative_rms is None
            else f"differs from {checked.reference} by {checked.relative_rms:.3g} relative RMS"
        )
        peak = "" if checked.argmax_equal else " and peaks elsewhere"
        raise RefusedError(
            f"{job.model.path} on {target.name} ({job.configuration}): the output {difference}{peak}, "
            f"at most {output_check.MAX_RELATIVE_RMS} is allowed; its latency is withheld"
        )
    return checked


def _row(
    run: str, target: Target, job: Job, measurement: Measurement, checked: OutputCheck | None, repeat: int, order: int
) -> Row:
    document = measurement.document
    return Row(
        schema=results.SCHEMA,
        run=run,
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        target=target.name,
        device=document.device,
        emulated=document.emulated,
        model=job.model.name,
        model_path=str(job.model.path),
        model_sha256=job.model.sha256,
        model_bytes=job.model.size_bytes,
        runtime=job.configuration.runtime,
        runtime_version=document.runtime_version,
        delegate=job.configuration.delegate,
        threads=job.configuration.threads,
        cpus=document.cpus,
        repeat=repeat,
        order=order,
        nodes=document.nodes,
        delegated_nodes=document.delegated_nodes,
        partitions=document.partitions,
        integer_nodes=document.integer_nodes,
        undelegated_operators=document.undelegated_operators,
        init_us=document.init_us,
        first_us=document.first_us,
        warmup_runs=document.warmup_runs,
        samples_us=document.samples_us,
        statistics=document.statistics,
        cpu_us=document.cpu_us,
        baseline_rss_bytes=document.baseline_rss_bytes,
        peak_rss_bytes=document.peak_rss_bytes,
        temperature=document.temperature,
        frequency=document.frequency,
        energy=document.energy,
        involuntary_switches=document.involuntary_switches,
        cpu_pressure=document.cpu_pressure,
        operators=document.operators,
        output_check=checked,
        noisy=noise.reasons(document, job.configuration.threads, on_gpu=job.configuration.delegate == "gpu"),
        mode=job.model.mode,
        accuracy=job.model.accuracy,
        yardstick=document.yardstick,
    )


def raise_all(failures: Sequence[BaseException]) -> None:
    """Raise one exception for all `failures`, if there are any: the gravest kind with everybody's words.

    What is neither InputError nor RefusedError is raised as it is.
    """
    for failure in failures:
        if not isinstance(failure, InputError | RefusedError):
            raise failure
    if failures:
        message = "; also: ".join(dict.fromkeys(str(failure) for failure in failures))
        wrong = any(isinstance(failure, RefusedError) for failure in failures)
        raise RefusedError(message) if wrong else InputError(message)
