"""Python functions in a tf.data pipeline, which let the interpreter end while batches are being made."""

import atexit
import threading
import time

import tensorflow as tf

# At exit: calls have stopped when none has begun for the first; none is waited for longer than the second.
_QUIET_SECONDS = 0.1
_MOST_SECONDS = 30


class _Calls:
    """The calls that are under way, and the end of all of them.

    An iterator that lives until the interpreter is gone, such as a script's own or one in the traceback of
    Ctrl-C, waits there for calls that wait for the interpreter: the process would never end. So before the
    interpreter goes, every call is told that the data have ended, and the last one is waited for.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._running = 0
        self._last = 0.0
        self._ended = False

    def run(self, function, arrays):
        """The function's result, or an end of the data."""
        with self._lock:
            self._running += 1
            self._last = time.monotonic()
        try:
            if self._ended:
                raise StopIteration
            return function(*arrays)
        finally:
            with self._lock:
                self._running -= 1

    def end(self):
        """End the data, and return when no call is under way."""
        self._ended = True
        started = time.monotonic()
        while self._last and time.monotonic() - started < _MOST_SECONDS:
            if not self._running and time.monotonic() - max(self._last, started) > _QUIET_SECONDS:
                return
            time.sleep(_QUIET_SECONDS / 10)


_calls = _Calls()
atexit.register(_calls.end)


def call_python(function, inputs, dtypes):
    """`tf.numpy_function`, whose calls stop before the interpreter does.

    Args:
        function: callable of NumPy arrays to one or more of them.
        inputs: list of tensors.
        dtypes: list of str, of its results.

    Returns:
        list of tensors of unknown shapes.
    """
    return tf.numpy_function(lambda *arrays: _calls.run(function, arrays), inputs, dtypes)
