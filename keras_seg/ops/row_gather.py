"""Rows of tensors by their numbers.

`keras.ops` first counts negative numbers from the end, which in TensorFlow is many operations, most of all
for `take_along_axis`; each of TensorFlow's passes over a graph copies them all.
"""

from keras import ops

from keras_seg.ops.fast import native_form


def take_rows(values, rows):
    """Rows of a table.

    Args:
        values: tensor (A, ...).
        rows: int32 or int64 (...), each within 0..A-1.

    Returns:
        Tensor (*rows.shape, *values.shape[1:]).
    """
    gather = native_form("gather")
    return gather(values, rows, 0) if gather else ops.take(values, rows, axis=0)


def take_rows_of_each(values, rows):
    """Rows of each table of a batch.

    Args:
        values: tensor (..., A, *rest).
        rows: int32 or int64 (..., M) with the same leading axes, each within 0..A-1.

    Returns:
        Tensor (..., M, *rest).
    """
    batch_axes = len(rows.shape) - 1
    gather = native_form("gather")
    if gather:
        return gather(values, rows, batch_axes)
    rest = len(values.shape) - len(rows.shape)
    return ops.take_along_axis(values, ops.reshape(rows, (*ops.shape(rows), *(1,) * rest)), axis=batch_axes)
