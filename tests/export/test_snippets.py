"""Code beside a file: it names what `load_classifier` names, in Python and in a browser, and has the file's numbers."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_classics as kc
from export import InputError, Report, Worker, export_tflite, load_classifier
from export.snippets import write_snippet

NAMES = ["rot", 'a "quoted" $name', "blau"]
FORMS = [
    ("float32", "float32", True, 3),
    ("int8", "int8", True, 3),
    ("int8", "uint8", True, 3),
    ("int8", "uint8", False, 1),
    ("float32", "float32", False, 3),
]


def model(softmax: bool, channels: int) -> keras.Model:
    """Three classes of random weights."""
    keras.utils.set_random_seed(0)
    image = layers.Input((24, 32, channels), name="image")
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="stem")(image)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(3, activation="softmax" if softmax else None, name="out")(x), name="random")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three real photos."""
    from skimage import data

    folder = tmp_path_factory.mktemp("photos")
    paths = []
    for name in ("astronaut", "chelsea", "coffee"):
        paths.append(folder / f"{name}.png")
        Image.fromarray(getattr(data, name)()).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, worker: Worker) -> dict[tuple[Any, ...], Report]:
    """Files in each form, for models that are normalized by channel where they can be."""
    folder, random = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    found = {}
    for mode, io, softmax, channels in FORMS:
        blocks = np.kron(random.random((24, 6, 8, channels)), np.ones((1, 4, 4, 1)))
        preprocessing = kc.preprocessing_for("mobilenet_v2")
        normalization = (preprocessing.mean, preprocessing.std) if channels == 3 else (0.5, 0.5)
        samples = ((blocks - np.array(normalization[0])) / np.array(normalization[1])).astype(np.float32)
        found[mode, io, softmax, channels] = export_tflite(
            model(softmax, channels),
            folder / f"{mode}-{io}-{softmax}-{channels}.tflite",
            mode,  # type: ignore[arg-type]
            io=io,
            calibration=samples if mode == "int8" else None,
            normalization=normalization,
            class_names=NAMES,
            gate=False,
            worker=worker,
        )
    return found


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_the_python_code_names_what_the_library_names(
    form: tuple[Any, ...], reports: dict[tuple[Any, ...], Report], photos: list[Path]
) -> None:
    snippet = write_snippet(reports[form], "py")
    result = subprocess.run(
        [sys.executable, str(snippet), *map(str, photos)], capture_output=True, text=True, check=True, cwd="/"
    )
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    expected = load_classifier(reports[form].path).predict(photos, top=3)
    for index, path in enumerate(photos):
        found = {name: float(probability) for photo, name, probability in rows if photo == str(path)}
        assert found == pytest.approx({each.name: each.probability for each in expected[index]}, abs=1e-4)


def test_the_kotlin_code_has_the_numbers_of_the_file(reports: dict[tuple[Any, ...], Report]) -> None:
    report = reports["int8", "int8", True, 3]
    text = write_snippet(report, "kt").read_text()
    assert "NOT RUN" in text
    assert f"INPUT_SCALE = {report.input['scale']!r}f" in text
    assert f"INPUT_ZERO_POINT = {report.input['zero_point']}\n" in text
    assert f"OUTPUT_SCALE = {report.output['scale']!r}f" in text
    assert r'listOf("rot", "a \"quoted\" \$name", "blau")' in text
    assert "123.675" in text
    assert "@" not in text
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")


def test_a_browser_cannot_take_int8(reports: dict[tuple[Any, ...], Report]) -> None:
    with pytest.raises(InputError, match="takes no int8 in- and outputs; export with --for litertjs"):
        write_snippet(reports["int8", "int8", True, 3], "js")


PAGE = """<!doctype html><meta charset="utf-8"><title>waiting</title>
<script type="importmap">
{"imports": {"@litertjs/core": "/modules/@litertjs/core/dist/index.js", "@litertjs/wasm-utils":
"/modules/@litertjs/wasm-utils/dist/index.js"}}</script>
<script type="module">
const result = {};
try {
  const image = new Image();
  image.src = '/photo.png';
  await image.decode();
  for (const name of %s) {
    const {loadClassifier} = await import(`/files/${name}.js`);
    const classify = await loadClassifier(`/files/${name}.tflite`, '/modules/@litertjs/core/wasm/');
    result[name] = await classify(image);
  }
} catch (error) { result.error = String(error); }
await fetch('/result', {method: 'POST', body: JSON.stringify(result)});
</script>"""
MODULES = Path(__file__).parents[2] / "node_modules"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Server(http.server.SimpleHTTPRequestHandler):
    """Gives out the page, the files and LiteRT.js; takes the page's result."""

    places: dict[str, Path]
    page: str
    results: list[Any]
    arrived: threading.Event

    def translate_path(self, path: str) -> str:
        first, _, rest = path.split("?")[0].lstrip("/").partition("/")
        return str(self.places[first] / rest if rest else self.places.get(first, Path("/nonexistent")))

    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        body = self.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def do_POST(self) -> None:
        self.results.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        self.arrived.set()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.mark.skipif(
    not (CHROMIUM and (MODULES / "@litertjs" / "core").is_dir()), reason="`make node_modules` installs LiteRT.js"
)
def test_the_javascript_code_gives_the_librarys_numbers_in_chromium(
    reports: dict[tuple[Any, ...], Report], photos: list[Path], tmp_path: Path
) -> None:
    forms = [form for form in FORMS if form[1] != "int8"]
    size = {3: (24, 32, 3), 1: (24, 32, 1)}
    photo = tmp_path / "photo.png"
    with Image.open(photos[0]) as image:
        image.resize((32, 24)).save(photo)  # of the model's size, since browsers resize in their own way
    names = [Path(write_snippet(reports[form], "js")).stem for form in forms]
    assert set(size) == {form[3] for form in forms}
    folder = Path(reports[forms[0]].path).parent
    handler = type(
        "Handler",
        (Server,),
        {
            "places": {"files": folder, "modules": MODULES, "photo.png": photo},
            "page": PAGE % json.dumps(names),
            "results": [],
            "arrived": threading.Event(),
        },
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        address = f"http://127.0.0.1:{server.server_port}/"
        assert CHROMIUM is not None
        with subprocess.Popen(
            [CHROMIUM, *options, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
        ) as browser:
            try:
                assert handler.arrived.wait(120)  # type: ignore[attr-defined]
            finally:
                browser.terminate()
        server.shutdown()
    (result,) = handler.results  # type: ignore[attr-defined]
    assert "error" not in result, result
    for form, name in zip(forms, names, strict=True):
        expected = load_classifier(reports[form].path).predict(photo, top=3)[0]
        found = {row["label"]: row["probability"] for row in result[name]}
        step = 2 / 256 if form[0] == "int8" else 1e-3
        assert found == pytest.approx({each.name: each.probability for each in expected}, abs=step)
