"""RoIAlign's sparse matrix on TensorFlow: products of a compressed-row matrix, on all cores.

`tf.image.crop_and_resize` would be faster still in the forward, but TensorFlow's gradient of it is wrong on
CPUs with more than one core: its threads add to the same pixels without a lock, and additions get lost.
"""

import functools

import tensorflow as tf


def bag_sums(table, bags):
    """Weighted sum of table rows for each bag.

    Args:
        table: tensor (T, C), float32 or float64.
        bags: `ops.roi_bags.Bags`, R of them.

    Returns:
        Tensor (R, C), the table's dtype.
    """
    rows, channels = tf.unstack(tf.shape(table))

    def product():
        return tf.raw_ops.SparseMatrixMatMul(a=_matrix(bags, rows, table.dtype), b=table)

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


@functools.cache
def compiled(function):
    """A function compiled by XLA, once for each shape of its tensors: a loop of many small ops as one."""
    return tf.function(function, jit_compile=True)


def _unless_empty(bags, product, shape, dtype):
    """The product, or zeros where there is no entry: the kernel kills the process for an empty matrix."""
    return tf.cond(tf.size(bags.sources) > 0, product, lambda: tf.zeros(shape, dtype))


def _matrix(bags, rows, dtype):
    indices = tf.stack([tf.cast(bags.targets, tf.int64), tf.cast(bags.sources, tf.int64)], axis=1)
    shape = tf.cast(tf.stack([tf.shape(bags.starts)[0], rows]), tf.int64)
    return tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=indices, values=tf.cast(bags.weights, dtype), dense_shape=shape
    )
