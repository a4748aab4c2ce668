"""Native forms of the ops on TensorFlow, where they beat the portable ones."""

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from keras_seg.ops.fast import (
    frozen_tensorflow,
    normalization_tensorflow,
    pooling_tensorflow,
    roi_tensorflow,
    suppression_tensorflow,
)
from keras_seg.ops.fast.dispatch import Native

_LARGEST_FROZEN = 1.5e9


def under_xla():
    """Whether what is traced now will be compiled by XLA, which lacks some of TensorFlow's kernels."""
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def _bags_serve(sampling_ratio, channels):
    """Where RoIAlign's sparse matrix wins: on CPUs, its entries not many more than the output's numbers."""
    if under_xla() or tf.config.list_physical_devices("GPU"):
        return False
    return sampling_ratio == -1 or (sampling_ratio <= 3 and channels >= 16)


def _pool_serves(windows, size):
    """Where TensorFlow's pools are to be used: they do not pad by a number of cells, and XLA is faster."""
    return not under_xla() and windows[2] in ((0, 0), (None, None))


def _unpool_serves(windows):
    """Where the scatter is to be used: it runs in order on CPUs alone, and XLA is faster."""
    return not under_xla() and not tf.config.list_physical_devices("GPU")


def _freezing_serves(num_bytes):
    """On CPUs, where kernels are laid out by oneDNN; a graph in one piece may have 2 GB, copies included."""
    return num_bytes < _LARGEST_FROZEN and not tf.config.list_physical_devices("GPU")


def _resize_bilinear(x, size):
    return tf.cast(tf.image.resize(x, size), x.dtype)


NATIVE = {
    "add_rows": Native(roi_tensorflow.add_rows, under_xla),  # elsewhere the kernel may copy the table
    "batch_normalization": Native(normalization_tensorflow.batch_normalization, lambda: not under_xla()),
    "bag_sums": Native(roi_tensorflow.bag_sums, _bags_serve),
    "bag_sums_gradient": Native(roi_tensorflow.bag_sums_gradient, _bags_serve),
    "frozen_function": Native(frozen_tensorflow.frozen_function, _freezing_serves),
    "max_pool_with_argmax": Native(pooling_tensorflow.max_pool_with_argmax, _pool_serves),
    "max_unpool": Native(pooling_tensorflow.max_unpool, _unpool_serves),
    "nms": Native(suppression_tensorflow.kept_by_pairs, lambda: not under_xla()),
    "resize_bilinear": Native(_resize_bilinear, lambda known: not known),
}
