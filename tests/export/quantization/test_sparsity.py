"""Zeros in blocks and patterns: trained in, kept by later steps, and verified in the file."""

from pathlib import Path

import keras
import numpy as np
import pytest

from export import Clustering, FineTuning, InputError, Pruning, Worker, export_tflite
from export.quantization.sparsity import faults
from export.tflite_file.audit import audit, kernels, pattern_share, zero_blocks
from keras_classics import train
from keras_classics.datasets.parts import Dataset


@pytest.fixture
def training(mnist: Dataset) -> FineTuning:
    return FineTuning.on_arrays(mnist.train.images(slice(640)), mnist.train.labels[:640], epochs=1)


def test_shares_of_patterns_and_blocks() -> None:
    kernel = np.array([[0, 0, 1, 2, 0], [0, 3, 4, 5, 6]])  # 2 outputs, 5 inputs
    assert pattern_share([("CONV_2D", kernel)], 2, 4) == 3 / 4  # the last group of each row has three zeros more
    assert pattern_share([("CONV_2D", kernel)], 1, 4) == 1
    assert zero_blocks([("FULLY_CONNECTED", kernel), ("CONV_2D", kernel * 0)], inputs=2, outputs=1) == 2 / 6
    assert zero_blocks([("FULLY_CONNECTED", kernel)], inputs=1, outputs=2) == 1 / 5
    assert zero_blocks([], 1, 4) == 0


def test_two_of_four_weights_are_zero(lenet: keras.Model, tmp_path: Path, worker: Worker, training: FineTuning) -> None:
    report = export_tflite(lenet, tmp_path / "a.tflite", prune=Pruning(training, pattern=(2, 4)), worker=worker)
    assert 0.49 <= report.sparsity <= 0.6
    assert pattern_share(kernels(report.path), 2, 4) == 1
    assert report.structure["prune"]["pattern"] == (2, 4)


def test_blocks_stay_through_clustering_and_qat(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker, training: FineTuning
) -> None:
    report = export_tflite(
        lenet,
        tmp_path / "a.tflite",
        "int8",
        prune=Pruning(training, 0.6, block=(4, 2)),
        cluster=Clustering(training, 16),
        qat=training,
        calibration=mnist.calibration.images(),
        gate=False,
        worker=worker,
    )
    found = kernels(report.path)
    assert zero_blocks(found, 4, 2) == pytest.approx(0.6, abs=0.03)
    assert zero_blocks(found, 2, 4) < 0.5
    assert 0.58 <= report.sparsity <= 0.7
    assert report.structure["prune"]["block"] == (4, 2)
    assert report.structure["left_alone"] == []


def test_a_constant_schedule_has_its_zeros_at_once(
    lenet: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker
) -> None:
    one_step = FineTuning.on_arrays(mnist.train.images(slice(32)), mnist.train.labels[:32], epochs=1)
    assert one_step.steps_per_epoch == 1
    prune = Pruning(one_step, 0.7, schedule="constant")
    report = export_tflite(lenet, tmp_path / "a.tflite", prune=prune, worker=worker)
    assert report.sparsity == pytest.approx(0.7, abs=0.01)
    assert report.structure["prune"]["schedule"] == "constant"


def test_depthwise_kernels_are_left_alone_and_named(
    mnist: Dataset, tmp_path: Path, worker: Worker, training: FineTuning
) -> None:
    model = train.build("mobilenet_v2", mnist, alpha=0.35)
    few = FineTuning.on_arrays(mnist.train.images(slice(64)), mnist.train.labels[:64], epochs=1)
    prune = Pruning(few, schedule="constant")
    report = export_tflite(model, tmp_path / "a.tflite", prune=prune, gate=False, worker=worker)
    depthwise = [layer.name for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    assert report.structure["left_alone"] == depthwise
    assert len(depthwise) == 17
    assert report.sparsity == pytest.approx(0.5, abs=0.01)


def test_a_file_without_the_structure_is_found(
    lenet: keras.Model, tmp_path: Path, worker: Worker, training: FineTuning
) -> None:
    path = tmp_path / "dense.tflite"
    export_tflite(lenet, path, worker=worker)

    def said(prune: Pruning | None, cluster: Clustering | None = None) -> str:
        return "; ".join(faults(path, audit(path), prune, cluster))

    assert said(None) == ""
    assert "weights are zero" in said(Pruning(training, 0.5))
    assert "have 2 zeros in 4 weights" in said(Pruning(training, pattern=(2, 4)))
    assert "only 0.0% of the dense kernels' blocks are zero" in said(Pruning(training, 0.5, block=(1, 4)))
    assert "different values in a channel" in said(None, Clustering(training, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity is 1.0; it takes a share above 0 and below 1"),
        ({"schedule": "cubic"}, "schedule of pruning is 'cubic'; it takes polynomial or constant"),
        ({"block": (0, 4)}, "blocks of 0×4 are none"),
        ({"block": (1, 4), "pattern": (2, 4)}, "a pattern has no blocks"),
    ],
)
def test_senseless_pruning_is_refused(options: dict, message: str, training: FineTuning) -> None:
    with pytest.raises(InputError, match=message):
        Pruning(training, **options)
