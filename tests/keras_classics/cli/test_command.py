"""`keras-classics`: quick answers, one line for what is wrong, and no stranger's `export.py` in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest

import keras_classics as kc
from keras_classics import registry
from keras_classics.__main__ import main
from keras_classics.cli.verbs import VERBS

ROOT = Path(kc.__file__).parents[1]


def run(
    *words: str, before: str = "", folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, after a line of Python."""
    script = f"import sys; {before or 'pass'}\nfrom keras_classics.__main__ import main\ncode = main(sys.argv[1:])\n"
    script += "print('imported:', *sorted({name.partition('.')[0] for name in sys.modules}))\nsys.exit(code)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-P", "-c", script, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


HEAVY = {"keras", "tensorflow", "jax", "torch", "numpy", "scipy", "PIL", "ai_edge_litert", "jsonschema"}


@pytest.mark.parametrize("verb", list(VERBS))
def test_help_and_misspelt_flags_are_answered_before_anything_heavy_is_imported(verb: str) -> None:
    script = f"""
import contextlib, io, sys
from keras_classics.__main__ import main
with contextlib.redirect_stdout(io.StringIO()) as help, contextlib.suppress(SystemExit):
    main([{verb!r}, "--help"])
assert help.getvalue().startswith("usage: keras-classics {verb}"), help.getvalue()
print(main([{verb!r}, *(["run", "x"] if {verb!r} == "bench" else ["lenet5"]), "--no-such-flag"]))
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    code, modules = result.stdout.splitlines()
    assert code == "2"
    assert result.stderr.count("\n") == 1
    assert "--no-such-flag" in result.stderr
    assert not HEAVY & set(modules.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exprot"], "unknown command 'exprot'; did you mean export"),
        (["export", "--itn8"], "did you mean --int8?"),
        (["train", "lenet5", "--epoch-count", "3"], "did you mean --epochs?"),
        (["bench", "rnu"], "unknown command 'rnu'; did you mean run?"),
        (["bench", "run", "a.tflite", "--rntime", "litert"], "did you mean --runtime?"),
        (["cost", "lenet"], "did you mean lenet5"),
        (["cost", "lenet5", "--variant", "1989"], "did you mean 1998"),
        (["cost", "mobilenet_v2", "--variant", "1998"], "mobilenet_v2 has no variants; leave --variant out"),
        (["cost", "model.keras", "--classes", "3"], "a .keras file has its own"),
        (["show", "lenet"], "did you mean lenet5"),
        (["list", "resnets*"], "unknown model 'resnets*'; did you mean resnet"),
    ],
)
def test_bad_words_end_in_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert out == ""


def test_the_bare_command_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"  {verb} " in out for verb in VERBS)


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.split()[0] == "keras-classics"


def json_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_results_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json_of(["list", "resnet*"], capsys)
    assert [row["name"] for row in rows] == kc.list_models("resnet*")
    assert rows[0]["macs"] == registry.entry(rows[0]["name"]).counts.macs
    shown = json_of(["show", "lenet5"], capsys)
    assert shown["variants"] == [
        {"argument": "variant", "value": "1998", "parameters": 60_000, "trainable_parameters": 60_000, "macs": 328_096}
    ]
    cost = json_of(["cost", "mobilenet_v1"], capsys)
    assert cost["macs"] == registry.entry("mobilenet_v1").counts.macs
    depthwise = next(row for row in cost["layers"] if row["kind"] == "DepthwiseConv2D")
    assert (depthwise["kernel"], depthwise["strides"], depthwise["groups"]) == ([3, 3], [1, 1], 32)
    assert depthwise["output_shape"] == [112, 112, 32]


def test_a_file_can_be_shown_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.keras"
    kc.LeNet5().save(path)
    path.with_name("model.preprocess.json").write_text('{"input_range": [0, 1], "class_names": ["a", "b"]}')
    shown = json_of(["show", str(path)], capsys)
    assert (shown["macs"], shown["class_names"]) == (416_520, ["a", "b"])
    assert json_of(["cost", str(path)], capsys)["macs"] == 416_520
    assert main(["show", str(path)]) == 0
    assert "416,520" in capsys.readouterr().out


def test_variants_and_windows_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "alexnet"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["conv2"]]
    assert line.split()[2:6] == ["5×5", "1×1", "2", "27×27×256"]
    assert main(["cost", "lenet5", "--variant", "1998"]) == 0
    assert "328,096" in capsys.readouterr().out


def test_a_missing_backend_is_one_line_with_what_installs_it() -> None:
    result = run("list", before="sys.modules['tensorflow'] = None", KERAS_BACKEND="tensorflow")
    assert result.returncode == 2
    assert result.stderr.startswith("error: tensorflow is not installed; pip install 'keras-classics[tensorflow]'")
    assert result.stderr.count("\n") == 1
    result = run("list", KERAS_BACKEND="tensorfow")
    assert result.stderr == "error: KERAS_BACKEND is 'tensorfow'; it takes tensorflow, jax or torch\n"


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["export", "lenet5", "--dynamic"], "litert_quantizer", "export"),
        (["export", "lenet5", "--int8", "--qat"], "tensorflow_model_optimization", "export"),
        (["bench", "run", "x"], "jsonschema", "bench"),
    ],
)
def test_a_missing_extra_is_one_line_with_what_installs_it(words: list[str], module: str, extra: str) -> None:
    result = run(*words, before=f"sys.modules[{module!r}] = None")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {module} is not installed; pip install 'keras-classics[{extra}]'")
    assert result.stderr.count("\n") == 1


def test_tensorflow_says_nothing_unless_asked(tmp_path: Path) -> None:
    quiet = run("list", "lenet5", KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="0")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_a_file_named_export_where_the_user_stands_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "export.py").write_text("raise SystemExit('the wrong one')")
    script = "import keras_classics as kc\nprint(kc.export_tflite.__module__)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for command in (["-c", script], ["-m", "keras_classics", "export", "--help"]):
        result = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True, env=environment
        )
        assert "the wrong one" not in result.stderr
        assert "export.pipeline" in result.stdout or "usage: keras-classics export" in result.stdout


def test_an_imported_module_named_export_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "export.py").write_text("")
    script = "import export\nimport keras_classics as kc\ntry: kc.export_tflite\nexcept ImportError as e: print(e)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, env=environment
    )
    assert "export.py stands in the way of ours; rename it" in result.stdout


@pytest.mark.parametrize("order", ["import keras_classics; import keras", "import keras; import keras_classics"])
def test_our_layers_are_registered_in_either_order_of_imports(order: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    kc.LeNet5(variant="1998").save(path)
    script = f"{order}\nprint(keras.saving.load_model({str(path)!r}).count_params(), keras.__spec__.loader)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.split()[0] == "60000"
    assert "SourceFileLoader" in result.stdout


def test_every_public_name_is_there() -> None:
    for name in kc.__all__:
        assert getattr(kc, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Export'"):
        _ = kc.Export
    assert set(kc.__all__) <= set(dir(kc))
    keras.backend.clear_session()
