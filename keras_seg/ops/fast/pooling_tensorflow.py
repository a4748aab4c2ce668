"""Pooling with indices and unpooling by TensorFlow's own kernels, for graphs that XLA does not compile."""

import tensorflow as tf


def max_pool_with_argmax(x, pool_size, strides, padding):
    """Windows of 2 x 2 by plain pools, together faster than the kernel with indices; others by that kernel.

    Args:
        x: (N, H, W, C).
        pool_size, strides: pairs of ints.
        padding: (0, 0) or (None, None), the latter for "same".
    """
    name = "SAME" if None in padding else "VALID"
    if pool_size != (2, 2) or strides != (2, 2):
        return _by_the_kernel(x, pool_size, strides, name)
    values = tf.nn.max_pool2d(x, 2, 2, name)
    # Of -inf alone, plain pooling makes the lowest finite number.
    return tf.cond(
        tf.reduce_min(values) > x.dtype.min,
        lambda: (values, _indices_of_pairs(tf.stop_gradient(x), tf.stop_gradient(values), name)),
        lambda: _by_the_kernel(x, pool_size, strides, name),
    )


def _by_the_kernel(x, pool_size, strides, name):
    values, indices = tf.nn.max_pool_with_argmax(x, pool_size, strides, name, output_dtype=tf.int64)
    return values, tf.cast(indices // tf.shape(x, tf.int64)[3], tf.int32)


def _indices_of_pairs(x, values, name):
    """Where the maxima of windows 2 x 2 lie, from the maxima of their upper row, left column and corner.

    Not found in the upper row, the maximum lies in the lower one, and then the left column has it only if its
    lower cell does. Each of these is a pool with a stride of 2, and so one pass of a fast kernel.
    """
    _, height, width, channels = tf.unstack(tf.shape(values))
    upper, left, corner = (
        tf.nn.max_pool2d(x, part, 2, name)[:, :height, :width] for part in ((1, 2), (2, 1), (1, 1))
    )
    is_lower = tf.not_equal(upper, values)
    is_right = tf.where(is_lower, tf.not_equal(left, values), tf.not_equal(corner, values))
    row = tf.shape(x)[2]
    first = 2 * (tf.range(height)[:, None] * row + tf.range(width))
    # Repeated over the channels: adding to an inner axis of one is slow.
    first = tf.repeat(first[:, :, None], channels, axis=2)
    indices = first + tf.cast(is_lower, tf.int32) * row + tf.cast(is_right, tf.int32)
    return tf.ensure_shape(indices, values.shape)


def max_unpool(values, indices, pool_size, strides, padding, output_size):
    """One scatter, in order, so that the last claimant of a place stays; any index is right.

    An index outside the output makes the kernel raise an error.
    """

    @tf.custom_gradient
    def unpool(values):
        return place(values, indices, output_size), lambda upstream: fetch(upstream, indices)

    return unpool(values)


def place(values, indices, output_size):
    """`max_unpool` without a gradient.

    Args:
        values: (N, h, w, C).
        indices: int32 of the same shape.
        output_size: pair of ints or scalar tensors.
    """
    images, _, _, channels = tf.unstack(tf.shape(values, tf.int64))
    places = tf.cast(output_size[0], tf.int64) * tf.cast(output_size[1], tf.int64)
    # A place outside one image may be one of the next, which the kernel would not mind: where there is any,
    # the kernel is told that no place is right. Seen as unsigned, negative numbers are the largest.
    largest = tf.cast(tf.reduce_max(tf.bitcast(indices, tf.uint32)), tf.int64)
    total = tf.where(largest < places, images * places * channels, 0)
    unpooled = _scatter(values, _flat(indices, output_size), total)
    unpooled = tf.reshape(unpooled, (images, *output_size, channels))
    sides = [length if isinstance(length, int) else None for length in output_size]
    return tf.ensure_shape(unpooled, [values.shape[0], *sides, values.shape[3]])


def fetch(upstream, indices):
    """The gradient of `place`: what lies at each index, 0 where a later claimant lies.

    Args:
        upstream: (N, H, W, C).
        indices: int32 (N, h, w, C), each within the upstream's map.
    """
    size = [
        known or tf.shape(upstream)[axis] for axis, known in zip((1, 2), upstream.shape[1:3], strict=True)
    ]
    flat = _flat(indices, size)
    claimant = tf.range(tf.size(flat))
    stays = tf.equal(tf.gather(_scatter(claimant, flat, tf.size(upstream)), flat), claimant)
    fetched = tf.gather(tf.reshape(upstream, (-1,)), flat)
    fetched = tf.where(stays, fetched, tf.zeros((), fetched.dtype))
    return tf.ensure_shape(tf.reshape(fetched, tf.shape(indices)), indices.shape)


def _flat(indices, output_size):
    """Places in the whole batch, all channels counted: (N * h * w * C,), int32 where that is sure to do."""
    known = None not in indices.shape and all(isinstance(length, int) for length in output_size)
    small = known and indices.shape[0] * indices.shape[3] * output_size[0] * output_size[1] < 2**31
    dtype = tf.int32 if small else tf.int64
    images, _, _, channels = tf.unstack(tf.shape(indices, dtype))
    step = tf.cast(output_size[0], dtype) * tf.cast(output_size[1], dtype) * channels
    flat = tf.reshape(tf.cast(indices, dtype), (-1, channels)) * channels
    flat = tf.reshape(flat + tf.range(channels), (images, -1))
    return tf.reshape(flat + tf.range(images)[:, None] * step, (-1,))


def _scatter(numbers, flat, total):
    return tf.raw_ops.SparseToDense(
        sparse_indices=flat,
        output_shape=[tf.cast(total, flat.dtype)],
        sparse_values=tf.reshape(numbers, (-1,)),
        default_value=tf.zeros((), numbers.dtype),
        validate_indices=False,
    )
