"""From the outputs of a region proposal network to the boxes that the heads look at.

Letters: N images, A_k anchors of level k, P proposals of an image.
"""

import math

import numpy as np
from keras import ops

from keras_seg.ops.box_coding import decode_boxes
from keras_seg.ops.boxes import clip_boxes, shortest_side
from keras_seg.ops.row_gather import take_rows, take_rows_of_each
from keras_seg.ops.suppression import batched_nms, gather_kept


def select_proposals(
    logits,
    deltas,
    anchors,
    image_size,
    *,
    pre_nms=1000,
    max_proposals=1000,
    iou_threshold=0.7,
    min_side=1e-3,
):
    """The best boxes of every level, without near duplicates, as one fixed number an image.

    Of each level the `pre_nms` best anchors by logit are decoded and clipped to the image; suppression runs
    within each level; the best `max_proposals` of all levels together remain.

    Reference:
        Ren et al., 2015, Faster R-CNN, section 3.3; Lin et al., 2017, Feature Pyramid Networks, section 4.1.
        The numbers are torchvision's: 1000 and 1000 for prediction, 2000 and 2000 for training.

    Args:
        logits: list of float32 (N, A_k), objectness of each level's anchors before the sigmoid.
        deltas: list of float32 (N, A_k, 4).
        anchors: list of float32 (A_k, 4), xyxy in pixels.
        image_size: (height, width) in pixels.
        pre_nms: int. Anchors of a level that are decoded at all.
        max_proposals: int. P.
        iou_threshold: float within 0..1, of the suppression.
        min_side: float, pixels. Boxes with a shorter side are left out.

    Returns:
        boxes: float32 (N, P, 4), best first; zeros in rows without a proposal. No gradient flows back.
        scores: float32 (N, P), logits; -inf in rows without a proposal.

    Example:
        >>> boxes, scores = select_proposals([logits], [deltas], [anchors], (512, 512), max_proposals=300)
    """
    best = [_best_of_level(*level, pre_nms) for level in zip(logits, deltas, anchors, strict=True)]
    scores, deltas, anchors = (ops.concatenate(parts, axis=1) for parts in zip(*best, strict=True))
    levels = np.repeat(np.arange(len(best), dtype="int32"), [level.shape[1] for level, _, _ in best])
    boxes = clip_boxes(decode_boxes(deltas, anchors), image_size)
    scores = ops.where(shortest_side(boxes) >= min_side, scores, -math.inf)
    levels = ops.broadcast_to(levels, ops.shape(scores))
    kept, _ = batched_nms(boxes, scores, levels, iou_threshold, max_proposals)
    return gather_kept(boxes, kept), gather_kept(scores, kept, padding=-math.inf)


def _best_of_level(logits, deltas, anchors, pre_nms):
    """Logits (N, k), deltas and boxes (N, k, 4) of the level's best anchors."""
    logits, deltas = (ops.stop_gradient(ops.convert_to_tensor(values)) for values in (logits, deltas))
    scores, rows = ops.top_k(logits, min(pre_nms, logits.shape[1]))
    return scores, take_rows_of_each(deltas, rows), take_rows(ops.convert_to_tensor(anchors), rows)
