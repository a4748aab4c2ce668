"""Pretrained networks on other than three channels: how the first kernel and the preprocessing change.

A network trained on RGB has a first kernel for three channels. Here is what becomes of it:

| channels | kernel | meaning |
|---|---|---|
| 1 | the sum of the three filters | a grey image, as if repeated in red, green and blue |
| 2 | half the sum for each | two equal channels answer as a grey image |
| 3 | unchanged | |
| 4 and more | RGB unchanged, the mean of the three filters for each further channel | as FCN's RGB-D |

The preprocessing follows: a channel that isn't red, green or blue gets the mean of the three scales and of
the three offsets.

Reference: FCN's repository, github.com/shelhamer/fcn.berkeleyvision.org, nyud-fcn32s-color-d/solve.py: the
filter of the fourth channel, depth, starts as the mean of those of the colors.
"""

import numpy as np

from keras_seg.utils.validation import bad_argument, check_integer


def adapt_first_kernel(kernel, channels):
    """Turn the first kernel of a network for RGB images into one for `channels` channels.

    Args:
        kernel: array (h, w, 3, filters). In BGR order where the preprocessing makes BGR.
        channels: int, at least 1. Channels of the images.

    Returns:
        numpy array (h, w, channels, filters), by the table of this file.

    Raises:
        ValueError: the kernel is not for three channels.

    Example:
        >>> adapt_first_kernel(np.ones((3, 3, 3, 64)), 1)[0, 0, 0, 0]
        3.0
    """
    kernel = np.asarray(kernel)
    check_integer("channels", channels)
    if kernel.ndim != 4 or kernel.shape[2] != 3:
        raise bad_argument("kernel.shape", "(h, w, 3, filters)", kernel.shape)
    if channels < 3:
        return np.repeat(kernel.sum(axis=2, keepdims=True) / channels, channels, axis=2)
    further = np.repeat(kernel.mean(axis=2, keepdims=True), channels - 3, axis=2)
    return np.concatenate([kernel, further], axis=2)


def adapt_affine(matrix, offset, channels):
    """Turn the preprocessing of RGB images into one for `channels` channels.

    Args:
        matrix: array (3, 3). Row i makes output channel i of pixels 0..255.
        offset: array (3,), added after.
        channels: int, at least 1. Channels of the images.

    Returns:
        (matrix, offset) of shapes (channels, channels) and (channels,).
    """
    check_integer("channels", channels)
    # Grey in, by how much does a channel rise on average: right for BGR's permutation too.
    wide_matrix = np.eye(channels) * np.sum(matrix, axis=1).mean()
    wide_offset = np.full(channels, np.mean(offset))
    if channels >= 3:
        wide_matrix[:3, :3] = matrix
        wide_offset[:3] = offset
    return wide_matrix, wide_offset
