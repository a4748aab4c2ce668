"""Where the current backend computes: loops that suit a core's cache are slow where each turn is a launch."""

import keras

from keras_seg.ops.fast.dispatch import exporting


def on_accelerator():
    """Whether what is traced now will run on a GPU or TPU; False for what is to run in another process.

    On an H100 a turn of a compiled loop takes some 9 microseconds, whatever little it does: RoIAlign's
    gradient took 9.3 ms for 1000 boxes by sixteens (`benchmarks.ops`).
    """
    return not exporting() and has_accelerator()


def has_accelerator():
    """Whether this process has a GPU or TPU, where its tensors lie by default."""
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
