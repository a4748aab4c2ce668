"""Greedy non-maximum suppression, plain and by class: of boxes that overlap much, the best one stays.

Every form keeps exactly the same boxes. Scores decide the order, and of equal scores the lower index comes
first. A box goes if its IoU with a box that was kept exceeds the threshold, strictly. IoU is
`shared / (area1 + area2 - shared)` in float32, in this order of operations, and 0 where that is 0 / 0.
Classes are compared, not moved apart by an offset: that costs coordinates, and so answers, their last bits.
On GPUs XLA rounds quotients and fused products otherwise, so there a pair at the threshold may go either way.

Letters: N images, K boxes, M `max_output`.
"""

import math

import numpy as np
from keras import backend, ops

from keras_seg.ops.boxes import sizes_differ
from keras_seg.ops.fast import native_form, refuse_symbolic
from keras_seg.ops.row_gather import take_rows_of_each
from keras_seg.ops.suppression_tiles import kept_by_tiles
from keras_seg.utils.validation import bad_argument, check_integer, check_number


def nms(boxes, scores, iou_threshold, max_output):
    """Indices of the boxes that greedy non-maximum suppression keeps, best score first.

    The outputs' sizes are fixed, so it runs inside a compiled step. A score of -inf or NaN marks a row that
    is never kept: use it for padding, and for a least score, as in
    `scores = keras.ops.where(scores > 0.05, scores, -math.inf)`. A box without area, or with a NaN, overlaps
    nothing. No gradient passes; `gather_kept` fetches what belongs to the indices, with its gradient.

    On PyTorch, and on TensorFlow outside XLA, pairs of near boxes are looked up in a grid; on JAX and under
    XLA boxes are compared in tiles. No form makes a K x K table. LiteRT lacks kernels that the grid needs:
    for it, trace under `portable()`.

    Reference:
        Girshick et al., 2014, Rich Feature Hierarchies, section 2.2 ("greedy non-maximum suppression").

    Args:
        boxes: (K, 4) or (N, K, 4), xyxy in pixels. The images of a batch do not meet.
        scores: (K,) or (N, K).
        iou_threshold: float within 0..1.
        max_output: int, at least 1: M, the most boxes to keep of an image.

    Returns:
        `(indices, count)`: int32 (M,) or (N, M), indices into K by falling score, then -1; and int32 () or
        (N,), the number of indices that are not padding.

    Raises:
        TypeError: `iou_threshold` is not a number, `max_output` not an integer, or a tensor is a KerasTensor.
        ValueError: a shape that does not fit, a threshold outside 0..1, `max_output` below 1.

    Example:
        >>> boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]]
        >>> indices, count = keras_seg.ops.nms(boxes, [0.8, 0.9, 0.7], 0.5, max_output=4)
        >>> indices  # 1, 2, -1, -1 and count 2
        >>> keras_seg.ops.gather_kept(boxes, indices)  # (4, 4): two boxes, two rows of zeros
    """
    return _suppress(boxes, scores, None, iou_threshold, max_output)


def batched_nms(boxes, scores, classes, iou_threshold, max_output):
    """Non-maximum suppression within each class: boxes of different classes never drop each other.

    As `nms`, with one order of scores and one `max_output` for all classes of an image.

    Args:
        boxes: (K, 4) or (N, K, 4), xyxy in pixels.
        scores: (K,) or (N, K); -inf or NaN marks a row that is never kept.
        classes: integers, (K,) or (N, K). Any values; what they mean is the caller's business, so the pyramid
            level of a proposal will do as well.
        iou_threshold: float within 0..1.
        max_output: int, at least 1: M, the most boxes to keep of an image, over all classes.

    Returns:
        `(indices, count)`, as from `nms`.

    Raises:
        TypeError: `iou_threshold` is not a number, `max_output` not an integer, or a tensor is a KerasTensor.
        ValueError: a shape that does not fit, classes that are not integers, a threshold outside 0..1,
            `max_output` below 1.

    Example:
        >>> indices, count = keras_seg.ops.batched_nms(boxes, scores, classes, 0.5, max_output=100)
        >>> detections = {
        ...     "boxes": keras_seg.ops.gather_kept(boxes, indices),
        ...     "scores": keras_seg.ops.gather_kept(scores, indices),
        ...     "labels": keras_seg.ops.gather_kept(classes, indices, padding=-1),
        ... }
    """
    return _suppress(boxes, scores, classes, iou_threshold, max_output)


def gather_kept(values, indices, padding=0):
    """Rows of `values` at the indices that `nms` returned, with `padding` where an index is -1.

    Args:
        values: (K, ...) or (N, K, ...): boxes, scores, classes, masks; any dtype.
        indices: int (M,) or (N, M), padded with -1.
        padding: number for the rows without an index: 0 for boxes and scores, -1 for classes.

    Returns:
        Tensor (M, ...) or (N, M, ...) of the dtype of `values`.

    Raises:
        ValueError: indices with more than 2 axes or not of integers, values with fewer axes than indices, or
            batches that differ.

    Example:
        >>> keras_seg.ops.gather_kept([5, 6, 7], [2, 0, -1], padding=-1)  # 7, 5, -1
    """
    values = ops.convert_to_tensor(values)
    indices = ops.convert_to_tensor(indices)
    dtype = backend.standardize_dtype(indices.dtype)
    if not backend.is_int_dtype(dtype):
        raise bad_argument("indices.dtype", "an integer type, as `nms` gives it", dtype)
    indices = ops.cast(indices, "int32")
    if len(indices.shape) not in (1, 2):
        raise bad_argument("indices.shape", "(M,) or (N, M)", tuple(indices.shape))
    if len(values.shape) < len(indices.shape):
        layout = "(K, ...)" if len(indices.shape) == 1 else "(N, K, ...), as the indices have a batch axis"
        raise bad_argument("values.shape", layout, tuple(values.shape))
    if len(indices.shape) == 2 and sizes_differ(values.shape[0], indices.shape[0]):
        expected = f"({indices.shape[0]}, K, ...), as many images as `indices` has"
        raise bad_argument("values.shape", expected, tuple(values.shape))
    # One row of padding in front: index -1 is row 0, whatever K is, also where K is 0.
    axis = len(indices.shape) - 1
    front = [[0, 0]] * axis + [[1, 0]] + [[0, 0]] * (len(values.shape) - axis - 1)
    return take_rows_of_each(ops.pad(values, front, constant_values=padding), indices + 1)


def _suppress(boxes, scores, classes, iou_threshold, max_output):
    refuse_symbolic("nms" if classes is None else "batched_nms", None, boxes, scores, classes)
    boxes = ops.convert_to_tensor(boxes, dtype="float32")
    scores = ops.convert_to_tensor(scores, dtype="float32")
    iou_threshold = check_number("iou_threshold", iou_threshold, 0, 1)
    max_output = check_integer("max_output", max_output)
    rank = len(boxes.shape)
    if rank not in (2, 3) or boxes.shape[-1] != 4:
        raise bad_argument("boxes.shape", "(K, 4) or (N, K, 4)", tuple(boxes.shape))
    _check_rows("scores", scores, boxes)
    if classes is not None:
        classes = ops.convert_to_tensor(classes)
        _check_rows("classes", classes, boxes)
        dtype = backend.standardize_dtype(classes.dtype)
        if not backend.is_int_dtype(dtype):
            raise bad_argument("classes.dtype", "an integer type", dtype, "Use keras.ops.argmax or a cast.")
    if rank == 2:
        boxes, scores = boxes[None], scores[None]
        classes = None if classes is None else classes[None]
    # In float32, as IoU is: a ratio such as 3 / 10 is then equal to the threshold 0.3, and not above it.
    # torchvision compares with the float64 on CPUs, and drops that box.
    indices, count = _by_falling_score(boxes, scores, classes, float(np.float32(iou_threshold)), max_output)
    return (indices[0], count[0]) if rank == 2 else (indices, count)


def _check_rows(name, rows, boxes):
    expected = tuple(boxes.shape[:-1])
    same = len(rows.shape) == len(expected) and all(
        size == other or None in (size, other) for size, other in zip(rows.shape, expected, strict=True)
    )
    if not same:
        raise bad_argument(f"{name}.shape", f"{expected}, one for each box", tuple(rows.shape))


def _by_falling_score(boxes, scores, classes, iou_threshold, max_output):
    """Sort, decide, and name the boxes that stay by their old indices."""
    boxes, scores = ops.stop_gradient(boxes), ops.stop_gradient(scores)
    valid = scores > -math.inf  # false for NaN
    # -0.0 and 0.0 are a tie, which the sort of XLA does not know.
    scores = ops.where(valid & (scores != 0), scores, ops.where(valid, 0.0, -math.inf))
    order = ops.argsort(-scores, axis=1)  # stable on every backend
    boxes = take_rows_of_each(boxes, order)
    valid = take_rows_of_each(valid, order)
    if classes is not None:
        classes = take_rows_of_each(classes, order)
    decide = native_form("nms") or kept_by_tiles
    places, count = decide(boxes, valid, classes, iou_threshold, max_output)
    return gather_kept(order, places, padding=-1), count
