"""Times of several things in one run, taken in turn, so that a noisy machine is noisy for all of them."""

import json
import platform
import statistics
import time
from pathlib import Path

from keras_seg.utils.atomic import atomic_file

# Dtype policy of each precision that is timed.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def interleaved_medians(functions, repeats, warmup=2):
    """Median seconds of each function.

    Args:
        functions: dict of str to a function without arguments that returns when its work is done.
        repeats: int. Timed rounds; in each, every function runs once.
        warmup: int. Untimed rounds before.

    Returns:
        dict of str to float.
    """
    for _ in range(warmup):
        for function in functions.values():
            function()
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def write_results(path, results):
    """Write measurements, with the machine that they were made on, as JSON."""
    machine = {
        "processor": processor_name(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    with atomic_file(path) as temporary:
        Path(temporary).write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


def processor_name():
    """The processor's own name for itself, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
