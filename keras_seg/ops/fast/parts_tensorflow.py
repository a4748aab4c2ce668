"""Parts of a batch and what is written of each, on TensorFlow."""

import tensorflow as tf


def in_parts(function, rows, most, kinds):
    """`ops.row_parts.in_parts`, by a loop over parts of like size; none where the batch is one part."""
    batch = rows[0].shape[0]
    whole = batch is not None and batch <= most
    results = function(*rows) if whole else _looped(function, rows, most, kinds)
    return {name: tf.ensure_shape(results[name], (batch, *kinds[name][0])) for name in kinds}


def _looped(function, rows, most, kinds):
    count = tf.shape(rows[0])[0]
    parts = -(-count // most)
    size = -(-count // tf.maximum(parts, 1))

    def write(part, lists):
        here = slice(part * size, (part + 1) * size)
        results = function(*(_of_part(tensor[here], most) for tensor in rows))
        return part + 1, {name: written.write(part, results[name]) for name, written in lists.items()}

    lists = {
        name: tf.TensorArray(dtype, parts, infer_shape=False, element_shape=(None, *shape))
        for name, (shape, dtype) in kinds.items()
    }
    _, lists = tf.while_loop(lambda part, _: part < parts, write, (0, lists), parallel_iterations=1)
    return {name: lists[name].concat() for name in kinds}


def _of_part(rows, most):
    """A part's rows; their number is known where it can only be one."""
    return tf.ensure_shape(rows, (1, *rows.shape[1:])) if most == 1 else rows
