"""The worker knows TensorFlow and the neutral graph, and nothing of Keras 3's side of the house."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import export.worker
for module in pkgutil.iter_modules(export.worker.__path__):
    if module.name != "__main__":
        importlib.import_module(f"export.worker.{module.name}")
print(*(name for name in sys.modules if name.split(".")[0] == "keras_classics" or name == "export.client"))
"""


def test_no_module_of_the_worker_imports_the_parents_side() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
