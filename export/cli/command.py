"""The command that `python -m export.tflite` runs: train or load, export, say what came of it."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from export.cli.job import plan, prepare
from export.cli.show import StepProgress, show, show_layers, show_mixed, show_plan
from export.client import Worker
from export.errors import CalibrationWarning
from export.pipeline import export_tflite
from export.snippets import write_snippet


def run(chosen: argparse.Namespace) -> None:
    """Train or load, export, and say what came of it.

    Args:
        chosen: what `export.cli.arguments.parser` gives.
    """
    if chosen.dry_run:
        show_plan(plan(chosen))
        return
    _check_folder(Path(chosen.output))
    job = prepare(chosen)
    path = Path(chosen.output) / f"{job.options.name}-{chosen.mode}.tflite"
    with StepProgress() as progress, Worker(chosen.verbose, progress) as worker, warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)  # the report has it
        report = export_tflite(
            job.model,
            path,
            calibration=job.calibration,
            evaluation=job.evaluation,
            worker=worker,
            **vars(job.options),
        )
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if report.layers:
        show_layers(report.layers)
    if report.mixed:
        show_mixed(report.mixed)
    show(report)
    for language in dict.fromkeys(chosen.snippet):
        print(f" snippet        {write_snippet(report, language)}")
    if chosen.benchmark:
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "android_bench", "run", str(path)], check=True)


def _check_folder(folder: Path) -> None:
    """Find out that nothing can be written before minutes of work, not after."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
