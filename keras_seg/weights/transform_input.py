"""The pixels that a GoogLeNet of torchvision was trained on: its option `transform_input`.

torchvision's own checkpoint comes from a network that was trained on x / 127.5 - 1, while all its networks
are given (x / 255 - mean) / deviation. The option, which its builder sets for that checkpoint alone, brings
the one back to the other inside the network. A checkpoint does not say which it was.
"""

import numpy as np

from keras_seg.backbones.preprocessing import mode_affine


def transformed_affine(channels):
    """(matrix, offset) from pixels 0..255 to x / 127.5 - 1."""
    return np.eye(channels) / 127.5, -np.ones(channels)


def fold_transform(tensors, as_array):
    """Put the transform into the first kernel and its batch normalization, for an encoder.

    The network is then given what every other is. Differs from the transform itself only at the image's rim,
    where the first convolution's zeros mean mid-grey in the one and the mean color in the other.

    Args:
        tensors: dict of str to tensor, a GoogLeNet's. Changed in place.
        as_array: function from such a tensor to a float32 array.
    """
    matrix, offset = mode_affine("torch", 3)
    scale = 1 / (127.5 * np.diag(matrix))
    shift = -1 - scale * offset
    kernel = as_array(tensors["conv1.conv.weight"])
    mean = as_array(tensors["conv1.bn.running_mean"])
    # The constant part of the convolution's output goes where its mean is taken away.
    tensors["conv1.bn.running_mean"] = mean - np.einsum("oihw,i->o", kernel, shift).astype("float32")
    tensors["conv1.conv.weight"] = kernel * scale.astype("float32")[:, None, None]
