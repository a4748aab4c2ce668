"""Where the current backend computes: loops that suit a core's cache are slow where each turn is a launch."""

import keras

from keras_seg.ops.fast.dispatch import exporting


def on_accelerator():
    """Whether tensors lie on a GPU or TPU by default; False for what is traced to run in another process.

    On an H100 a turn of a compiled loop takes some 9 microseconds, whatever little it does: RoIAlign's
    gradient took 9.3 ms for 1000 boxes by sixteens (`benchmarks.ops`).
    """
    if exporting():
        return False
    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()]()


def _tensorflow():
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))


def _jax():
    import jax

    return jax.default_backend() != "cpu"


def _torch():
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
