"""One process of `benchmarks.ops`: it builds, checks, times or measures an op when it is asked to.

    python -m benchmarks.op_worker tensorflow|jax|torch|peer|(peer torch)

Keras has one backend per process, and two of them in one process disturb each other's threads. So each
backend is a process of its own that stays up, and the parent asks one of them at a time: requests and replies
are lines of JSON on standard input and output. PyTorch's own ops, the peer, share the process of the torch
backend: between two processes the same kernel may differ by a tenth.
"""

import contextlib
import gc
import json
import os
import sys
import time

import numpy as np

from benchmarks.op_cases import (
    BACKWARD,
    CASES,
    FORWARD,
    ITEM_SIZES,
    MEMORY_CASE,
    agrees,
    arrays_of,
    least_bytes,
)
from benchmarks.op_turns import repeated, seconds, turns

MODES = {"tensorflow": ("graph", "xla"), "jax": ("jit",), "torch": ("eager",)}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


class KerasOps:
    """Builds compiled functions of `keras_seg.ops` on the backend of this process."""

    def __init__(self):
        import keras

        from keras_seg import ops

        self.keras, self.ops, self.backend = keras, ops, keras.backend.backend()
        build = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[self.backend]
        self._compile, self._facts = build()

    def describe(self):
        return {"packages": f"keras {self.keras.__version__}, {self._facts['package']}", **self._facts}

    def function(self, name, case, arrays, work, dtype="float32", mode=None, form="default"):
        """A function that runs the op and waits for it, and None for layouts: it has one, channels last.

        The function is of how often to run it, and returns the outputs and the gradients to the features,
        both as sequences.
        """
        tensors = {
            key: self._tensor(array, dtype if key in (*case.features, "upstream") else None)
            for key, array in arrays.items()
        }
        if case.own:
            tensors |= case.own(self.ops, **{key: x for key, x in tensors.items() if key != "upstream"})

        def call(**inputs):
            outputs = case.call(self.ops, **inputs)
            return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)

        compiled = self._compile(call, tensors, case.features, work, mode)

        def in_form(times=1):
            with self.ops.portable(form == "portable"):  # around the gradient's trace too, which chooses anew
                return compiled(times)

        return in_form, None

    def arrays(self, outputs):
        """Results as NumPy arrays, floats as float32."""
        return [self._array(x) for x in outputs]

    def _array(self, x):
        if "float" in self.keras.backend.standardize_dtype(x.dtype):
            x = self.keras.ops.cast(x, "float32")
        return self.keras.ops.convert_to_numpy(x)

    def _tensor(self, array, dtype):
        tensor = self.keras.ops.convert_to_tensor(array)
        return self.keras.ops.cast(tensor, dtype) if dtype else tensor


def _tensorflow():
    import tensorflow as tf

    def compiled(call, tensors, features, work, mode):
        inputs = {key: value for key, value in tensors.items() if key != "upstream"}

        def run(inputs, upstream):
            if work != BACKWARD:
                return call(**inputs), ()
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                watched = [inputs[name] for name in features]
                tape.watch(watched)
                outputs = call(**inputs)
            return outputs, tape.gradient(outputs[0], watched, tf.cast(upstream, outputs[0].dtype))

        # Inputs are arguments: an op of captured constants would be computed once, by the graph optimizer.
        graph = tf.function(run, jit_compile=mode == "xla", autograph=False)

        def wait(result):
            if accelerators:  # on the CPU a call returns when its results are there
                tf.test.experimental.sync_devices()

        return repeated(lambda: graph(inputs, tensors.get("upstream")), wait, bool(accelerators))

    accelerators = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
    return compiled, {
        "package": f"tensorflow {tf.__version__}",
        "device": accelerators[0] if accelerators else "cpu",
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or _cores(),
    }


def _jax():
    import jax

    def compiled(call, tensors, features, work, mode):
        inputs = {key: value for key, value in tensors.items() if key != "upstream"}

        @jax.jit
        def run(inputs, upstream):
            if work != BACKWARD:
                return call(**inputs), ()

            def of_features(*values):
                outputs = call(**{**inputs, **dict(zip(features, values, strict=True))})
                return outputs[0], outputs

            watched = [inputs[name] for name in features]
            _, pull_back, outputs = jax.vjp(of_features, *watched, has_aux=True)
            return outputs, pull_back(upstream.astype(outputs[0].dtype))

        queued = device.platform != "cpu"
        return repeated(lambda: run(inputs, tensors.get("upstream")), jax.block_until_ready, queued)

    device = jax.devices()[0]
    return compiled, {
        "package": f"jax {jax.__version__}",
        "device": "cpu" if device.platform == "cpu" else device.device_kind,
        "threads": _cores(),
    }


def _torch():
    import torch

    from benchmarks.torch_device import DEVICE, device_name, wait

    def compiled(call, tensors, features, work, mode):
        inputs = {key: value for key, value in tensors.items() if key != "upstream"}
        watched = [inputs[name].requires_grad_(work == BACKWARD) for name in features]

        def run():
            if work == BACKWARD:
                outputs = call(**inputs)
                upstream = tensors["upstream"].to(outputs[0].dtype)
                return outputs, torch.autograd.grad(outputs[0], watched, upstream)
            with torch.no_grad():
                return call(**inputs), ()

        return repeated(run, lambda result: wait(), DEVICE == "cuda")

    return compiled, {
        "package": f"torch {torch.__version__}",
        "device": device_name(),
        "threads": torch.get_num_threads(),
    }


class Worker:
    """Answers requests. Each method named like a request takes its fields and returns the reply."""

    def __init__(self, engine):
        self.engine = engine
        self.cells = {}

    def describe(self):
        return self.engine.describe()

    def answer(self, op, dtype, work, quick, path):
        """Write what the op gives in float32, for the other workers to check themselves against."""
        case = CASES[op]
        function, _ = self.engine.function(op, case, arrays_of(case, dtype, quick), work)
        outputs, gradients = function()
        with open(path, "wb") as file:
            results = {"outputs": self.engine.arrays(outputs), "gradients": self.engine.arrays(gradients)}
            named = {f"{key}{i}": value for key, values in results.items() for i, value in enumerate(values)}
            np.savez(file, **named)
        return {}

    def prepare(self, cell, op, dtype, work, quick, mode=None, form=None, expected=None):
        """Build and run an op, compare it with what is expected, and keep it for `turn`."""
        case = CASES[op]
        arrays = arrays_of(case, dtype, quick)
        started = time.perf_counter()
        function, layouts = self.engine.function(op, case, arrays, work, dtype, mode=mode, form=form)
        outputs, gradients = function()
        reply = {"layout_seconds": layouts, "first_call_seconds": time.perf_counter() - started}
        results = self.engine.arrays(outputs), self.engine.arrays(gradients)
        reply["bytes"] = least_bytes(case, work, arrays, *results, dtype)
        if expected:
            reply["agrees"], reply["error"] = agrees(case, sum(results, []), _read(expected), dtype)
        del outputs, gradients
        self.cells[cell] = function, seconds(function)
        return reply

    def turn(self, cell, clock="wall"):
        """Seconds of one call, the mean of a few where calls are short.

        The clock "processor" counts those of all threads of this process.
        """
        function, expected = self.cells[cell]
        calls = turns(expected)
        if calls > 1:
            function()  # after the others' work nothing of this one's is in the caches
        return {"seconds": seconds(function, calls, CLOCKS[clock])}

    def forget(self):
        self.cells.clear()
        gc.collect()
        return {}

    def copy_rate(self):
        return {"bytes_per_second": self.engine.copy_bytes_per_second()}

    def memory(self, quick, dtype="float32", mode=None, form=None):
        """Peak bytes of the first call, compilation included, beyond what the process held with its inputs.

        The first call, because some allocators keep what it freed, which hides the needs of the next. A small
        call before it loads the libraries.
        """
        settings = {"work": FORWARD, "dtype": dtype, "mode": mode, "form": form}
        small, arrays = (arrays_of(MEMORY_CASE, dtype, size) for size in (True, quick))
        self.engine.function("roi_align", MEMORY_CASE, small, **settings)[0]()
        function, _ = self.engine.function("roi_align", MEMORY_CASE, arrays, **settings)
        gc.collect()
        held = _restart_peak()
        outputs, _ = function()
        peak = _status("VmHWM") - held
        numbers = sum(x.size for x in self.engine.arrays(outputs))
        return {"output_bytes": ITEM_SIZES[dtype] * numbers, "peak_bytes": peak}


def _read(path):
    """The arrays of `answer`, outputs before gradients."""
    with np.load(path) as file:
        return [file[key] for prefix in ("outputs", "gradients") for key in file if key.startswith(prefix)]


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _restart_peak():
    """Make the kernel's high-water mark of this process start from now, and return what is held now."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def _status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def _replies():
    """Standard output for replies alone; what libraries print there goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return replies


def _engine(name):
    if name != "peer":
        return KerasOps()
    from benchmarks.torch_ops import TorchOps

    return TorchOps()


def main():
    replies = _replies()
    try:
        workers = {name: Worker(_engine(name)) for name in sys.argv[1:]}
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=replies, flush=True)
        return
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            worker = workers[request.pop("of")]
            reply = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # an op's error is its result: the next one is still to be timed
            message = " ".join(str(error).split())[:300]
            reply = {"failed": f"{type(error).__name__}: {message}"}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
