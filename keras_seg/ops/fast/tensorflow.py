"""Native forms of the ops on TensorFlow, where they beat the portable ones."""

import math
import os

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from keras_seg.ops.fast import (
    float32_tensorflow,
    frozen_tensorflow,
    fused_pooling_tensorflow,
    normalization_tensorflow,
    parts_tensorflow,
    pooling_tensorflow,
    roi_tensorflow,
    suppression_tensorflow,
    updates_tensorflow,
    winograd_tensorflow,
)
from keras_seg.ops.fast.devices import has_accelerator
from keras_seg.ops.fast.dispatch import Native, exporting
from keras_seg.ops.fast.processor import multiplies_bfloat16_faster

_LARGEST_FROZEN = 1.5e9
# TensorFlow's passes over a graph copy its constants: DeconvNet's 1 GB took 20 GB, once and for some seconds.
_COPIES_OF_FROZEN = 20
_MOST_CELLS = 16  # of a window, one comparison each
# C D / (C + D) for C channels in and D out, from where Winograd's products outweigh its transforms: 200 and
# 200, see `benchmarks.winograd`. With half as many float32 loses and bfloat16 gains an eighth.
_LEAST_PRODUCTS = 100
# Products to a number read or written, from where float32's gain outweighs its copies: 1x1 convolutions of a
# map of 64 x 64 take 0.65 to 0.8 of their time with 170, of 128 x 128 and four times the copies 0.8 with 127.
_LEAST_PRODUCTS_IN_FLOAT32 = 150
_LEAST_POSITIONS = 196  # 14 x 14: of fewer, starting the kernels takes longer than the convolution


def under_xla():
    """Whether what is traced now will be compiled by XLA, which lacks some of TensorFlow's kernels."""
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def _bags_serve(sampling_ratio, channels):
    """Where RoIAlign's sparse matrix wins: on CPUs, its entries not many more than the output's numbers."""
    if under_xla() or has_accelerator():
        return False
    return sampling_ratio == -1 or (sampling_ratio <= 3 and channels >= 16)


def _max_pool_with_argmax(x, *windows):
    form = fused_pooling_tensorflow if _fuses(windows[0], x.shape[1:3]) else pooling_tensorflow
    return form.max_pool_with_argmax(x, *windows)


def _max_unpool(values, indices, *windows):
    form = fused_pooling_tensorflow if _fuses(windows[0], windows[3]) else pooling_tensorflow
    return form.max_unpool(values, indices, *windows)


def _fuses(pool_size, size):
    """Where pools become single loops: in graphs that are traced for one size, to run on a CPU.

    Not in those to be served elsewhere; nor at each size of a graph for many, nor eagerly: every new shape
    has to be compiled. And not for windows of so many cells that the loop's body grows long.
    """
    known = all(isinstance(length, int) for length in size) and pool_size[0] * pool_size[1] <= _MOST_CELLS
    return known and _runs_here_in_parts()


def _pool_serves(windows, size):
    """Outside XLA, which is the faster; the kernels do not pad by a number of cells."""
    return not under_xla() and (windows[2] in ((0, 0), (None, None)) or _fuses(windows[0], size))


def _unpool_serves(windows):
    """Outside XLA, which is the faster, and on CPUs, where alone the scatter runs in order."""
    return not under_xla() and not has_accelerator()


def _winograd_serves(shape, units, dtype):
    """Where Winograd's products are faster than a convolution: wide ones, in graphs of one size on CPUs."""
    _, height, width, channels = shape
    if None in (height, width) or height * width < _LEAST_POSITIONS or dtype not in ("float32", "bfloat16"):
        return False
    if channels * units < _LEAST_PRODUCTS * (channels + units):
        return False
    return _runs_here_in_parts()


def _float32_serves(dtype, inputs, kernel, outputs):
    """Whether a bfloat16 convolution is so wide that float32's products are faster, on this processor."""
    if dtype != "bfloat16" or not _runs_here_in_parts() or multiplies_bfloat16_faster():
        return False
    if None in (*inputs[1:], *outputs[1:]):
        return False
    *positions, units = (side or 1 for side in outputs)
    weights = math.prod(kernel)
    numbers = math.prod(side or 1 for side in inputs) + weights + math.prod(positions) * units
    return math.prod(positions) * weights > _LEAST_PRODUCTS_IN_FLOAT32 * numbers


def _compiling_serves():
    """Outside XLA, and not for another process, which may lack it."""
    return not under_xla() and not exporting()


def _runs_here_in_parts():
    """Whether a graph is traced that will run here, on a CPU, op by op or with parts compiled by a hint."""
    return tf.inside_function() and _compiling_serves() and not has_accelerator()


def _freezing_serves(num_bytes):
    """On CPUs, where kernels are laid out by oneDNN; a graph in one piece may have 2 GB, copies included."""
    fits = num_bytes < _LARGEST_FROZEN and _COPIES_OF_FROZEN * num_bytes < _memory() / 2
    return fits and not has_accelerator()


def _memory():
    """Bytes of the machine's memory; 8 GB where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 8e9


def _labels_below(labels, limit, name, expected, fix):
    message = f"`{name}` must be {expected}. {fix}"
    with tf.control_dependencies([tf.debugging.assert_less(labels, limit, message)]):
        return tf.identity(labels)


def _resize_bilinear(x, size):
    return tf.cast(tf.image.resize(x, size), x.dtype)


NATIVE = {
    "add_rows": Native(roi_tensorflow.add_rows, under_xla),  # elsewhere the kernel may copy the table
    "batch_normalization": Native(normalization_tensorflow.batch_normalization, lambda: not under_xla()),
    "bag_sums": Native(roi_tensorflow.bag_sums, _bags_serve),
    "bag_sums_gradient": Native(roi_tensorflow.bag_sums_gradient, _bags_serve),
    "compiled": Native(roi_tensorflow.compiled, _compiling_serves),
    "compiled_taps": Native(roi_tensorflow.compiled, lambda known: known and _runs_here_in_parts()),
    "conv_3x3": Native(winograd_tensorflow.conv_3x3, _winograd_serves),
    "frozen_batch_normalization": Native(
        normalization_tensorflow.frozen_batch_normalization, lambda: not under_xla()
    ),
    "frozen_function": Native(frozen_tensorflow.frozen_function, _freezing_serves),
    "gather": Native(lambda values, rows, batch_axes: tf.gather(values, rows, batch_dims=batch_axes)),
    "in_float32": Native(float32_tensorflow.in_float32, _float32_serves),
    "in_parts": Native(parts_tensorflow.in_parts, _runs_here_in_parts),
    "labels_below": Native(_labels_below, lambda: not under_xla()),
    "matmul_in_float32": Native(float32_tensorflow.matmul_in_float32, _float32_serves),
    "max_pool_with_argmax": Native(_max_pool_with_argmax, _pool_serves),
    "max_unpool": Native(_max_unpool, _unpool_serves),
    "nms": Native(suppression_tensorflow.kept_by_pairs, lambda: not under_xla()),
    "resize_bilinear": Native(_resize_bilinear, lambda known: not known),
    "slice_bound": Native(tf.identity, lambda: not under_xla()),
    "used_together": Native(
        updates_tensorflow.used_together, lambda: tf.inside_function() and not under_xla()
    ),
}
