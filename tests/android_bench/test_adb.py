"""The real adb binary against the test device, which runs real ARM code."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from android_bench import results
from android_bench.__main__ import main
from android_bench.document import BeforeAndAfter
from android_bench.errors import InputError
from android_bench.runners import native_runner
from android_bench.runners.native_runner import Bundle
from android_bench.targets import adb, remote
from android_bench.testing import TestDevice, missing_tools

MISSING = missing_tools()
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"the test device needs {', '.join(MISSING)}"),
    pytest.mark.usefixtures("litert"),
]
FEW = ["--runs", "2", "--warmup", "0", "--repeats", "1"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An adb server of our own, so that nobody's phones or emulators take part."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", port)
        patch.setenv("ADB_MDNS_AUTO_CONNECT", "0")
        binary = adb.adb_binary()
        subprocess.run([binary, "start-server"], check=True, capture_output=True)
        yield binary
        subprocess.run([binary, "kill-server"], capture_output=True)


@pytest.fixture(scope="module", autouse=True)
def arm_runner() -> Bundle:
    try:
        return native_runner.for_aarch64()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def plug(server: str) -> Iterator[Callable[..., TestDevice]]:
    """A function that plugs a test device in."""
    plugged = []

    def plug(**arguments: Any) -> TestDevice:
        device = TestDevice(**arguments)
        device.__enter__()
        plugged.append(device)
        return device

    yield plug
    for device in plugged:
        subprocess.run([server, "disconnect", device.serial], capture_output=True)
        device.__exit__()


def connect(server: str, device: TestDevice) -> None:
    subprocess.run([server, "connect", device.serial], check=True, capture_output=True)


@pytest.fixture
def device(server: str, plug: Callable[..., TestDevice]) -> TestDevice:
    device = plug()
    connect(server, device)
    return device


def shell(server: str, device: TestDevice, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([server, "-s", device.serial, *words], capture_output=True, text=True)


def test_adb_speaks_to_it_as_to_a_phone(server: str, device: TestDevice, tmp_path: Path) -> None:
    assert shell(server, device, "shell", "getprop ro.product.model").stdout == "Test Device\n"
    assert shell(server, device, "shell", "echo out; echo err >&2; exit 7").returncode == 7
    failed = shell(server, device, "shell", "echo out; echo err >&2; exit 7")
    assert (failed.stdout, failed.stderr) == ("out\n", "err\n")
    local = tmp_path / "file"
    content = os.urandom(700_000)
    local.write_bytes(content)
    assert shell(server, device, "push", local, "/data/local/tmp/new folder/file").returncode == 0
    assert device.sandbox.path("/data/local/tmp/new folder/file").read_bytes() == content
    assert shell(server, device, "pull", "/data/local/tmp/new folder/file", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == content
    assert shell(server, device, "pull", "/data/local/tmp/nothing", tmp_path / "none").returncode != 0
    assert " file" in shell(server, device, "ls", "/data/local/tmp/new folder").stdout
    fed = subprocess.run([server, "-s", device.serial, "shell", "cat"], input=b"typed", capture_output=True)
    assert fed.stdout == b"typed"


def test_its_hottest_sensor(device: TestDevice) -> None:
    assert adb.AdbTarget(device.serial).temperature() == 41.5


def test_paths_do_not_leave_the_device(device: TestDevice) -> None:
    assert device.sandbox.path("/../../etc/passwd") == device.sandbox.root / "etc/passwd"


def test_a_model_runs_there_and_its_output_is_the_hosts(
    device: TestDevice, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", models / "float32.tflite", "--target", "adb", *FEW, "--output", output) == 0
    rows = {row.model: row for row in results.read(output)}
    assert rows["int8"].output_check.identical
    assert rows["float32"].output_check.relative_rms < 1e-4
    for row in rows.values():
        assert row.target == f"adb:{device.serial}"
        assert row.emulated
        assert row.yardstick is None
        assert row.runtime == "native"
        assert row.nodes == row.delegated_nodes
        assert (row.device.model, row.device.os, row.device.governor) == (
            "Test Device",
            "Android 14 (API 34)",
            "schedutil",
        )
        assert row.temperature == BeforeAndAfter(41.5, 41.5)
        assert row.frequency == BeforeAndAfter(1804.8, 1804.8)
    assert "(emulated)" in capsys.readouterr().out
    assert not list(device.sandbox.path(adb.TEMPORARY).iterdir())


def test_files_that_are_there_are_not_pushed_again_and_damaged_ones_are(
    device: TestDevice,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    words = [models / "int8.tflite", "--target", "adb", *FEW, "--keep-files", "--output", tmp_path / "results.jsonl"]
    assert run(*words) == 0
    pushed = {path: path.stat().st_ino for path in device.sandbox.path(adb.TEMPORARY).rglob("*.tflite")}
    (model,) = pushed
    device.faults.disk_full = True
    assert run(*words) == 0
    damaged = bytearray(model.read_bytes())
    damaged[200] ^= 1
    model.write_bytes(damaged)
    capsys.readouterr()
    assert run(*words) == 2
    assert "no space left" in complaint()


def test_a_runner_of_ones_own(
    device: TestDevice,
    models: Path,
    tmp_path: Path,
    arm_runner: Bundle,
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    folder = tmp_path / "built"
    words = [models / "int8.tflite", "--target", "adb", "--native-runner", folder, *FEW]
    shutil.copytree(arm_runner.folder, folder)
    (folder / "runner").rename(folder / "program")
    assert run(*words, "--output", tmp_path / "results.jsonl") == 2
    assert "has no runner" in complaint()
    (folder / "runner").write_text(
        '#!/bin/sh\ncd "$(dirname "$0")"\nexec ./ld-linux-aarch64.so.1 --library-path . ./program "$@"\n'
    )
    (folder / "runner").chmod(0o755)
    assert run(*words, "--output", tmp_path / "results.jsonl") == 0
    (row,) = results.read(tmp_path / "results.jsonl")
    assert row.output_check.identical
    assert row.runtime_version.startswith("sha256:")


def test_a_benchmark_model_of_ones_own(
    device: TestDevice, double: Callable[..., Path], right: bytes, models: Path, tmp_path: Path, run: Callable[..., int]
) -> None:
    output = tmp_path / "results.jsonl"
    program = double(
        "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate.\n"
        "INFO: count=9 first=70 curr=70 min=64 max=90 avg=72 std=6 p5=65 median=71 p95=88\n"
        "INFO: Inference timings in us: Init: 420, First inference: 90, Warmup (avg): 75, Inference (avg): 72\n",
        right,
    )
    program.write_text(program.read_text().replace("exit 0", 'test "$(nproc)" = 1'))
    words = ["--runtime", "benchmark_model", "--benchmark-binary", program, "--target", "adb", "--cpus", "1"]
    assert run(models / "int8.tflite", *words, *FEW, "--output", output) == 0
    (row,) = results.read(output)
    assert (row.runtime, row.p50_us, row.cpus, row.emulated) == ("benchmark_model", 71, [0], True)
    assert row.output_check.identical
    assert row.temperature == BeforeAndAfter(41.5, 41.5)
    assert row.frequency == BeforeAndAfter(1804.8, 1804.8)
    assert not list(device.sandbox.path(adb.TEMPORARY).iterdir())


def test_energy_of_a_battery_unless_it_is_charged(
    device: TestDevice, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    battery = device.sandbox.path("/sys/class/power_supply/battery")
    battery.mkdir(parents=True)
    for name, content in {"current_now": "-500000", "voltage_now": "4000000", "status": "Discharging"}.items():
        (battery / name).write_text(f"{content}\n")
    words = [models / "int8.tflite", "--target", "adb", "--cpus", "1", *FEW]
    assert run(*words, "--output", tmp_path / "results.jsonl") == 0
    (row,) = results.read(tmp_path / "results.jsonl")
    assert row.cpus == [0]
    assert row.energy.source == "battery"
    assert row.energy.joules == pytest.approx(2.0 * row.energy.seconds, rel=1e-6)
    assert row.energy.seconds * 1e6 >= sum(row.samples_us)
    assert "mJ an inference, with all that ran meanwhile (battery)" in capsys.readouterr().out
    (battery / "status").write_text("Charging\n")
    assert run(*words, "--output", tmp_path / "charged.jsonl") == 0
    assert results.read(tmp_path / "charged.jsonl")[0].energy is None


def test_the_gpu_needs_a_runner_that_can_load_its_driver(
    device: TestDevice,
    models: Path,
    tmp_path: Path,
    arm_runner: Bundle,
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    words = [models / "int8.tflite", "--target", "adb", "--delegate", "gpu", *FEW, "--output", tmp_path / "r.jsonl"]
    assert run(*words) == 2
    assert "--native-runner" in complaint()
    folder = tmp_path / "built"
    shutil.copytree(arm_runner.folder, folder)
    (folder / "runner").rename(folder / "program")
    (folder / "runner").write_text(
        '#!/bin/sh\ncd "$(dirname "$0")"\nexec ./ld-linux-aarch64.so.1 --library-path . ./program "$@"\n'
    )
    (folder / "runner").chmod(0o755)
    assert run(*words, "--native-runner", folder) == 2
    assert "LiteRT finds no GPU accelerator" in complaint()


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_the_runner_builds_with_cmake_too(tmp_path: Path) -> None:
    subprocess.run(["cmake", "-S", native_runner.SOURCES, "-B", tmp_path], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path], check=True, capture_output=True)
    process = subprocess.run([tmp_path / "runner"], capture_output=True, text=True)
    assert json.loads(process.stdout)["error"]["kind"] == "arguments"


def test_no_device(server: str, models: Path, run: Callable[..., int], complaint: Callable[[], str]) -> None:
    assert run(models / "int8.tflite", "--target", "adb", *FEW) == 2
    assert "no Android device" in complaint()


def test_two_devices_need_a_serial(
    server: str,
    plug: Callable[..., TestDevice],
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    first, second = plug(), plug(properties={"ro.product.model": "Other"})
    connect(server, first)
    connect(server, second)
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", "--target", "adb", *FEW, "--output", output) == 2
    assert "2 devices" in complaint()
    assert run(models / "int8.tflite", "--target", f"adb:{second.serial}", *FEW, "--output", output) == 0
    assert results.read(output)[0].device.model == "Other"
    capsys.readouterr()
    assert main(["devices"]) == 0
    listed = capsys.readouterr().out
    assert f"adb:{first.serial}" in listed
    assert "Other" in listed
    assert run(models / "int8.tflite", "--target", "adb:nobody", *FEW, "--output", output) == 2
    assert "no device nobody" in complaint()


def test_two_devices_at_once(
    server: str,
    plug: Callable[..., TestDevice],
    models: Path,
    tmp_path: Path,
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    first, second = plug(), plug(properties={"ro.product.model": "Other"})
    connect(server, first)
    connect(server, second)
    output = tmp_path / "results.jsonl"
    names = [f"adb:{first.serial}", f"adb:{second.serial}"]
    targets = ["--target", names[0], "--target", names[1]]
    second.faults.hang_up_at = "--library-path"
    assert run(models / "int8.tflite", *targets, *FEW, "--output", output) == 2
    assert names[1] in complaint()
    assert [row.target for row in results.read(output)] == names[:1]
    second.faults.hang_up_at = None
    subprocess.run([server, "disconnect", second.serial], capture_output=True)
    connect(server, second)
    assert run(models / "int8.tflite", *targets, *FEW, "--resume", "--output", output) == 0
    assert [row.target for row in results.read(output)] == names


def test_unauthorized(
    server: str, plug: Callable[..., TestDevice], models: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    device = plug()
    device.faults.unauthorized = True
    connect(server, device)
    assert run(models / "int8.tflite", "--target", "adb", *FEW) == 2
    assert "accept the question on its screen" in complaint()


def test_offline(
    server: str, plug: Callable[..., TestDevice], models: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    device = plug()
    device.faults.offline = True
    connecting = subprocess.Popen([server, "connect", device.serial], stdout=subprocess.DEVNULL)
    try:
        while not adb.devices():
            pass
        assert run(models / "int8.tflite", "--target", "adb", *FEW) == 2
        assert f"device {device.serial} is offline: it does not answer" in complaint()
    finally:
        connecting.terminate()
        connecting.wait()


def test_a_device_of_32_bits(
    server: str, plug: Callable[..., TestDevice], models: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    connect(server, plug(properties={"ro.product.cpu.abilist64": ""}))
    assert run(models / "int8.tflite", "--target", "adb", *FEW) == 2
    assert "arm64-v8a" in complaint()


def test_disk_full(
    device: TestDevice, models: Path, tmp_path: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    device.faults.disk_full = True
    assert run(models / "int8.tflite", "--target", "adb", *FEW, "--output", tmp_path / "results.jsonl") == 2
    assert "no space left" in complaint()


def test_a_pulled_cable_keeps_the_rows_and_the_run_resumes(
    server: str,
    device: TestDevice,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    output = tmp_path / "results.jsonl"
    words = ["--target", f"adb:{device.serial}", "--runs", "2", "--warmup", "0", "--repeats", "1", "--output", output]
    assert run(models / "int8.tflite", *words) == 0
    device.faults.hang_up_at = "--library-path"
    capsys.readouterr()
    assert run(models / "int8.tflite", models / "float32.tflite", *words, "--resume") == 2
    assert "went away" in complaint()
    assert [row.model for row in results.read(output)] == ["int8"]
    device.faults.hang_up_at = None
    subprocess.run([server, "disconnect", device.serial], capture_output=True)
    connect(server, device)
    assert run(models / "int8.tflite", models / "float32.tflite", *words, "--resume") == 0
    assert [row.model for row in results.read(output)] == ["int8", "float32"]


def test_output_cut_in_the_middle_is_no_result(
    device: TestDevice, models: Path, tmp_path: Path, run: Callable[..., int], complaint: Callable[[], str]
) -> None:
    output = tmp_path / "results.jsonl"
    device.faults.cut_output_at = "--library-path"
    assert run(models / "int8.tflite", "--target", "adb", *FEW, "--output", output) == 2
    assert "no complete result" in complaint()
    assert not output.exists()


def test_a_slow_link_ends_at_its_timeout(
    device: TestDevice,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    monkeypatch.setattr(remote, "CALL_TIMEOUT", 1.0)
    device.faults.seconds_a_packet = 2.0
    assert run(models / "int8.tflite", "--target", "adb", *FEW, "--output", tmp_path / "results.jsonl") == 2
    assert "took longer than 1 s" in complaint()


def test_a_processor_that_computes_wrongly_is_caught(
    server: str,
    plug: Callable[..., TestDevice],
    models: Path,
    tmp_path: Path,
    run: Callable[..., int],
    complaint: Callable[[], str],
) -> None:
    connect(server, plug(cpu="max"))
    output = tmp_path / "results.jsonl"
    assert run(models / "int8.tflite", "--target", "adb", *FEW, "--output", output) == 3
    assert "its latency is withheld" in complaint()
    assert not output.exists()
