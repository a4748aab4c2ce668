"""Matching on PyTorch's GPUs: rows of ground truth by sixteens, for a turn of a loop costs its launches."""

import torch

from keras_seg.ops.boxes import box_coverage, box_iou

# A block of the matrix of IoUs: 34 MB for two images of 261,888 anchors, and some five such at a time.
_ROWS = 16


@torch.no_grad()
def overlaps_by_blocks(boxes, gt_boxes, valid, crowds, crowd_threshold, tie):
    """What `matching.overlaps_by_rows` returns, from blocks of rows, with the same rounding.

    Args:
        boxes: (..., A, 4).
        gt_boxes: (..., G, 4).
        valid, crowds: bool (..., G), or None.
        crowd_threshold, tie: float.
    """
    start = torch.zeros_like(boxes[..., 0] + gt_boxes[..., 0].sum(dim=-1, keepdim=True))
    best, matches = start - 1.0, start.int()
    is_best, in_crowd = start > 0, start > 0
    if 0 in (boxes.shape[-2], gt_boxes.shape[-2]):
        return best, matches, is_best, in_crowd
    for first in range(0, gt_boxes.shape[-2], _ROWS):
        rows = slice(first, first + _ROWS)
        some = gt_boxes[..., rows, :]
        counts, crowd = (None if mask is None else mask[..., None, rows] for mask in (valid, crowds))
        iou = box_iou(boxes, some)
        if counts is not None:
            iou = iou.where(counts, -1.0)
        if crowd is not None:
            covered = (box_coverage(boxes, some) > crowd_threshold) & crowd
            in_crowd |= (covered if counts is None else covered & counts).any(dim=-1)
            iou = iou.where(~crowd, -1.0)
        best_of_row = iou.amax(dim=-2, keepdim=True)
        is_best |= ((iou >= (1.0 - tie) * best_of_row) & (best_of_row > 0.0)).any(dim=-1)
        largest, row = iou.max(dim=-1)
        # Of equal values `max` may name any: the first is wanted.
        row = (iou == largest[..., None]).int().argmax(dim=-1).int()
        matches = torch.where(largest > best, row + first, matches)
        best = torch.maximum(best, largest)
    return best, matches, is_best, in_crowd
