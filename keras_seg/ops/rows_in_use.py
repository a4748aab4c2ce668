"""Leading rows that hold all there is, so that padding behind them costs nothing where shapes may vary."""

from keras import ops

from keras_seg.ops.fast import native_form

# Counts are rounded up to this, so that kernels are prepared for a few sizes and not for each.
STEP = 8


def rows_in_use(counts, most):
    """How many leading rows of a padded axis are to be worked on.

    Args:
        counts: int32 (N,). Rows of each image that are no padding; they come first.
        most: int. The length of the axis.

    Returns:
        The largest count, rounded up to a multiple of 8, at least 1 and at most `most`: an int on PyTorch and
        a scalar tensor in TensorFlow, for slicing. `most` itself where shapes have to be known: on JAX and
        under XLA.
    """
    bound = native_form("slice_bound")
    if bound is None:
        return most
    return bound(ops.clip(-(-ops.max(counts) // STEP) * STEP, 1, most))


def with_padding(values, most):
    """Zeros behind the leading rows of axis 1, up to `most` of them.

    Args:
        values: tensor (N, R, ...), R at most `most`; the axes after R are known.
        most: int.

    Returns:
        Tensor (N, most, ...), of known shape but for N.
    """
    batch, rows = ops.shape(values)[:2]
    rest = tuple(values.shape[2:])
    if not (isinstance(rows, int) and rows == most):
        values = ops.concatenate([values, ops.zeros((batch, most - rows, *rest), values.dtype)], axis=1)
    return ops.reshape(values, (-1, most, *rest))
