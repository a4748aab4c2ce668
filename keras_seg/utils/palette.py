"""Class colours: apart from one another, the same on every run, and black for background."""

import numpy as np

from keras_seg.utils.validation import bad_argument, check_integer


def class_colors(num_classes):
    """Colours for class ids 0 to num_classes - 1, by the bit rule of PASCAL VOC.

    VOC's rule spreads the bits of the class id over the high bits of red, green and blue, so that any number
    of classes has distinct colours and class 0 is black. Source: VOC development kit, `VOClabelcolormap`.

    Args:
        num_classes: int, 1 to 256.

    Returns:
        uint8 array (num_classes, 3), RGB.
    """
    num_classes = check_integer("num_classes", num_classes)
    if num_classes > 256:
        raise bad_argument("num_classes", "at most 256, the size of a palette", num_classes)
    ids = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), "uint8")
    for level in range(8):
        for channel in range(3):
            colors[:, channel] |= (((ids >> (3 * level + channel)) & 1) << (7 - level)).astype("uint8")
    return colors
