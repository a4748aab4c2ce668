"""The portable forms of pooling with indices and unpooling as single loops, within a graph that XLA leaves.

Run op by op, the portable forms read and write a map for every cell of the window. Here their ops are marked
for TensorFlow's clustering, which compiles them by XLA, each group to one or two passes over memory. The mark
is a hint: the ops stay stock ops, and a TensorFlow without XLA, as a server may be, runs them one by one.
The first call of a shape compiles, a few tenths of a second.
"""

import tensorflow as tf

from keras_seg.ops.fast import pooling_tensorflow
from keras_seg.ops.pooled_maxima import largest_cells
from keras_seg.ops.unpooled_places import add_by_window, fetch_by_window, in_own_windows, place_by_window


def max_pool_with_argmax(x, pool_size, strides, padding):
    """The portable form's values and indices.

    Args:
        x: (N, H, W, C), of known H and W.
        pool_size, strides, padding: pairs, as of `check_windows`.
    """
    windows, size = (pool_size, strides, padding), x.shape[1:3]

    @tf.custom_gradient
    def pool(x):
        def gradient(upstream, _):
            return _one_loop(add_by_window, upstream, indices, *windows, size)

        if x.dtype == tf.float32:  # as wide as the indices
            bits, indices = tf.unstack(_one_loop(_bits_and_indices, x, *windows))
            values = tf.bitcast(bits, x.dtype)
        else:
            values, indices = _one_loop(largest_cells, x, *windows)
        return (values, indices), gradient

    return pool(x)


def max_unpool(values, indices, pool_size, strides, padding, output_size):
    """One loop where each index lies in its own window, else the kernel's scatter.

    Args:
        values: (N, h, w, C), of known h and w.
        indices: int32 of the same shape.
        pool_size, strides, padding: pairs, as of `check_windows`.
        output_size: pair of ints.
    """
    windows = (pool_size, strides, padding, output_size)

    @tf.custom_gradient
    def unpool(values):
        # A persistent tape would at once build the gradient of both branches.
        fixed = tf.stop_gradient(values)
        own, placed = _one_loop(_own_and_placed, fixed, indices, windows)
        own = tf.reduce_all(own)

        def gradient(upstream):
            return tf.cond(
                own,
                lambda: _one_loop(fetch_by_window, upstream, indices, *windows),
                lambda: pooling_tensorflow.fetch(upstream, indices),
            )

        unpooled = tf.cond(own, lambda: placed, lambda: pooling_tensorflow.place(fixed, indices, output_size))
        return unpooled, gradient

    return unpool(values)


def _one_loop(function, *arguments):
    with tf.xla.experimental.jit_scope():
        return function(*arguments)


def _bits_and_indices(x, *windows):
    """`largest_cells` as the halves of one array of int32, which TensorFlow takes apart without a copy.

    Of two results XLA makes two loops, each of which reads the map, the second when the caches have lost it.
    The halves of one are shared out to the threads, which read the same cells at nearly the same time.
    """
    values, indices = largest_cells(x, *windows)
    in_first = tf.reshape(tf.constant([-1, 0]), (2, 1, 1, 1, 1))  # all bits, none
    return (tf.bitcast(values, tf.int32) & in_first) | (indices & ~in_first)


def _own_and_placed(values, indices, windows):
    """For each row of windows whether its indices lie in their own, and what lies where if all do.

    Both at once, so that neither waits for the other; and from rows to one answer is the caller's step,
    because XLA reduces to a single number in a single thread.
    """
    own = tf.reduce_all(in_own_windows(indices, *windows), axis=2)
    return own, place_by_window(values, indices, *windows)
