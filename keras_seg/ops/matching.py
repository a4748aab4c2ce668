"""Which ground truth a box is trained on, and which boxes are drawn for the loss, at static shapes.

Letters: A boxes (anchors or proposals), G ground truth rows, S samples. Labels are 1 positive, 0 negative,
-1 ignored. Leading axes, such as N images, are free and broadcast.
"""

import keras
from keras import ops

from keras_seg.ops.boxes import box_coverage, box_iou, check_leading_axes, float_boxes
from keras_seg.ops.fast import native_form
from keras_seg.ops.row_gather import take_rows_of_each
from keras_seg.utils.validation import bad_argument, check_integer, check_number

# IoUs of one ground truth that differ by less than rounding count as a tie. Not exact equality: a compiler
# that computes the IoU once for the maximum and again for the comparison may round the two differently, and
# the ground truth would go without its best box.
TIE = 1e-6


def match_boxes(
    boxes,
    gt_boxes,
    low_threshold,
    high_threshold,
    allow_low_quality=False,
    gt_valid=None,
    gt_crowd=None,
    crowd_threshold=0.7,
):
    """Assign each box the ground truth that it overlaps most, and a label by how much that is.

    A box is positive where its best IoU is at least `high_threshold`, negative below `low_threshold`, ignored
    between the two. An image without ground truth has negatives only.

    Reference:
        Ren et al., 2015, Faster R-CNN, section 3.1.2. Mask R-CNN: 0.3, 0.7 with low quality matches for the
        region proposal network; 0.5, 0.5 without for the heads.

    Differences from the rule in Detectron and torchvision: a ground truth that no box touches makes no box
    positive (there, every box that does not touch it), and IoUs equal up to rounding are a tie.

    Args:
        boxes: (..., A, 4), xyxy in pixels: anchors, also (A, 4) for a whole batch, or proposals. Padding rows
            are labelled like any other; set their labels to -1 afterwards.
        gt_boxes: (..., G, 4), xyxy; G may be 0.
        low_threshold: float within 0..1.
        high_threshold: float, at least `low_threshold`, at most 1.
        allow_low_quality: bool, default False. True makes every box positive that is the best box of a ground
            truth, all of them on a tie; it is still assigned the ground truth that it overlaps most itself.
        gt_valid: bool (..., G) or None for all. False marks padding rows, which match nothing.
        gt_crowd: bool (..., G) or None for none. A crowd region matches nothing; a box that would be negative
            and lies in it is ignored.
        crowd_threshold: float within 0..1. A box lies in a crowd region where the region covers more than
            this part of the box's area. Default 0.7, Detectron's.

    Returns:
        matches: int32 (..., A), the assigned row of `gt_boxes`; 0 where there is none.
        labels: int32 (..., A), 1, 0 or -1.

    Raises:
        TypeError: a threshold that is not a number.
        ValueError: boxes of a wrong shape, leading axes that differ, thresholds outside 0..1 or out of order,
            a mask that is not (..., G).

    Example:
        >>> matches, labels = keras_seg.ops.match_boxes(
        ...     [[0, 0, 4, 4], [20, 20, 24, 24]], [[0, 0, 4, 5]], 0.3, 0.7
        ... )  # matches 0, 0; labels 1, 0
    """
    boxes = float_boxes("boxes", boxes, "(..., A, 4)")
    gt_boxes = float_boxes("gt_boxes", gt_boxes, "(..., G, 4)")
    low = check_number("low_threshold", low_threshold, 0, 1)
    high = check_number("high_threshold", high_threshold, 0, 1)
    if low > high:
        raise bad_argument("low_threshold", f"at most `high_threshold`, {high}", low_threshold)
    crowd_threshold = check_number("crowd_threshold", crowd_threshold, 0, 1)
    check_leading_axes("gt_boxes", gt_boxes.shape[:-2], "boxes", boxes.shape[:-2])
    valid, crowds = _row_mask("gt_valid", gt_valid, gt_boxes), _row_mask("gt_crowd", gt_crowd, gt_boxes)

    # Labels have no gradient: without this, eager PyTorch would keep every step of the loop for one.
    boxes, gt_boxes = ops.stop_gradient(boxes), ops.stop_gradient(gt_boxes)
    overlaps = native_form("overlaps") or overlaps_by_rows
    best, matches, is_best, in_crowd = overlaps(boxes, gt_boxes, valid, crowds, crowd_threshold, TIE)
    labels = ops.where(best >= high, 1, ops.where(best >= low, -1, 0))
    if allow_low_quality:
        labels = ops.where(is_best, 1, labels)
    labels = ops.where(ops.logical_and(labels == 0, in_crowd), -1, labels)
    return matches, ops.cast(labels, "int32")


def sample_balanced(labels, num_samples, positive_fraction, seed=None):
    """Draw a fixed number of boxes, with positives up to a fraction and negatives for the rest.

    Without replacement and uniformly: of P positives, min(P, int(num_samples * positive_fraction)) are drawn,
    and as many negatives as fill the samples. Where negatives run short, rows stay empty.

    Reference:
        Ren et al., 2015, Faster R-CNN, section 3.1.3 (256, 0.5); He et al., 2017, Mask R-CNN, section 3.1
        (512, 0.25).

    Args:
        labels: integers (..., A): 1 positive, 0 negative, anything else is not drawn.
        num_samples: int, S.
        positive_fraction: float within 0..1.
        seed: int, for the same draw in every call; `keras.random.SeedGenerator`, for a new draw in each call;
            or None for Keras' global generator, which JAX refuses in compiled code.

    Returns:
        indices: int32 (..., S), rows of `labels`: the positives first, then the negatives; 0 in empty rows.
        sampled_labels: int32 (..., S), 1, 0, or -1 in empty rows.

    Raises:
        TypeError: `num_samples` that is not an integer, or a fraction that is not a number.
        ValueError: labels that are not integers or have no axis, `num_samples` below 1, a fraction outside
            0..1.

    Example:
        >>> indices, sampled = keras_seg.ops.sample_balanced([0, 1, -1, 0, 0], 4, 0.25, seed=1)
        >>> # one positive, row 1, and the three negatives
    """
    labels = ops.convert_to_tensor(labels)
    if "int" not in keras.backend.standardize_dtype(labels.dtype) or len(labels.shape) < 1:
        raise bad_argument("labels", "integers of shape (..., A)", f"{labels.dtype} {tuple(labels.shape)}")
    labels = ops.cast(labels, "int32")  # an unsigned type has no -1 for the padding
    num_samples = check_integer("num_samples", num_samples)
    most_positives = int(num_samples * check_number("positive_fraction", positive_fraction, 0, 1))
    if not isinstance(labels.shape[-1], int) or labels.shape[-1] < num_samples:
        spare = [(0, 0)] * (len(labels.shape) - 1) + [(0, num_samples)]
        labels = ops.pad(labels, spare, constant_values=-1)

    keys = keras.random.uniform(ops.shape(labels), dtype="float32", seed=seed)
    positives, num_positives = _draw(labels == 1, keys, most_positives)
    negatives, num_negatives = _draw(labels == 0, keys, num_samples)
    rows = ops.arange(num_samples, dtype="int32")
    is_positive = rows < num_positives
    is_filled = rows < num_positives + num_negatives
    drawn = ops.concatenate([positives, negatives], axis=-1)
    indices = take_rows_of_each(drawn, ops.where(is_positive, rows, most_positives + rows - num_positives))
    sampled_labels = ops.where(is_positive, 1, ops.where(is_filled, 0, -1))
    return ops.where(is_filled, indices, 0), ops.cast(sampled_labels, "int32")


def _row_mask(name, mask, gt_boxes):
    """A mask (..., G) of ground truth rows as bool, or None."""
    if mask is None:
        return None
    mask = ops.convert_to_tensor(mask, dtype="bool")
    if len(mask.shape) != len(gt_boxes.shape) - 1:
        raise bad_argument(f"{name}.shape", f"{tuple(gt_boxes.shape[:-1])}, a row a box", tuple(mask.shape))
    check_leading_axes(name, mask.shape, "gt_boxes", gt_boxes.shape[:-1])
    return mask


def overlaps_by_rows(boxes, gt_boxes, valid, crowds, crowd_threshold, tie):
    """What each box has with the ground truth, each (..., A), in a loop over the ground truth.

    The whole matrix (..., G, A) is quicker only in eager TensorFlow. Two images of 261,888 anchors and 100
    rows took 0.77 s of CPU time as a matrix and 0.10 s in a loop in JAX, 2.5 and 0.6 s in PyTorch, and the
    matrix needs 210 MB for each of its intermediate results.

    Returns:
        best float32, the highest IoU, -1 where there is no object; matches int32, its row, the first on a
        tie; is_best bool, whether the box is an object's best; in_crowd bool.
    """
    start = ops.zeros_like(boxes[..., 0] + ops.sum(gt_boxes[..., 0], axis=-1, keepdims=True))
    state = (start - 1.0, ops.cast(start, "int32"), start > 0.0, start > 0.0)
    if 0 in (boxes.shape[-2], gt_boxes.shape[-2]):
        return state

    def column(mask, row):
        return ops.expand_dims(ops.take(mask, row, axis=-1), -1)

    def add_row(row, state):
        best, matches, is_best, in_crowd = state
        gt_box = ops.expand_dims(ops.take(gt_boxes, row, axis=-2), -2)
        iou = box_iou(boxes, gt_box)[..., 0]
        if valid is not None:
            iou = ops.where(column(valid, row), iou, -1.0)
        if crowds is not None:
            covered = box_coverage(boxes, gt_box)[..., 0] > crowd_threshold
            counts = column(crowds, row) if valid is None else column(ops.logical_and(crowds, valid), row)
            in_crowd = ops.logical_or(in_crowd, ops.logical_and(covered, counts))
            iou = ops.where(column(crowds, row), -1.0, iou)
        best_of_row = ops.max(iou, axis=-1, keepdims=True)
        ties = ops.logical_and(iou >= (1.0 - tie) * best_of_row, best_of_row > 0.0)
        matches = ops.where(iou > best, row, matches)
        return ops.maximum(iou, best), matches, ops.logical_or(is_best, ties), in_crowd

    return ops.fori_loop(0, ops.shape(gt_boxes)[-2], add_row, state)


def _draw(wanted, keys, count):
    """Up to `count` random rows where `wanted`: indices (..., count) and their number (..., 1), int32."""
    values, indices = ops.top_k(ops.where(wanted, keys, -1.0), count)
    drawn = ops.sum(ops.cast(values >= 0.0, "int32"), axis=-1, keepdims=True)
    return ops.cast(indices, "int32"), ops.cast(drawn, "int32")
