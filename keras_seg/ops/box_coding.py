"""A box as a move from another box: the numbers that the box heads of Faster and Mask R-CNN learn.

Boxes are `xyxy` in continuous pixel coordinates; deltas are (dx, dy, dw, dh). Any leading axes, which
broadcast.
"""

import math

from keras import ops

from keras_seg.ops.boxes import check_leading_axes, float_boxes
from keras_seg.utils.validation import bad_argument, check_number

# exp(log(1000 / 16)) times a 16 pixel anchor is 1000 pixels: as far as one step may grow a box.
MAX_LOG_RATIO = math.log(1000 / 16)
# Pixels. Below it a side is rounding noise: float32 coordinates above 16 lie farther apart than this.
SMALLEST_SIDE = 1e-6


def encode_boxes(boxes, anchors, weights=(1.0, 1.0, 1.0, 1.0)):
    """The deltas that move each anchor to its box: the inverse of `decode_boxes`.

    With centres (x, y) and sides (w, h), and a for the anchor:

        dx = wx (x - xa) / wa        dw = ww log(w / wa)
        dy = wy (y - ya) / ha        dh = wh log(h / ha)

    A row in which the box or the anchor has a side below 1e-6 pixels gets 0 for all four, so that a padding
    row has a finite loss and no gradient of NaN even before it is masked.

    Reference:
        Ren et al., 2015, Faster R-CNN, equation 2; the weights are Girshick's Fast R-CNN code and
        Detectron's.

    Args:
        boxes: (..., 4), xyxy in pixels: the boxes to reach.
        anchors: (..., 4), xyxy: the boxes to start from, row by row. Leading axes broadcast.
        weights: four positive numbers (wx, wy, ww, wh). (1, 1, 1, 1), the default, in the region proposal
            network; (10, 10, 5, 5) in the box head.

    Returns:
        float32 (..., 4).

    Raises:
        TypeError: a weight that is not a number.
        ValueError: a last axis other than 4, leading axes that differ, or weights that are not four positive
            numbers.

    Example:
        >>> keras_seg.ops.encode_boxes([[8, 0, 16, 8]], [[0, 0, 8, 8]])[0]  # 1, 0, 0, 0
    """
    boxes, anchors = float_boxes("boxes", boxes), float_boxes("anchors", anchors)
    check_leading_axes("anchors", anchors.shape[:-1], "boxes", boxes.shape[:-1])
    weights = _weights(weights)
    x, y, width, height = _centre_and_sides(boxes)
    anchor_x, anchor_y, anchor_width, anchor_height = _centre_and_sides(anchors)
    smallest = ops.minimum(ops.minimum(width, height), ops.minimum(anchor_width, anchor_height))
    sound = smallest > SMALLEST_SIDE

    def safe(side):
        return ops.where(sound, side, 1.0)

    deltas = [
        weights[0] * (x - anchor_x) / safe(anchor_width),
        weights[1] * (y - anchor_y) / safe(anchor_height),
        weights[2] * ops.log(safe(width) / safe(anchor_width)),
        weights[3] * ops.log(safe(height) / safe(anchor_height)),
    ]
    return ops.stack([ops.where(sound, delta, 0.0) for delta in deltas], axis=-1)


def decode_boxes(deltas, anchors, weights=(1.0, 1.0, 1.0, 1.0), max_log_ratio=MAX_LOG_RATIO):
    """The boxes that deltas move anchors to. Gradients flow to the deltas and the anchors.

    Reference:
        Ren et al., 2015, Faster R-CNN, equation 2 solved for the box; the limit is Detectron's.

    Args:
        deltas: (..., 4), what a box head gives. For one set of deltas a class, (N, K, C, 4), give anchors
            (N, K, 1, 4).
        anchors: (..., 4), xyxy in pixels. Leading axes broadcast. An anchor without area stays without.
        weights: four positive numbers, those that the deltas were encoded with.
        max_log_ratio: float, at least 0. dw and dh are cut to it after division by their weights, and with
            them their gradient. Default log(1000 / 16).

    Returns:
        float32 (..., 4), xyxy in pixels, not clipped to the image.

    Raises:
        TypeError: a weight or limit that is not a number.
        ValueError: a last axis other than 4, leading axes that differ, weights that are not four positive
            numbers, or a negative limit.

    Example:
        >>> keras_seg.ops.decode_boxes([[1.0, 0, 0, 0]], [[0, 0, 8, 8]])[0]  # 8, 0, 16, 8
    """
    deltas, anchors = float_boxes("deltas", deltas), float_boxes("anchors", anchors)
    check_leading_axes("anchors", anchors.shape[:-1], "deltas", deltas.shape[:-1])
    limit = check_number("max_log_ratio", max_log_ratio, minimum=0)
    anchor_x, anchor_y, anchor_width, anchor_height = _centre_and_sides(anchors)
    dx, dy, dw, dh = (
        delta / weight
        for delta, weight in zip(ops.unstack(deltas, 4, axis=-1), _weights(weights), strict=True)
    )
    x, y = dx * anchor_width + anchor_x, dy * anchor_height + anchor_y
    half_width = 0.5 * ops.exp(ops.minimum(dw, limit)) * anchor_width
    half_height = 0.5 * ops.exp(ops.minimum(dh, limit)) * anchor_height
    return ops.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)


def _weights(weights):
    """Four floats above 0."""
    if not isinstance(weights, (tuple, list)) or len(weights) != 4:
        raise bad_argument("weights", "four positive numbers (wx, wy, ww, wh)", weights)
    weights = [check_number("weights", weight, minimum=0) for weight in weights]
    if 0.0 in weights:
        raise bad_argument("weights", "four positive numbers (wx, wy, ww, wh)", weights)
    return weights


def _centre_and_sides(boxes):
    """x, y, width, height of xyxy boxes, each (...)."""
    x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
    width, height = x2 - x1, y2 - y1
    return x1 + 0.5 * width, y1 + 0.5 * height, width, height
