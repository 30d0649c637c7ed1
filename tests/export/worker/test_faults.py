"""No request hangs: whatever a worker dies of, and whenever, an error arrives and the next request is served."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from export import ConversionError, InputError, Worker
from export.ir.graph import Graph
from export.worker import log
from export.worker.protocol import Batch, TrainingLength

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GRAPH = Graph("empty", {}, [], [])
STEPS = 5


@pytest.fixture(scope="module", autouse=True)
def abilities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests' abilities, and a TensorFlow with nothing in it, so that a worker starts at once."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "tensorflow.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(folder), str(HERE))))
        patch.syspath_prepend(str(HERE))
        yield


@pytest.fixture(scope="module")
def worker(abilities: None) -> Iterator[Worker]:
    with Worker() as running:
        yield running


def batches(count: int = STEPS) -> Iterator[Batch]:
    """Batches larger than a pipe holds."""
    for number in range(count):
        yield Batch([np.full((500, 1000), number, np.float32)])


def learn(worker: Worker, fault: str = "", moment: int = 0, given: Iterator[Batch] | None = None) -> int:
    from abilities import Learn

    request = Learn(graph=GRAPH, length=TrainingLength(STEPS, 1), fault=fault, moment=moment)
    return int(worker.run(request, batches() if given is None else given).history[0]["batches"])


@pytest.mark.parametrize("moment", range(STEPS + 1))
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("error", "ValueError: xxx"),
        ("killed", r"was killed \(SIGKILL\), most likely because memory ran out, during the lesson of 'empty'"),
        ("crash", r"crashed \(SIGSEGV\) during the lesson of 'empty'"),
        ("exit", "ended with code 3 during the lesson of 'empty'"),
    ],
)
def test_an_error_arrives_whenever_the_worker_fails(fault: str, message: str, moment: int, worker: Worker) -> None:
    with pytest.raises(ConversionError, match=message) as caught:
        learn(worker, fault, moment)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert learn(worker) == STEPS


def test_a_result_that_cannot_be_sent_is_an_error(worker: Worker) -> None:
    with pytest.raises(ConversionError, match="cannot hold a object"):
        learn(worker, "unsendable", -1)
    assert learn(worker) == STEPS


@pytest.mark.parametrize("moment", range(3))
def test_a_worker_killed_from_outside_while_a_batch_is_made(moment: int, worker: Worker) -> None:
    def killing() -> Iterator[Batch]:
        for number, batch in enumerate(batches()):
            if number == moment:
                assert worker._process is not None
                os.kill(worker._process.pid, signal.SIGKILL)
            yield batch

    with pytest.raises(ConversionError, match="SIGKILL"):
        learn(worker, given=killing())
    assert learn(worker) == STEPS


def test_an_error_in_the_batches_is_the_callers(worker: Worker) -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(2)
        raise InputError("no more images")

    with pytest.raises(InputError, match="no more images"):
        learn(worker, given=broken())
    assert learn(worker) == STEPS


def test_batches_cannot_ask_the_worker_that_they_are_for(worker: Worker) -> None:
    def asking() -> Iterator[Batch]:
        yield from batches(1)
        learn(worker)

    with pytest.raises(InputError, match="is serving a request"):
        learn(worker, given=asking())


def test_both_sides_may_write_at_once(worker: Worker) -> None:
    from abilities import TALK, Talk

    answers: list[list[np.ndarray]] = []
    threads = [threading.Thread(target=lambda: answers.append(worker.run(Talk()).arrays)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert learn(worker) == STEPS
    for thread in threads:
        thread.join()
    assert [[int(array[-1]) for array in arrays] for arrays in answers] == [[*range(TALK)]] * 2


def test_threads_are_served_in_turn(worker: Worker) -> None:
    """Each gets the sum of its own batches, which would mix where two requests shared the pipe."""
    found: dict[int, int] = {}

    def ask(count: int) -> None:
        found[count] = learn(worker, given=batches(count))

    threads = [threading.Thread(target=ask, args=(count,)) for count in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {count: count for count in range(1, 9)}


def test_a_worker_outlives_the_thread_that_started_it() -> None:
    workers: list[Worker] = []
    starting = threading.Thread(target=lambda: workers.append(Worker()))
    starting.start()
    starting.join()
    with workers[0] as worker:
        assert learn(worker) == STEPS
        assert worker._kept > 0  # of the training: the process was not replaced


def test_a_closed_worker_says_so(abilities: None) -> None:
    with Worker() as worker:
        pass
    with pytest.raises(InputError, match="this worker is closed"):
        learn(worker)


@pytest.mark.parametrize("moment", ["its start", "a request"])
def test_a_worker_ends_with_its_parent(moment: str, tmp_path: Path) -> None:
    """Also while a library holds the interpreter's lock: the named pipe's end is that of the worker."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    starts = f"import abilities; abilities.hold({str(fifo)!r})" if moment == "its start" else ""
    (tmp_path / "tensorflow.py").write_text(starts)
    for_worker = os.pathsep.join(map(str, (tmp_path, HERE)))
    script = (
        "import os; from abilities import Stop; from export import Worker\n"
        f"os.environ['PYTHONPATH'] = {for_worker!r}; Worker().run(Stop({str(fifo)!r}))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (HERE, ROOT)))}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as parent:

        def report_failure() -> None:
            if parent.wait() != -signal.SIGKILL:  # before the worker came to open its end
                fifo.open("w").close()

        watch = threading.Thread(target=report_failure)
        watch.start()
        with fifo.open() as file:
            assert file.read(4) == "here"
            parent.kill()
            assert file.read() == ""  # not before the worker has closed its end
        watch.join()


def test_a_start_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    module = tmp_path / "tensorflow.py"
    module.write_text("raise ImportError('libfoo.so: undefined symbol\\nsee above')")
    with pytest.raises(ConversionError, match=r"^ImportError: libfoo\.so: undefined symbol see above$"):
        Worker()
    module.write_text("import os, sys; print('terminate called: bad_alloc', file=sys.stderr); os.abort()")
    with pytest.raises(ConversionError, match=r"crashed \(SIGABRT\) during its start: terminate called: bad_alloc$"):
        Worker()


LOG = """WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795603471.135953    2573 port.cc:153] oneDNN custom operations are on.
{line}
E0000 00:00:1795603472.494903    2573 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: UNKNOWN (303)
2026-11-22 10:00:00.123456: W tensorflow/compiler/mlir/lite/python/tf_tfl_flatbuffer_helpers.cc:364] Ignored
To enable the following instructions: AVX2 AVX512F, in other operations, rebuild TensorFlow.
Fatal Python error: Segmentation fault

Current thread 0x00007f2ed1a2ab80 (most recent call first):
  File "/home/somebody/convert.py", line 1 in fails

Extension modules: numpy._core._multiarray_umath (total: 1)
"""


@pytest.mark.parametrize(
    "line", ["F0000 00:00:1795603471 check.cc:1] Check failed: size > 0", "terminate called: bad_alloc", "strange"]
)
def test_the_reason_is_not_what_tensorflow_always_says(line: str) -> None:
    assert log.reason(LOG.format(line=line)) == line
    assert log.reason(LOG.format(line="")) is None


def test_an_error_of_tensorflow_is_told_without_its_stack() -> None:
    message = (
        "Graph execution error:\n\nDetected at node loss/Sub defined at (most recent call last):\n"
        '  File "<frozen runpy>", line 198, in _run_module_as_main\n\n'
        '  File "training.py", line 152, in step\n\nIncompatible shapes: [4,3] vs. [4,2]\n'
        "\t [[{{node loss/Sub}}]] [Op:__inference_step_1]"
    )
    assert log.cause(message) == "Incompatible shapes: [4,3] vs. [4,2]"
    assert log.cause("two\nlines") == "two lines"
