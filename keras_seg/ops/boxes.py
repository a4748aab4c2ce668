"""Boxes as numbers: area, overlap of every pair, clipping to the image.

A box is `xyxy` in continuous pixel coordinates, (x1, y1, x2, y2): pixel column i spans i..i+1, so a box's
width is x2 - x1. Letters: N images, M and K boxes. Every function works in float32 and on any number of
leading axes.
"""

from keras import ops

from keras_seg.utils.validation import bad_argument, check_pair

# The smallest normal float32, in place of 0 as a divisor: it changes no quotient of areas, and costs one pass
# over the pairs where a test for 0 costs two.
SMALLEST_AREA = 1.2e-38


def float_boxes(name, boxes, layout="(..., 4)"):
    """`boxes` as a float32 tensor, or a ValueError that names the argument.

    Args:
        name: str. The argument as the user wrote it.
        boxes: array or tensor (..., 4) of numbers.
        layout: str. The axes that are expected, as in "(N, K, 4)"; a leading "..." stands for any number.

    Returns:
        float32 tensor of the same shape.
    """
    boxes = ops.convert_to_tensor(boxes, dtype="float32")
    shape = tuple(boxes.shape)
    named_axes = layout.replace("..., ", "").count(",") + 1
    right_rank = len(shape) >= named_axes if "..." in layout else len(shape) == named_axes
    if not right_rank or shape[-1] != 4:
        raise bad_argument(f"{name}.shape", layout, shape)
    return boxes


def box_area(boxes):
    """Area of each box.

    Args:
        boxes: (..., 4), xyxy in pixels.

    Returns:
        float32 (...), in square pixels; 0 for a box that ends before it starts.

    Raises:
        ValueError: the last axis does not have 4 entries.

    Example:
        >>> float(keras_seg.ops.box_area([2, 1, 5, 3]))
        6.0
    """
    x1, y1, x2, y2 = ops.unstack(float_boxes("boxes", boxes), 4, axis=-1)
    return ops.maximum(x2 - x1, 0.0) * ops.maximum(y2 - y1, 0.0)


def shortest_side(boxes):
    """The lesser of width and height of each box (..., 4), in pixels; below 0 where one ends too early."""
    x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
    return ops.minimum(x2 - x1, y2 - y1)


def box_iou(boxes1, boxes2):
    """Intersection over union of every box of the first set with every box of the second.

    Args:
        boxes1: (..., M, 4), xyxy in pixels.
        boxes2: (..., K, 4). Leading axes broadcast: anchors (M, 4) go with boxes (N, K, 4).

    Returns:
        float32 (..., M, K), within 0..1; 0 where neither box has an area.

    Raises:
        ValueError: fewer than 2 axes, a last axis other than 4, or leading axes that differ.

    Example:
        >>> float(keras_seg.ops.box_iou([[0, 0, 2, 2]], [[1, 0, 3, 2]])[0, 0])
        0.3333333432674408
    """
    boxes1, boxes2 = _two_sets(boxes1, boxes2)
    shared = _intersection(boxes1, boxes2)
    union = ops.expand_dims(box_area(boxes1), -1) + ops.expand_dims(box_area(boxes2), -2) - shared
    return shared / ops.maximum(union, SMALLEST_AREA)


def box_coverage(boxes1, boxes2):
    """The part of each box of the first set that each box of the second covers: intersection over first area.

    The measure for crowd regions, which stand for many objects: a box that lies in the region is covered by
    it however large the region is.

    Reference:
        Lin et al., 2014, Microsoft COCO; the evaluation code's rule for `iscrowd`.

    Args:
        boxes1: (..., M, 4), xyxy in pixels.
        boxes2: (..., K, 4), the regions. Leading axes broadcast.

    Returns:
        float32 (..., M, K), within 0..1; 0 where the first box has no area.

    Raises:
        ValueError: fewer than 2 axes, a last axis other than 4, or leading axes that differ.

    Example:
        >>> float(keras_seg.ops.box_coverage([[0, 0, 2, 2]], [[1, 0, 100, 100]])[0, 0])
        0.5
    """
    boxes1, boxes2 = _two_sets(boxes1, boxes2)
    return _intersection(boxes1, boxes2) / ops.maximum(ops.expand_dims(box_area(boxes1), -1), SMALLEST_AREA)


def clip_boxes(boxes, image_size):
    """Move the corners that lie outside the image to its edge.

    Args:
        boxes: (..., K, 4), xyxy in pixels.
        image_size: (height, width), integers or scalar tensors, for all images; or a tensor (N, 2) with one
            size an image for boxes (N, K, 4).

    Returns:
        float32 (..., K, 4), x within 0..width and y within 0..height. A box that lies outside gets no area.

    Raises:
        TypeError: a Python size that is not a pair of integers.
        ValueError: boxes of a wrong shape, a size below 1, or a size tensor that does not end in 2.

    Example:
        >>> keras_seg.ops.clip_boxes([[-3, 2, 700, 40]], (480, 640))[0]  # 0, 2, 640, 40
    """
    boxes = float_boxes("boxes", boxes, "(..., K, 4)")
    height, width = _image_sides(image_size)
    check_leading_axes("image_size", height.shape, "boxes", boxes.shape[:-2])
    limits = ops.expand_dims(ops.stack([width, height, width, height], axis=-1), -2)
    return ops.maximum(ops.minimum(boxes, limits), 0.0)


def _image_sides(image_size):
    """Height and width as float32 tensors, () or (N,)."""
    if isinstance(image_size, (tuple, list)) and len(image_size) == 2:
        if not any(hasattr(side, "shape") for side in image_size):
            image_size = check_pair("image_size", image_size)
        return [ops.convert_to_tensor(side, dtype="float32") for side in image_size]
    size = ops.convert_to_tensor(image_size, dtype="float32")
    if len(size.shape) < 1 or size.shape[-1] != 2:
        raise bad_argument("image_size", "a pair (height, width) or a tensor (N, 2)", image_size)
    return ops.unstack(size, 2, axis=-1)


def _two_sets(boxes1, boxes2):
    """Both as float32, with leading axes that broadcast."""
    boxes1 = float_boxes("boxes1", boxes1, "(..., M, 4)")
    boxes2 = float_boxes("boxes2", boxes2, "(..., K, 4)")
    check_leading_axes("boxes2", boxes2.shape[:-2], "boxes1", boxes1.shape[:-2])
    return boxes1, boxes2


def check_leading_axes(name, axes, other_name, other_axes):
    """Raise unless two sets of leading axes broadcast; unknown sizes pass."""
    for size, other in zip(reversed(axes), reversed(other_axes), strict=False):
        if sizes_differ(size, other) and 1 not in (size, other):
            raise ValueError(
                f"`{name}` must have leading axes that broadcast with those of `{other_name}`, "
                f"{tuple(other_axes)}. Received: {name} with leading axes {tuple(axes)}."
            )


def sizes_differ(size, other):
    """Whether two sizes of axes are known, so not None nor a symbol of a JAX trace, and differ."""
    return isinstance(size, int) and isinstance(other, int) and size != other


def _intersection(boxes1, boxes2):
    """Area that each pair shares, (..., M, K). One coordinate at a time: no tensor of K x M x 4."""
    left1, top1, right1, bottom1 = ops.unstack(ops.expand_dims(boxes1, -2), 4, axis=-1)
    left2, top2, right2, bottom2 = ops.unstack(ops.expand_dims(boxes2, -3), 4, axis=-1)
    width = ops.minimum(right1, right2) - ops.maximum(left1, left2)
    height = ops.minimum(bottom1, bottom2) - ops.maximum(top1, top2)
    return ops.maximum(width, 0.0) * ops.maximum(height, 0.0)
