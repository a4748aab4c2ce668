"""The parent's end of a worker process: start it, ask it, and say what happened when it dies."""

import json
import os
import subprocess
import sys
import tempfile


class WorkerProcess:
    """A running `benchmarks.op_worker`, to be used as a context manager.

    Args:
        *names: str. What it runs: "tensorflow", "jax", "torch", "peer"; the last two go together.
        environment: dict of str to str, added to that of this process.

    Raises:
        ModuleNotFoundError: on entering, where the worker's packages are not installed.
    """

    def __init__(self, *names, environment=None):
        self.names = names
        self._environment = {
            **os.environ,
            "KERAS_BACKEND": "torch" if "peer" in names else names[0],
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # Several processes share one accelerator: none may take all of its memory.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            **(environment or {}),
        }
        self._environment.pop("KERAS_SEG_PORTABLE", None)  # the default forms are to be the default ones

    def __enter__(self):
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.op_worker", *self.names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=self._environment,
        )
        started = self._reply()
        if "missing" in started:
            self.__exit__()
            raise ModuleNotFoundError(started["missing"])
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def ask(self, name, what, **fields):
        """Send a request to one of its names and wait for the reply: {"failed": why} of an op's error."""
        try:
            self._process.stdin.write(json.dumps({"of": name, "do": what, **fields}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # `_reply` tells why
        return self._reply()

    def _reply(self):
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._log.seek(0)
        last = "".join(self._log.readlines()[-15:])
        status = self._process.wait()
        raise RuntimeError(f"worker {self.names} ended with status {status}. Its last words:\n{last}")
