"""Measure one TFLite model on this machine and print the result as one line of JSON.

This file travels alone to boards: it needs Python 3.8, NumPy and one runtime, and nothing else of ours.
One process measures one model with one runtime, because two TFLite runtimes in one process crash.
"""

from __future__ import annotations

import argparse
import gc
import glob
import json
import os
import platform
import re
import sys
import time

import numpy as np

SEED = 20260101
SHORTEST_SERIES = 50
LONGEST_SERIES = 1000
LONGEST_SUSTAINED_SERIES = 200000
SERIES_SECONDS = 0.5
WARMUP_WINDOW = 5
WARMUP_WINDOW_SECONDS = 0.05
WARMUP_SECONDS = 3.0
STEADY_CHANGE = 0.03
SHORTEST_PRESSURE_SECONDS = 0.2
BATTERY_SECONDS = 0.1
YARDSTICK_SIDE = 64  # small enough that no BLAS shares it among threads
YARDSTICK_PRODUCTS = 8
YARDSTICK_SECONDS = 0.01
YARDSTICK_SHARE = 0.025
DEVICES = "/sys/class"


class RunnerError(Exception):
    """A fault with a name that the host knows (`kind`) and the runtime's own words."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def import_runtime(name):
    """Return (Interpreter class, OpResolverType, version) of the runtime called `name`."""
    try:
        if name == "litert":
            from ai_edge_litert.interpreter import Interpreter, OpResolverType

            return Interpreter, OpResolverType, distribution_version("ai-edge-litert")
        if name == "tflite-runtime":
            from tflite_runtime.interpreter import Interpreter, OpResolverType

            return Interpreter, OpResolverType, distribution_version("tflite-runtime")
        import tensorflow

        return tensorflow.lite.Interpreter, tensorflow.lite.experimental.OpResolverType, tensorflow.__version__
    except (ImportError, AttributeError) as error:
        raise RunnerError("runtime", str(error)) from error


def distribution_version(name):
    from importlib import metadata

    return metadata.version(name)


def load(interpreter_class, resolvers, model, delegate, threads):
    """Return an interpreter with its tensors allocated, on the built-in kernels alone where `delegate` is "none"."""
    arguments = {"model_path": model, "num_threads": threads}
    if delegate == "none":
        arguments["experimental_op_resolver_type"] = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = interpreter_class(**arguments)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise RunnerError("model", str(error)) from error
    return interpreter


def delegation(operators, tensor_types):
    """Count the nodes of the graph and those that delegates took.

    A runtime appends one DELEGATE node a partition and leaves the nodes it replaces in the list. A
    partition's nodes are found by walking back from its outputs to its inputs through their producers.
    """
    nodes = [each for each in operators if each["op_name"] != "DELEGATE"]
    partitions = [each for each in operators if each["op_name"] == "DELEGATE"]
    producer = {int(tensor): each for each in nodes for tensor in each["outputs"]}
    delegated = {}
    for partition in partitions:
        inputs = {int(tensor) for tensor in partition["inputs"]}
        waiting = [int(tensor) for tensor in partition["outputs"]]
        while waiting:
            node = producer.get(waiting.pop())
            if node is None or node["index"] in delegated:
                continue
            delegated[node["index"]] = node["op_name"]
            waiting += [int(tensor) for tensor in node["inputs"] if int(tensor) not in inputs]
    remaining = sorted({each["op_name"] for each in nodes if each["index"] not in delegated})
    integer = sum(any(tensor_types.get(int(tensor)) == "int8" for tensor in each["outputs"]) for each in nodes)
    return {
        "nodes": len(nodes),
        "delegated_nodes": len(delegated),
        "partitions": len(partitions),
        "integer_nodes": integer,
        "undelegated_operators": remaining,
    }


def describe(detail):
    scale, zero_point = detail["quantization"]
    return {
        "name": str(detail["name"]),
        "shape": [int(size) for size in detail["shape"]],
        "dtype": np.dtype(detail["dtype"]).name,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }


def random_input(details):
    """Return fixed-seed bytes for each input: floats in [0, 1), 8 and 16 bit integers over their whole range."""
    generator = np.random.RandomState(SEED)
    arrays = []
    for detail in details:
        dtype = np.dtype(detail["dtype"])
        shape = tuple(detail["shape"])
        if dtype.kind == "f":
            array = generator.random_sample(shape).astype(dtype)
        elif dtype.kind in "iu" and dtype.itemsize <= 2:
            limits = np.iinfo(dtype)
            array = generator.randint(limits.min, limits.max + 1, shape).astype(dtype)
        else:
            array = generator.randint(0, 2, shape).astype(dtype)
        arrays.append(array.tobytes())
    return b"".join(arrays)


def set_inputs(interpreter, details, content):
    """Fill the inputs from `content`, the bytes of all of them in order."""
    expected = sum(int(np.prod(detail["shape"])) * np.dtype(detail["dtype"]).itemsize for detail in details)
    if len(content) != expected:
        raise RunnerError("input", f"the model takes {expected} bytes of input, {len(content)} were given")
    start = 0
    for detail in details:
        dtype = np.dtype(detail["dtype"])
        count = int(np.prod(detail["shape"]))
        array = np.frombuffer(content, dtype, count, start).reshape(detail["shape"])
        interpreter.set_tensor(detail["index"], array)
        start += count * dtype.itemsize


def warm_up(invoke, runs):
    """Run until two successive windows agree, or exactly `runs` times; return (count, whether it became steady)."""
    if runs is not None:
        for _ in range(runs):
            invoke()
        return runs, True
    start = time.perf_counter()
    count = 0
    previous = None
    while time.perf_counter() - start < WARMUP_SECONDS:
        window: list[float] = []
        opened = time.perf_counter()
        while len(window) < WARMUP_WINDOW or time.perf_counter() - opened < WARMUP_WINDOW_SECONDS:
            window.append(timed(invoke)[0])
        count += len(window)
        median = float(np.median(window))
        if previous is not None and abs(median - previous) <= STEADY_CHANGE * previous:
            return count, True
        previous = median
    return count, False


def timed(invoke):
    """Return (wall, CPU) microseconds of one call; the CPU time is that of all threads of this process."""
    cpu = time.process_time_ns()
    wall = time.perf_counter_ns()
    invoke()
    wall = time.perf_counter_ns() - wall
    return wall / 1000, (time.process_time_ns() - cpu) / 1000


def measure(invoke, runs, seconds, watchers):
    """Return the wall and the CPU microseconds of every run, and let each of `watchers` look between them.

    There are `runs` of them, or as many as `seconds` hold, or else as many as half a second holds
    but at least 50.
    """
    walls: list[float] = []
    cpus: list[float] = []
    if runs is not None:
        shortest, longest = runs, runs
    elif seconds is not None:
        shortest, longest = 1, LONGEST_SUSTAINED_SERIES
    else:
        shortest, longest = SHORTEST_SERIES, LONGEST_SERIES
    stop = time.perf_counter() + (SERIES_SECONDS if seconds is None else seconds)
    collecting = gc.isenabled()
    gc.disable()
    try:
        while len(walls) < shortest or (len(walls) < longest and time.perf_counter() < stop):
            wall, cpu = timed(invoke)
            walls.append(wall)
            cpus.append(cpu)
            for watcher in watchers:
                watcher.look()
    finally:
        if collecting:
            gc.enable()
    return walls, cpus


class Yardstick:
    """A fixed float32 matrix product, timed between inferences: how fast the core is while they run."""

    def __init__(self):
        generator = np.random.RandomState(SEED)
        self._matrix = generator.random_sample((YARDSTICK_SIDE, YARDSTICK_SIDE)).astype(np.float32)
        self._product = np.empty_like(self._matrix)
        self._due = 0.0
        self._samples = 0
        self._after, self._bursts = [], []

    def look(self):
        """Time a burst of products after this sample, if the last was long enough ago."""
        self._samples += 1
        opened = time.perf_counter()
        if opened < self._due:
            return
        self._multiply(1)  # the inference has taken its place in the cache
        wall, cpu = timed(lambda: self._multiply(YARDSTICK_PRODUCTS))
        self._bursts.append((min(wall, cpu) or wall) / YARDSTICK_PRODUCTS)  # some clocks count no time so short
        self._after.append(self._samples)
        closed = time.perf_counter()
        self._due = closed + max(YARDSTICK_SECONDS, (closed - opened) / YARDSTICK_SHARE)

    def reading(self):
        """Return what was multiplied with what, and the microseconds of one product in each burst."""
        side = YARDSTICK_SIDE
        kind = f"NumPy {np.__version__}, {side}×{side} float32 product"
        return {"kind": kind, "after": self._after, "bursts_us": [round(each, 4) for each in self._bursts]}

    def _multiply(self, times):
        for _ in range(times):
            np.dot(self._matrix, self._matrix, out=self._product)


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return None


def read_numbers(pattern):
    numbers = []
    for path in sorted(glob.glob(pattern)):
        text = read_text(path)
        if text and re.match(r"-?\d+$", text):
            numbers.append(int(text))
    return numbers


def temperature():
    """Return the hottest sensor in degrees Celsius, or None where the machine shows none."""
    readings = read_numbers("/sys/class/thermal/thermal_zone*/temp") or read_numbers(
        "/sys/class/hwmon/hwmon*/temp*_input"
    )
    return max(readings) / 1000 if readings else None


def frequency(cpus):
    """Return the fastest clock of `cpus` in MHz, or None where the machine shows none."""
    readings = []
    for cpu in cpus:
        readings += read_numbers(f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq")
    return max(readings) / 1000 if readings else None


def counted_joules():
    """Return (source, joules) of the machine's own energy counters, or None where none may be read."""
    packages = [
        folder
        for folder in glob.glob(DEVICES + "/powercap/*rapl:*")
        if (read_text(folder + "/name") or "").startswith("package")
    ]
    counters = {
        "rapl": [number for folder in packages for number in read_numbers(folder + "/energy_uj")],
        "hwmon": read_numbers(DEVICES + "/hwmon/hwmon*/energy*_input"),
    }
    for source, microjoules in counters.items():
        if microjoules:
            return source, sum(microjoules) / 1e6
    return None


def battery_watts():
    """Return what a battery gives now, or None where there is none, or where it is being charged."""
    for folder in glob.glob(DEVICES + "/power_supply/*"):
        microamperes = read_numbers(folder + "/current_now")
        microvolts = read_numbers(folder + "/voltage_now")
        if microamperes and microvolts and read_text(folder + "/status") == "Discharging":
            return abs(microamperes[0]) * microvolts[0] / 1e12
    return None


class EnergyMeter:
    """The whole machine's energy since this was made: counted, or a battery's power summed up over time."""

    def __init__(self):
        self._start = self._last = time.perf_counter()
        self._counted = counted_joules()
        self._watts = battery_watts() if self._counted is None else None
        self._joules = 0.0

    def look(self):
        """Read a battery again, if the last time was long enough ago."""
        if self._watts is not None and time.perf_counter() - self._last >= BATTERY_SECONDS:
            self._integrate()

    def reading(self):
        """Return source, joules and seconds; None where the machine shows no energy or a counter began anew."""
        if self._watts is not None:
            self._integrate()
        source, joules = "battery", self._joules if self._watts is not None else None
        if self._counted is not None:
            now, self._last = counted_joules(), time.perf_counter()
            source, joules = self._counted[0], None if now is None else now[1] - self._counted[1]
        if joules is None or joules < 0:
            return None
        return {"source": source, "joules": joules, "seconds": self._last - self._start}

    def _integrate(self):
        now, watts = time.perf_counter(), battery_watts()
        if watts is not None:
            self._joules += (self._watts + watts) / 2 * (now - self._last)
        self._watts, self._last = watts, now


def waited_microseconds():
    """Return for how long, since boot, some task of this machine waited for a core, or None."""
    match = re.search(r"some .*total=(\d+)", read_text("/proc/pressure/cpu") or "")
    return int(match.group(1)) if match else None


def resident_bytes(field):
    """Return VmRSS or VmHWM. Not `ru_maxrss`, which a child inherits from the process that started it."""
    match = re.search(field + r":\s+(\d+) kB", read_text("/proc/self/status") or "")
    return int(match.group(1)) * 1024 if match else None


def involuntary_switches():
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def conditions(cpus):
    """Return what can disturb a measurement, as it is now."""
    return {
        "clock": time.perf_counter(),
        "temperature": temperature(),
        "frequency": frequency(cpus),
        "switches": involuntary_switches(),
        "waited": waited_microseconds(),
    }


def grown(before, after):
    return None if before is None or after is None else after - before


def share(microseconds, seconds):
    """Return microseconds as a percentage of seconds; None for a time too short for the kernel's counter."""
    if microseconds is None or seconds < SHORTEST_PRESSURE_SECONDS:
        return None
    return round(min(100.0, microseconds / seconds / 1e4), 2)


def usable_cpus():
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def restrict_to(cpus):
    if not hasattr(os, "sched_setaffinity"):
        raise RunnerError("cpus", "this system cannot bind a process to cores")
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise RunnerError("cpus", str(error)) from error


def device():
    """Return what this machine is: model, CPU, cores, operating system, governor."""
    information = read_text("/proc/cpuinfo") or ""
    names = re.findall(r"^(?:model name|Hardware|Model)\s*:\s*(.+)$", information, re.MULTILINE)
    system = re.search(r'^PRETTY_NAME="?([^"\n]+)', read_text("/etc/os-release") or "", re.MULTILINE)
    governors = {read_text(path) for path in glob.glob("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")}
    return {
        "model": read_text("/proc/device-tree/model") or read_text("/sys/class/dmi/id/product_name"),
        "cpu": names[0].strip() if names else platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "os": system.group(1) if system else f"{platform.system()} {platform.release()}",
        "kernel": platform.release(),
        "governor": ", ".join(sorted(each for each in governors if each)) or None,
    }


def emulated():
    """Return whether qemu-user runs this code; it hides itself everywhere but in the process's short name."""
    return (read_text("/proc/self/comm") or "").startswith("qemu-")


def run(arguments):
    """Return the document that describes one measurement."""
    if arguments.cpus:
        restrict_to(arguments.cpus)
    cpus = usable_cpus()
    if arguments.threads > len(cpus):
        raise RunnerError("threads", f"{arguments.threads} threads on {len(cpus)} usable cores")
    interpreter_class, resolvers, version = import_runtime(arguments.runtime)
    baseline = resident_bytes("VmRSS")

    start = time.perf_counter_ns()
    interpreter = load(interpreter_class, resolvers, arguments.model, arguments.delegate, arguments.threads)
    init = (time.perf_counter_ns() - start) / 1000

    inputs = interpreter.get_input_details()
    outputs = interpreter.get_output_details()
    if arguments.input:
        with open(arguments.input, "rb") as file:
            content = file.read()
    else:
        content = random_input(inputs)
    set_inputs(interpreter, inputs, content)
    try:
        first, _ = timed(interpreter.invoke)
    except RuntimeError as error:
        raise RunnerError("model", str(error)) from error
    result = b"".join(np.ascontiguousarray(interpreter.get_tensor(each["index"])).tobytes() for each in outputs)
    with open(arguments.output, "wb") as file:
        file.write(result)
    if arguments.save_input:
        with open(arguments.save_input, "wb") as file:
            file.write(content)

    warmup_runs, steady = warm_up(interpreter.invoke, arguments.warmup)
    before = conditions(cpus)
    meter = EnergyMeter()
    # One core's speed says little of several, and that of an emulated processor nothing.
    yardstick = Yardstick() if arguments.threads == 1 and not emulated() else None
    watchers = [meter] if yardstick is None else [meter, yardstick]
    walls, cpu_times = measure(interpreter.invoke, arguments.runs, arguments.seconds, watchers)
    energy = meter.reading()
    after = conditions(cpus)

    document = {
        "runtime_version": version,
        "device": device(),
        "emulated": emulated(),
        "cpus": cpus,
        "inputs": [describe(each) for each in inputs],
        "outputs": [describe(each) for each in outputs],
        "init_us": init,
        "first_us": first,
        "warmup_runs": warmup_runs,
        "steady": steady,
        "samples_us": [round(each, 3) for each in walls],
        "cpu_us": [round(each, 3) for each in cpu_times],
        "baseline_rss_bytes": baseline,
        "peak_rss_bytes": resident_bytes("VmHWM"),
        "temperature": {"before": before["temperature"], "after": after["temperature"]},
        "frequency": {"before": before["frequency"], "after": after["frequency"]},
        "energy": energy,
        "involuntary_switches": grown(before["switches"], after["switches"]),
        "yardstick": None if yardstick is None else yardstick.reading(),
        "operators": None,
        "cpu_pressure": share(grown(before["waited"], after["waited"]), after["clock"] - before["clock"]),
    }
    types = {int(each["index"]): np.dtype(each["dtype"]).name for each in interpreter.get_tensor_details()}
    # Python's runtimes have no public call that shows which nodes a delegate took; this one has been in all since 2.5.
    document.update(delegation(interpreter._get_ops_details(), types))
    return document


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--runtime", required=True, choices=["litert", "tflite-runtime", "tensorflow"])
    parser.add_argument("--delegate", default="xnnpack", choices=["none", "xnnpack"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpus", type=int, nargs="+")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--warmup", type=int)
    parser.add_argument("--input", help="raw bytes of all inputs; default: fixed-seed noise")
    parser.add_argument("--save-input")
    parser.add_argument("--output", required=True, help="where the raw bytes of all outputs go")
    return parser.parse_args(words)


def main():
    if sys.argv[1:] == ["--describe"]:
        print(json.dumps({"device": device(), "emulated": emulated()}))
        return 0
    try:
        document = run(parse(sys.argv[1:]))
    except RunnerError as error:
        document = {"error": {"kind": error.kind, "message": str(error)}}
    # Runtimes write to stdout as they please, so the document starts a line of its own.
    print("\n" + json.dumps(document))
    return 1 if "error" in document else 0


if __name__ == "__main__":
    sys.exit(main())
