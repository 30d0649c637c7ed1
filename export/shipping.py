"""The last steps of an export: the file under its name, the trained model and the report beside it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from export.data.samples import first
from export.mixed_precision.latency import latency_ratio
from export.mixed_precision.search import Candidate, mend
from export.passes.carry_back import carry_back
from export.preparation import Prepared
from export.quantization.ranges import calibrations
from export.quiet import quiet_stderr
from export.report import Report
from export.run import Run
from export.verification.checked import Checked, make
from export.verification.float_reference import FloatModel, correct_in_keras, float_outputs, share
from export.verification.gate import refuse
from export.verification.layer_errors import layer_errors
from keras_classics.files import replacing

INSPECTED_SAMPLES = 8


def ship(
    run: Run,
    prepared: Prepared,
    float_model: FloatModel,
    structure: dict[str, Any] | None,
    cautions: Sequence[str],
) -> Report:
    """Make the file, check it, and put it in its place with all that belongs to it, or nothing at all.

    Args:
        structure: what `preparation.give_sparsity` tells.
        cautions: what seems wrong with the data.

    Raises:
        GateError: the file lost too much accuracy or is structurally wrong.
    """
    changed = structure is not None or prepared.training is not None
    keras_model = run.path.with_suffix(".keras") if changed else None
    with contextlib.ExitStack() as files:
        file, report_file = (files.enter_context(replacing(path)) for path in (run.path, run.path.with_suffix(".json")))
        keras_correct = float_model.correct
        if keras_model:
            keras_correct = _save_trained(run, prepared, files.enter_context(replacing(keras_model)))
        as_read = prepared.reference is run.source.graph and structure is None
        expected = float_model.outputs if as_read else float_outputs(run, prepared.reference)
        checked = make(run, prepared, file, float_model, expected)
        sets = None
        if run.options.mixed and checked.lost and not checked.wrong:
            found, sets = mend(run, Candidate(prepared, checked), file, float_model, expected)
            prepared, checked = found.prepared, found.checked
        refuse(_faults(run, checked), run.path)
        report = _report(
            run,
            prepared,
            checked,
            float_model,
            layers=_layer_errors(run, prepared, file) if run.options.layers else None,
            keep_float=_price(run, prepared, file) if prepared.in_float else None,
            mixed=sets,
            structure=structure,
            warnings=list(cautions),
            keras_model=str(keras_model) if keras_model else None,
            keras_accuracy=share(keras_correct) if keras_model else None,
        )
        report.write(report_file)
    return report


def _faults(run: Run, checked: Checked) -> list[str]:
    """Why the file is not shipped, and what may help."""
    faults = [*checked.wrong, *(checked.lost if run.options.gate else [])]
    if checked.wrong or not faults:
        return faults
    ways = [
        *(["--qat"] if run.options.mode == "int8" and not run.options.qat else []),
        *(["--mixed"] if run.options.can_mix and not run.options.mixed else []),
        *(["--max-drop if that is acceptable"] if _fell(run, checked) else []),
    ]
    tried = ["no set of layers in float that is worth it mends that"] if run.options.mixed else []
    return [*faults, *tried, *([f"try {', or '.join(ways)}"] if ways else [])]


def _fell(run: Run, checked: Checked) -> bool:
    return checked.drop is not None and checked.drop["points"] > run.options.max_drop


def _save_trained(run: Run, prepared: Prepared, path: Path) -> np.ndarray:
    """Save the Keras model with the trained weights; whether that is right on each evaluation sample."""
    with run.clock("carry back"), _carried_back(run, prepared):
        found = correct_in_keras(run)
        with quiet_stderr():  # saving imports TensorFlow under every backend, which greets at length
            run.source.model.save(path)
    return found


@contextlib.contextmanager
def _carried_back(run: Run, prepared: Prepared) -> Iterator[None]:
    """The model with the graph's weights, for as long as the context lasts."""
    model = run.source.model
    original = model.get_weights()
    try:
        carry_back(prepared.graph, run.source.folds)
        yield
    finally:
        model.set_weights(original)


def _layer_errors(run: Run, prepared: Prepared, path: Path) -> dict[str, Any]:
    with run.clock("layers"):
        return layer_errors(prepared.graph, run.worker, path, first(run.data.compared, INSPECTED_SAMPLES))


def _price(run: Run, prepared: Prepared, path: Path) -> dict[str, Any]:
    """What stays in float, and the file's latency over that of the same graph all in int8."""
    graph, options = prepared.graph, run.options
    with run.clock("latency"), tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "int8.tflite"
        ranges = calibrations(graph, run.worker, run.data.calibrating, options.input_range)["mean"]
        reference.write_bytes(run.worker.convert(graph, "int8", options.file_io, ranges=ranges))
        return {"operations": sorted(prepared.in_float), "latency_over_int8": latency_ratio(path, reference)}


def _report(run: Run, prepared: Prepared, checked: Checked, float_model: FloatModel, **rest: Any) -> Report:
    options, data, found = run.options, run.data, checked.audit
    return Report(
        model=options.name or run.source.model.name,
        mode=options.mode,
        path=str(run.path),
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        gzip_bytes=found.gzip_bytes,
        input=found.inputs[0],
        output=found.outputs[0],
        inputs=found.inputs,
        outputs=found.outputs,
        ops=found.ops,
        fully_integer=found.fully_integer,
        requantizations=found.requantizations,
        float_accuracy=share(float_model.correct),
        accuracy=share(checked.correct),
        drop=checked.drop,
        evaluated=len(float_model.correct),
        parity=checked.parity.as_json() | {"compared_on": data.compared_on},
        calibration=data.calibration_record,
        input_range=list(options.input_range) if options.input_range else None,
        ptq={"int8": "plain" if options.ptq == "plain" else "tuned", "int16x8": "plain"}.get(options.mode),
        tuning=prepared.tuning,
        qat=prepared.training,
        sparsity=found.sparsity,
        values_per_channel=found.values_per_channel,
        gate={
            "passed": not checked.lost,
            "faults": checked.lost,
            "max_drop": options.max_drop,
            "enforced": options.gate,
        },
        versions=run.worker.versions | _versions(),
        seconds=run.clock.seconds,
        **rest,
    )


def _versions() -> dict[str, str]:
    backend = keras.backend.backend()
    return {
        "keras": keras.__version__,
        "backend": f"{backend} {version(backend)}",
        "numpy": np.__version__,
        "ai_edge_litert": version("ai-edge-litert"),
    }
