"""The same weights give the same outputs on TensorFlow, JAX and PyTorch.

Run as a script, this file is the process of one backend: it writes the outputs of the variants named
on its command line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FAST = ("lenet5", "lenet5_1998", "resnet20")
BACKENDS = ("tensorflow", "jax", "torch")


@pytest.mark.parametrize(
    "names",
    [
        FAST,
        pytest.param(("alexnet", "alexnet_one_weird_trick"), marks=pytest.mark.slow),
        pytest.param(("vgg11", "vgg11_batch_norm"), marks=pytest.mark.slow),
        pytest.param(("resnet18", "resnet18_padded", "resnet50", "resnet50_v1"), marks=pytest.mark.slow),
        pytest.param(("googlenet", "googlenet_batch_norm", "googlenet_heads"), marks=pytest.mark.slow),
        pytest.param(("mobilenet_v1", "mobilenet_v2"), marks=pytest.mark.slow),
    ],
    ids=lambda names: names[-1],
)
def test_logits_are_equal_on_every_backend(names: list[str], tmp_path: Path) -> None:
    found = {}
    for backend in BACKENDS:
        pytest.importorskip(backend)
        file = tmp_path / f"{backend}.npz"
        environment = os.environ | {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, __file__, file, *names], check=True, env=environment, capture_output=True)
        found[backend] = np.load(file)
    for key, expected in found["tensorflow"].items():
        scale = np.abs(expected).max()
        assert scale > 1e-3, key
        for backend in BACKENDS[1:]:
            assert np.abs(found[backend][key] - expected).max() <= 1e-4 * scale, (key, backend)


def write_outputs(file: str, *names: str) -> None:
    """Write the logits of each variant with weights and images that are the same in every process."""
    sys.path.insert(0, str(Path(__file__).parent))
    import conftest
    import keras

    import keras_classics as kc

    found = {}
    for name in names:
        model_name, arguments = conftest.VARIANTS[name]
        model = kc.create_model(model_name, **arguments, classes=3, classifier_activation=None)
        conftest.randomized(model)
        for number, output in enumerate(conftest.outputs_of(model)):
            found[f"{name}/{number}"] = output
        keras.backend.clear_session()
    np.savez(file, **found)


if __name__ == "__main__":
    write_outputs(*sys.argv[1:])
