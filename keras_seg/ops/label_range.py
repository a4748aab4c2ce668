"""A check of labels while a network trains, on the backends that can raise from within a step."""

from keras_seg.ops.fast import native_form


def labels_below(labels, num_classes, name):
    """The labels, once they are known to be less than the number of classes.

    A label too large would be gathered from beyond the last class: an error far from its cause on a CPU, and
    anything at all on an accelerator.

    Args:
        labels: int32 tensor.
        num_classes: int.
        name: str. The argument, for the message.

    Returns:
        The labels. Under XLA, and so on JAX, they are not looked at.

    Raises:
        ValueError on PyTorch; in a graph of TensorFlow, when it runs, tf.errors.InvalidArgumentError.
    """
    check = native_form("labels_below")
    if check is None:
        return labels
    expected = f"at most {num_classes - 1}, of {num_classes} classes"
    return check(labels, num_classes, name, expected, "Build the model with `num_classes` of the data.")
