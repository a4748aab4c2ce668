"""A batch in parts, one after the other, so that what a function holds does not grow with the batch."""

from keras_seg.ops.fast import native_form


def in_parts(function, rows, most, kinds):
    """A function of a batch, of at most so many rows at a time where memory is the processor's own.

    For what needs no gradient: with one, all parts' tensors are kept all the same. On a GPU or TPU, where a
    small batch leaves units idle, on JAX, in TensorFlow outside a graph or under XLA, and in what is
    exported, all rows are taken at once.

    Args:
        function: callable from tensors (b, ...) to a dict of tensors (b, ...), row by row.
        rows: tuple of tensors (B, ...).
        most: int. Rows of a part.
        kinds: dict of each result's name to (shape, dtype) of one of its rows.

    Returns:
        dict of tensors (B, ...).
    """
    native = native_form("in_parts")
    return native(function, rows, most, kinds) if native else function(*rows)
