"""What Mask R-CNN is trained to answer: for anchors and for proposals, from boxes and masks of objects.

Letters: N images, G ground truth rows, A anchors, P proposals, S sampled of them, of which the first F may be
positive.
"""

from keras import ops

from keras_seg.ops.box_coding import encode_boxes
from keras_seg.ops.detection_selection import BOX_WEIGHTS
from keras_seg.ops.masks import crop_masks
from keras_seg.ops.matching import match_boxes, sample_balanced
from keras_seg.ops.row_gather import take_rows, take_rows_of_each


def anchor_targets(
    anchors,
    gt_boxes,
    gt_valid,
    gt_crowd=None,
    *,
    thresholds=(0.3, 0.7),
    crowd_threshold=0.7,
    num_samples=256,
    positive_fraction=0.5,
    seed=None,
):
    """Anchors drawn for the loss of the region proposal network, and what they should say.

    Reference:
        Ren et al., 2015, Faster R-CNN, sections 3.1.2 and 3.1.3.

    Args:
        anchors: float32 (A, 4), xyxy in pixels.
        gt_boxes: float32 (N, G, 4).
        gt_valid: bool (N, G), false in padding rows.
        gt_crowd: bool (N, G) or None.
        thresholds: (low, high), see `match_boxes`.
        crowd_threshold: float, see `match_boxes`.
        num_samples: int, S, of each image.
        positive_fraction: float. The most of them that are positive.
        seed: see `sample_balanced`.

    Returns:
        rows: int32 (N, S), rows of `anchors`.
        labels: int32 (N, S): 1 object, 0 background, -1 not used.
        deltas: float32 (N, S, 4), from the anchor to its object; meaningful where the label is 1.
    """
    matches, labels = match_boxes(
        anchors,
        gt_boxes,
        *thresholds,
        allow_low_quality=True,
        gt_valid=gt_valid,
        gt_crowd=gt_crowd,
        crowd_threshold=crowd_threshold,
    )
    rows, labels = sample_balanced(labels, num_samples, positive_fraction, seed)
    drawn = take_rows(ops.convert_to_tensor(anchors), rows)
    objects = take_rows_of_each(_with_padding(gt_boxes), take_rows_of_each(matches, rows))
    return rows, labels, encode_boxes(objects, drawn)


def sample_proposals(
    proposals,
    is_proposal,
    gt_boxes,
    gt_labels,
    gt_crowd=None,
    *,
    threshold=0.5,
    crowd_threshold=0.7,
    num_samples=512,
    positive_fraction=0.25,
    box_weights=BOX_WEIGHTS,
    seed=None,
):
    """Proposals drawn for the losses of the heads, with the objects' own boxes among the candidates.

    Reference:
        He et al., 2017, Mask R-CNN, section 3.1.

    Args:
        proposals: float32 (N, P, 4), xyxy in pixels.
        is_proposal: bool (N, P), false in padding rows.
        gt_boxes: float32 (N, G, 4).
        gt_labels: int32 (N, G), 0..K-1, -1 in padding rows.
        gt_crowd: bool (N, G) or None.
        threshold: float. IoU from which a proposal is positive.
        crowd_threshold: float, see `match_boxes`.
        num_samples: int, S, of each image.
        positive_fraction: float. The most of them that are positive.
        box_weights: four numbers, see `keras_seg.ops.encode_boxes`.
        seed: see `sample_balanced`.

    Returns:
        dict, the positives of each image in its first rows:
        "boxes" float32 (N, S, 4); "matches" int32 (N, S), rows of `gt_boxes`; "labels" int32 (N, S): 1
        object, 0 background, -1 not used; "classes" int32 (N, S): 0 background, k + 1 for label k; "deltas"
        float32 (N, S, 4), meaningful where the label is 1.
    """
    valid = gt_labels >= 0
    own = valid if gt_crowd is None else ops.logical_and(valid, ops.logical_not(gt_crowd))
    boxes = ops.concatenate([proposals, gt_boxes], axis=1)
    matches, labels = match_boxes(
        boxes,
        gt_boxes,
        threshold,
        threshold,
        gt_valid=valid,
        gt_crowd=gt_crowd,
        crowd_threshold=crowd_threshold,
    )
    labels = ops.where(ops.concatenate([is_proposal, own], axis=1), labels, -1)
    rows, labels = sample_balanced(labels, num_samples, positive_fraction, seed)
    boxes = take_rows_of_each(boxes, rows)
    matches = take_rows_of_each(matches, rows)
    gt_labels = _with_padding(ops.cast(gt_labels, "int32"), -1)
    classes = take_rows_of_each(gt_labels, matches) + 1
    return {
        "boxes": boxes,
        "matches": matches,
        "labels": labels,
        "classes": ops.where(labels == 1, classes, 0),
        "deltas": encode_boxes(take_rows_of_each(_with_padding(gt_boxes), matches), boxes, box_weights),
    }


def mask_targets(gt_masks, gt_boxes, boxes, matches, mask_size, image_size):
    """What the mask head should answer for each box: its object's mask inside the box.

    Args:
        gt_masks: (N, G, h, w), numbers within 0..1, or uint8 or bool of which what is not 0 is the object.
            Where (h, w) is the image's size they are masks of the whole image; otherwise each spans its own
            object's box.
        gt_boxes: float32 (N, G, 4), xyxy in pixels.
        boxes: float32 (N, F, 4).
        matches: int32 (N, F), rows of `gt_masks`.
        mask_size: (height, width) of the targets.
        image_size: (height, width) in pixels.

    Returns:
        float32 (N, F, height, width), 0 or 1: whether the object covers half of the bin or more.
    """
    if "float" not in str(gt_masks.dtype):
        gt_masks = ops.not_equal(gt_masks, 0)
    if gt_masks.shape[1] is None:
        gt_masks, gt_boxes = _with_padding(gt_masks, False), _with_padding(gt_boxes)
    spans = None if tuple(gt_masks.shape[2:]) == tuple(image_size) else gt_boxes
    shares = crop_masks(gt_masks, boxes, matches, mask_size, spans)
    return ops.cast(shares >= 0.5, "float32")


def _with_padding(ground_truth, value=0):
    """One row more: row 0 is asked for also where no image of a batch has an object, and G may be 0."""
    widths = [[0, 0], [0, 1], *[[0, 0]] * (len(ground_truth.shape) - 2)]
    return ops.pad(ground_truth, widths, constant_values=value)
