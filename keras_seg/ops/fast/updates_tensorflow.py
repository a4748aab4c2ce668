"""The place of a weight's gradient in TensorFlow's order of things: its update then needs no copy."""

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


@tf.custom_gradient
def _together(x, kernel):
    def gradient(of_x, of_kernel):
        with tf.control_dependencies([of_x]):
            return of_x, tf.identity(of_kernel)

    return (tf.identity(x), tf.identity(kernel)), gradient
