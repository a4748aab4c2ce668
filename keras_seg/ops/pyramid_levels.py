"""Levels of a feature pyramid: which one a box belongs to, and which one a name such as "P3" stands for."""

import math
import re

from keras import ops

from keras_seg.ops.boxes import box_area
from keras_seg.utils.validation import bad_argument, check_integer, check_positive

_LEVEL_NAME = re.compile(r"[A-Za-z_]+([0-9]+)")


def assign_pyramid_levels(boxes, min_level=2, max_level=5, *, canonical_size=224, canonical_level=4):
    """The pyramid level on which each box's features are read: large boxes on coarse levels.

    floor(canonical_level + log2(sqrt(width * height) / canonical_size) + 1e-6), limited to the levels that
    there are. A box without area goes to the finest level. The 1e-6 is torchvision's: a box of exactly half
    the canonical size falls on the level below, whatever the rounding of the logarithm.

    Reference: Lin et al. 2017, Feature Pyramid Networks for Object Detection, equation 1.

    Args:
        boxes: tensor (..., 4), xyxy in absolute pixels of the image.
        min_level: int. The finest level. Defaults to 2, whose pixels are 4 image pixels wide.
        max_level: int. The coarsest level. Defaults to 5.
        canonical_size: float. Side of the box, in image pixels, that belongs to `canonical_level`: the images
            on which the backbone learned to classify. Defaults to 224.
        canonical_level: int. Defaults to 4.

    Returns:
        Tensor (...), int32: each box's level, from min_level to max_level.

    Raises:
        ValueError: for levels out of order, a size that is not positive, boxes that do not end in 4.

    Example:
        >>> assign_pyramid_levels([[0.0, 0.0, 224.0, 224.0], [0.0, 0.0, 20.0, 30.0]])
        <tf.Tensor: shape=(2,), dtype=int32, numpy=array([4, 2], dtype=int32)>
    """
    check_integer("min_level", min_level, minimum=0)
    check_integer("max_level", max_level, minimum=min_level)
    check_integer("canonical_level", canonical_level, minimum=0)
    canonical_size = check_positive("canonical_size", canonical_size)
    area = box_area(boxes)
    # Limited before the logarithm, so that no infinity or NaN reaches the cast to integers, where its value
    # would depend on the backend. A NaN fails the comparison and goes to the finest level.
    side = ops.sqrt(ops.where(area > 1e-12, area, 1e-12))
    level = ops.floor(canonical_level + ops.log(side / canonical_size) / math.log(2) + 1e-6)
    return ops.cast(ops.clip(level, min_level, max_level), "int32")


def level_numbers(argument, features):
    """The pyramid's level names in order of their numbers.

    Args:
        argument: str. The argument's name, for the error messages.
        features: dict of names such as "P2" to feature maps.

    Returns:
        dict of name to int, finest level first.

    Raises:
        TypeError: if `features` is not a dict.
        ValueError: if it is empty, a name has no level, or a level is missing in between or there twice.
    """
    expected = 'a dict of consecutive levels to maps, such as {"P2": ..., "P3": ...}'
    if not isinstance(features, dict):
        raise bad_argument(argument, expected, type(features).__name__, error=TypeError)
    names = list(features)
    found = {name: _LEVEL_NAME.fullmatch(name) if isinstance(name, str) else None for name in names}
    if not names or not all(found.values()):
        fix = 'The number after the letters is the level: pixels of "P3" are 2 ** 3 image pixels wide.'
        raise bad_argument(argument, expected, names, fix)
    numbers = {name: int(match.group(1)) for name, match in found.items()}
    ordered = sorted(numbers.values())
    if ordered != list(range(ordered[0], ordered[0] + len(ordered))):
        raise bad_argument(argument, expected, names)
    return dict(sorted(numbers.items(), key=lambda item: item[1]))
