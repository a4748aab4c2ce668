"""Bilinear resizing of maps, with half-pixel centres, to sizes that a graph may only know when it runs."""

from keras import ops

from keras_seg.ops.fast.dispatch import native_form


def resize_bilinear(x, size):
    """Resize maps bilinearly; beyond the outermost pixel centres the edge goes on.

    `keras.ops.image.resize` compares the size with 0, which a TensorFlow graph for images of any size, such
    as an export, cannot answer; there TensorFlow's own function is called.

    Args:
        x: float tensor (N, H, W, C).
        size: (height, width), pixels: ints, or scalar tensors.

    Returns:
        Tensor (N, height, width, C), of the dtype of `x`.
    """
    known = all(isinstance(side, int) for side in size)
    native = native_form("resize_bilinear", known=known)
    if native is not None:
        return native(x, size)
    if known:
        return ops.image.resize(x, tuple(size), interpolation="bilinear", data_format="channels_last")
    return _by_products(x, size)


def _by_products(x, size):
    """One matrix product per axis: H and then W multiplications a number, where bilinear weights need two."""
    batch, height, width, channels = ops.shape(x)
    rows, columns = _weights(height, size[0], x.dtype), _weights(width, size[1], x.dtype)
    x = ops.matmul(rows, ops.reshape(x, (batch, height, width * channels)))
    x = ops.matmul(columns, ops.reshape(x, (-1, width, channels)))
    return ops.reshape(x, (batch, size[0], size[1], channels))


def _weights(old, new, dtype):
    """Matrix (new, old) of the share that each old pixel has in each new one."""
    step = ops.cast(old, "float32") / ops.cast(new, "float32")
    positions = (ops.cast(ops.arange(new), "float32") + 0.5) * step - 0.5
    positions = ops.clip(positions, 0, ops.cast(old - 1, "float32"))
    distances = ops.abs(positions[:, None] - ops.cast(ops.arange(old), "float32"))
    return ops.cast(ops.relu(1 - distances), dtype)
