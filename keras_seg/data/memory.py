"""A memory of decoded items with a limit in bytes: an epoch after the first reads no file."""

import os
import threading

_MAX_BYTES = 4 * 2**30


class Memory:
    """Keep results by key until the limit is reached; later ones are made again each time.

    Nothing is put out again: in an epoch every item is used once, so putting out the oldest would lose each
    one just before its use.

    Args:
        max_bytes: int. 0 keeps nothing.
    """

    def __init__(self, max_bytes):
        self._free = max_bytes
        self._kept = {}
        self._lock = threading.Lock()

    def get(self, key, make):
        """The kept result, or that of `make()`: a tuple of arrays. Safe to call from many threads."""
        arrays = self._kept.get(key)
        if arrays is None:
            arrays = make()
            size = sum(array.nbytes for array in arrays)
            with self._lock:
                if key not in self._kept and size <= self._free:
                    self._free -= size
                    self._kept[key] = arrays
        return arrays


def default_limit():
    """4 GiB, or a quarter of the machine's memory where that is less."""
    try:
        return min(_MAX_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
    except (AttributeError, OSError, ValueError):
        return _MAX_BYTES
