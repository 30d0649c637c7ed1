"""What the words of `python -m android_bench` do: measure TFLite models where they will run."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from android_bench import compare, given_input, report, results, table
from android_bench.errors import InputError, TerminationError
from android_bench.jobs import Configuration
from android_bench.measure import Plan, measure, raise_all
from android_bench.model_file import ModelFile, open_model
from android_bench.results import Row
from android_bench.runners import benchmark_model, native_runner, protocol
from android_bench.runners.benchmark_model import Program
from android_bench.targets import adb
from android_bench.targets.adb import AdbTarget
from android_bench.targets.base import Target
from android_bench.targets.local import LocalTarget, tflite_runtime_python, this_device
from android_bench.targets.ssh import SshTarget

# The width of tables where stdout is no terminal, in letters.
PLAIN_WIDTH = 130


def run_command(options: argparse.Namespace) -> None:
    """Measure, append, and print the table; what was measured is printed whatever happens to the rest."""
    models = [open_model(path) for path in dict.fromkeys(options.models)]
    plan = Plan(
        repeats=options.repeats,
        runs=options.runs,
        warmup=options.warmup,
        timeout=options.timeout,
        seconds=options.seconds,
        cooldown=options.cooldown,
        input=None if options.input is None else given_input.read(options.input),
    )
    if options.dry_run:
        tell(models, options)
        return
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        targets = [
            stack.enter_context(open_target(word, options)) for word in dict.fromkeys(options.target or ["local"])
        ]
        refuse_unknown_runtimes(targets, options.runtime or ())
        refuse_disturbance(targets)
        try:
            with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
                measure_all(targets, models, plan, options, rows, progress)
        finally:
            if rows:
                show_rows(rows, targets, models, options)


def tell(models: Sequence[ModelFile], options: argparse.Namespace) -> None:
    """Say what would be measured; no target is opened."""
    targets = list(dict.fromkeys(options.target or ["local"]))
    each = len(set(options.runtime or ["default"])) * len(set(options.delegate)) * len(set(options.threads))
    count = len(models) * len(targets) * each * options.repeats
    length = f"{options.seconds} s" if options.seconds else f"{options.runs} runs" if options.runs else "half a second"
    for model in models:
        print(f"model    {model.path}, SHA-256 {model.sha256[:12]}…")
    print(f"targets  {', '.join(targets)}")
    print(f"repeats  {count} processes of {length} each, {each} configurations a model and target")
    print(f"rows     appended to {options.output}")


def refuse_unknown_runtimes(targets: Sequence[Target], runtimes: Sequence[str]) -> None:
    """Raise InputError where a target cannot run a runtime that was asked for."""
    for target in targets:
        unknown = sorted(set(runtimes) - set(target.runtimes))
        if unknown:
            raise InputError(f"{target.name} cannot run {', '.join(unknown)}; it runs {', '.join(target.runtimes)}")


def refuse_disturbance(targets: Sequence[Target]) -> None:
    """Raise InputError where targets cannot be measured at the same time."""
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise InputError(f"the same device is named twice ({', '.join(names)}); name each once")
    if len(names) > 1 and "local" in names:
        raise InputError("this machine cannot serve other targets while it is measured itself; run it on its own")


def configurations(target: Target, options: argparse.Namespace) -> list[Configuration]:
    """Return every combination that was asked for, on `target`."""
    return [
        Configuration(runtime, delegate, threads, options.cpus)
        for runtime, delegate, threads in itertools.product(
            dict.fromkeys(options.runtime or target.runtimes[:1]),
            dict.fromkeys(options.delegate),
            dict.fromkeys(options.threads),
        )
    ]


def measure_all(
    targets: Sequence[Target],
    models: Sequence[ModelFile],
    plan: Plan,
    options: argparse.Namespace,
    rows: list[Row],
    progress: Progress,
) -> None:
    """Measure on all targets at once, adding to `rows` as they come; raise what failed when all have ended."""
    stopping = threading.Event()

    def measure_on(target: Target) -> None:
        wanted = configurations(target, options)
        task = progress.add_task(target.name, total=plan.repeats * len(models) * len(wanted))

        def advance() -> None:
            progress.advance(task)
            if stopping.is_set():
                raise KeyboardInterrupt

        rows.extend(measure(target, models, wanted, plan, options.output, options.resume, advance))

    if len(targets) == 1:
        measure_on(targets[0])
        return
    with ThreadPoolExecutor(len(targets)) as pool:
        futures = [pool.submit(measure_on, target) for target in targets]
        try:
            failures = [future.exception() for future in futures]
        except (KeyboardInterrupt, TerminationError):
            stopping.set()
            raise
    raise_all([failure for failure in failures if failure is not None])


def open_target(word: str, options: argparse.Namespace) -> Target:
    """Return the target that `word` names; raise InputError where there is none or its program is missing."""
    kind, _, name = word.partition(":")
    program = open_benchmark_model(options)
    if kind == "local" and not name:
        pythons = {}
        if "tflite-runtime" in (options.runtime or ()):
            pythons["tflite-runtime"] = tflite_runtime_python(options.tflite_runtime_python)
        return LocalTarget(pythons, program)
    if kind == "adb":
        bundle = None if options.native_runner is None else native_runner.from_folder(options.native_runner)
        return AdbTarget(name or None, options.keep_files, bundle, program)
    if kind == "ssh":
        return SshTarget(name, options.remote_python, options.keep_files, program)
    raise InputError(f"unknown target {word!r}; it is one of local, ssh:HOST, adb, adb:SERIAL")


def open_benchmark_model(options: argparse.Namespace) -> Program | None:
    """Return the user's benchmark_model, if it is one of the runtimes; raise InputError where the two disagree."""
    wanted = protocol.BENCHMARK_MODEL in (options.runtime or ())
    if options.benchmark_binary is None:
        if wanted:
            raise InputError("benchmark_model is yours to bring; name a build for the target with --benchmark-binary")
        return None
    if not wanted:
        raise InputError("--benchmark-binary is given and not used; add --runtime benchmark_model")
    return benchmark_model.open_program(options.benchmark_binary, options.unchecked)


def show_rows(
    rows: Sequence[Row], targets: Sequence[Target], models: Sequence[ModelFile], options: argparse.Namespace
) -> None:
    """Print the table of `rows` in the order in which targets, models and configurations were asked for."""
    names = [target.name for target in targets]
    paths = [str(model.path) for model in models]
    settings = [
        (each.runtime, each.delegate, each.threads) for target in targets for each in configurations(target, options)
    ]

    def place(row: Row) -> tuple[int, int, int]:
        setting = settings.index((row.runtime, row.delegate, row.threads))
        return names.index(row.target), paths.index(row.model_path), setting

    console = terminal()
    table.show(results.summarize(sorted(rows, key=place)), console)
    count = f"{len(rows)} row{'s' * (len(rows) > 1)}"
    console.print(f"{count} appended to {options.output}", markup=False, highlight=False, soft_wrap=True)


def compare_command(options: argparse.Namespace) -> None:
    """Print the comparison; refuse regressions."""
    comparisons = compare.compare(results.read(options.base), results.read(options.new), options.max_regression)
    compare.show(comparisons, terminal())
    compare.refuse_regressions(comparisons)


def report_command(options: argparse.Namespace) -> None:
    """Write the page and the tables beside it."""
    rows = [row for path in dict.fromkeys(options.results) for row in results.read(path)]
    for path in report.write(rows, options.output):
        terminal().print(str(path), markup=False, highlight=False, soft_wrap=True)


def devices_command(options: argparse.Namespace) -> None:
    """List this machine and every Android device that adb sees."""
    own = this_device()
    listing = Table()
    for name in ("target", "state", "what it is"):
        listing.add_column(name, overflow="fold")
    listing.add_row("local", "ready", f"{own.cpu}, {own.cores} cores, {own.os}")
    note = ""
    try:
        for device in adb.devices():
            listing.add_row(*map(Text, (f"adb:{device.serial}", *adb.describe(device))))
    except InputError as error:
        note = str(error)
    terminal().print(listing)
    if note:
        terminal().print(note, markup=False, highlight=False, soft_wrap=True)


def terminal() -> Console:
    """Return stdout as rich writes to it: as wide as the terminal, and wide enough for a table in a log."""
    return Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)


COMMANDS = {"run": run_command, "compare": compare_command, "report": report_command, "devices": devices_command}
