"""RoIAlign's sparse matrix on TensorFlow: products of a compressed-row matrix, on all cores.

`tf.image.crop_and_resize` would be faster still in the forward, but TensorFlow's gradient of it is wrong on
CPUs with more than one core: its threads add to the same pixels without a lock, and additions get lost.
"""

import functools

import tensorflow as tf

# Channels at a time of a table that has to be made wide first: a wide copy of all of it is twice its size.
CHANNELS = 64


def bag_sums(table, bags):
    """Weighted sum of table rows for each bag, in float32 or, for a table of that, in float64.

    Args:
        table: tensor (T, C), floating point, of known C.
        bags: `ops.roi_bags.Bags`, R of them.

    Returns:
        Tensor (R, C), the table's dtype.
    """
    rows, channels = tf.unstack(tf.shape(table))
    wide = table.dtype in (tf.float32, tf.float64)

    def product():
        matrix = _matrix(bags, rows, table.dtype if wide else tf.float32)
        if wide:
            return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=table)
        parts = []
        for first in range(0, table.shape[1], CHANNELS):
            # One after the other: the executor would widen all parts at the start.
            with tf.control_dependencies(parts[-1:]):
                part = tf.cast(table[:, first : first + CHANNELS], tf.float32)
            parts.append(tf.cast(tf.raw_ops.SparseMatrixMatMul(a=matrix, b=part), table.dtype))
        return tf.concat(parts, axis=1)

    return _unless_empty(bags, product, [tf.size(bags.starts), channels], table.dtype)


def bag_sums_gradient(upstream, bags, rows):
    """What the gradient of `bag_sums` adds to each table row.

    Args:
        upstream: tensor (R, C).
        bags: as in `bag_sums`.
        rows: int or scalar tensor. T.

    Returns:
        Tensor (T, C).
    """
    dtype = upstream.dtype

    def product():
        # Transposed first, so that each thread owns rows of the result; `transpose_a=True` is slower.
        matrix = tf.raw_ops.SparseMatrixTranspose(input=_matrix(bags, rows, dtype), type=dtype)
        return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=upstream)

    return _unless_empty(bags, product, [rows, tf.shape(upstream)[1]], dtype)


def add_rows(table, index, rows):
    """The table with rows added at the indices; equal indices add up."""
    return tf.tensor_scatter_nd_add(table, index[:, None], rows)


def compiled(function):
    """A function compiled by XLA, once for each shape of its tensors: a loop of many small ops as one.

    Outside a graph by an order, in one by a mark that is a hint: whoever saves the graph gets stock ops,
    which a server without XLA runs one by one. The function must stay in one piece until the marks are read,
    hence not inlined, and must hold no lists of tensors, which are not taken then.
    """
    if not tf.inside_function():
        return _ordered(function)
    whole = tf.function(function, autograph=False, experimental_attributes={"_noinline": True})

    def marked(*arguments):
        with tf.xla.experimental.jit_scope():
            return whole(*arguments)

    return marked


@functools.cache
def _ordered(function):
    return tf.function(function, autograph=False, jit_compile=True)


def _unless_empty(bags, product, shape, dtype):
    """The product, or zeros where there is no entry: the kernel kills the process for an empty matrix."""
    return tf.cond(tf.size(bags.sources) > 0, product, lambda: tf.zeros(shape, dtype))


def _matrix(bags, rows, dtype):
    indices = tf.stack([tf.cast(bags.targets, tf.int64), tf.cast(bags.sources, tf.int64)], axis=1)
    shape = tf.cast(tf.stack([tf.shape(bags.starts)[0], rows]), tf.int64)
    return tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=indices, values=tf.cast(bags.weights, dtype), dense_shape=shape
    )
