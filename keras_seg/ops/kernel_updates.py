"""The order in which a training step computes gradients and updates kernels."""

from keras_seg.ops.fast import native_form


def used_together(x, kernel):
    """A map and the kernel that one operation takes with it; the kernel's gradient then waits for the map's.

    TensorFlow's update of a weight waits for the operations that read it, but not for those that use what was
    read: it may come between the two gradients, and then the kernel is copied, into memory that the step's
    maps would have had. 25 of a Mask R-CNN's 94 weights were, in a step, and its memory grew from one to the
    next. Other backends need no order.

    Args:
        x: tensor.
        kernel: tensor or variable.

    Returns:
        Both, with the same values.
    """
    native = native_form("used_together")
    return native(x, kernel) if native else (x, kernel)
