"""From the outputs of the box head to detections: scored, without duplicates, a fixed number an image.

Letters: N images, P proposals, K object classes, D detections.
"""

import math

from keras import ops

from keras_seg.ops.box_coding import decode_boxes
from keras_seg.ops.boxes import clip_boxes, shortest_side
from keras_seg.ops.row_gather import take_rows_of_each
from keras_seg.ops.suppression import batched_nms, gather_kept

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def select_detections(
    class_logits,
    box_deltas,
    proposals,
    is_proposal,
    image_size,
    *,
    score_threshold=0.05,
    iou_threshold=0.5,
    max_detections=100,
    box_weights=BOX_WEIGHTS,
    max_candidates=5000,
    min_side=1e-2,
):
    """Decode every class's box of every proposal, and keep the best by suppression within each class.

    Reference:
        He et al., 2017, Mask R-CNN, section 3.1; the numbers are torchvision's and Detectron's.

    Args:
        class_logits: float32 (N, P, K + 1), background first.
        box_deltas: float32 (N, P, K + 1, 4), by class; those of background are not used.
        proposals: float32 (N, P, 4), xyxy in pixels.
        is_proposal: bool (N, P), false in padding rows.
        image_size: (height, width) in pixels.
        score_threshold: float within 0..1. A detection's probability is above it.
        iou_threshold: float within 0..1, of the suppression.
        max_detections: int. D.
        box_weights: four numbers, see `keras_seg.ops.decode_boxes`.
        max_candidates: int. Only so many of the best scores of an image go into the suppression, which
            changes nothing unless more than that are above the threshold and fewer than `max_detections` of
            the best remain.
        min_side: float, pixels. Boxes with a shorter side are left out.

    Returns:
        dict: "boxes" float32 (N, D, 4), xyxy in pixels, best first; "labels" int32 (N, D), 0..K-1, -1 in
        padding rows; "scores" float32 (N, D), 0 in padding rows; "num_detections" int32 (N,).
    """
    count, classes = class_logits.shape[1], class_logits.shape[2] - 1
    scores = ops.softmax(class_logits, axis=-1)[..., 1:]
    usable = ops.logical_and(is_proposal[..., None], scores > score_threshold)
    scores = ops.reshape(ops.where(usable, scores, -math.inf), (-1, count * classes))

    scores, places = ops.top_k(scores, min(max_candidates, count * classes))
    places = ops.cast(places, "int32")
    rows, labels = places // classes, places % classes
    deltas = ops.reshape(box_deltas, (-1, count * (classes + 1), 4))
    deltas = take_rows_of_each(deltas, rows * (classes + 1) + labels + 1)
    boxes = decode_boxes(deltas, take_rows_of_each(proposals, rows), box_weights)
    boxes = clip_boxes(boxes, image_size)

    scores = ops.where(shortest_side(boxes) >= min_side, scores, -math.inf)
    kept, num_detections = batched_nms(boxes, scores, labels, iou_threshold, max_detections)
    return {
        "boxes": gather_kept(boxes, kept),
        "labels": gather_kept(labels, kept, padding=-1),
        "scores": gather_kept(scores, kept),
        "num_detections": num_detections,
    }
