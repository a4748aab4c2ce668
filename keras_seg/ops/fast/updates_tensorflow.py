"""A weight's place in TensorFlow's order of things: when it is converted, and when it is updated."""

import tensorflow as tf
from tensorflow.python.eager import record


def used_together(x, kernel):
    """A map and the kernel that an operation takes with it; the kernel's gradient then waits for the map's.

    Unchanged where the map is known to have no gradient, which would be computed for the order's sake alone.
    At the border of a part that is frozen it is: one layer's.

    Args:
        x: tensor.
        kernel: tensor or variable.

    Returns:
        Tensors of the same values.
    """
    kernel = tf.convert_to_tensor(kernel)
    return _together(x, kernel) if record.should_record_backprop([x]) else (x, kernel)


def converted_after(x, kernel):
    """A kernel as a tensor, made when `x` is there: else a graph starts by converting all its weights.

    Args:
        x: tensor of known rank.
        kernel: tensor, or a variable that becomes one of another dtype.

    Returns:
        Tensor.
    """
    # Not after `x` itself: where that is padded, TensorFlow makes one operation of it and a convolution, and
    # this order would then be a cycle.
    with tf.control_dependencies([x[(slice(1),) * x.shape.rank]]):
        return tf.convert_to_tensor(kernel)


@tf.custom_gradient
def _together(x, kernel):
    def gradient(of_x, of_kernel):
        with tf.control_dependencies([of_x]):
            return of_x, tf.identity(of_kernel)

    return (tf.identity(x), tf.identity(kernel)), gradient
