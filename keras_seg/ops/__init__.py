"""Pure functions on tensors, on every backend: unpooling, RoIAlign, suppression, boxes and masks."""

from keras_seg.ops.anchors import anchor_boxes
from keras_seg.ops.box_coding import decode_boxes, encode_boxes
from keras_seg.ops.boxes import box_area, box_coverage, box_iou, clip_boxes
from keras_seg.ops.fast.dispatch import portable
from keras_seg.ops.masks import crop_masks, masks_to_boxes, paste_masks
from keras_seg.ops.matching import match_boxes, sample_balanced
from keras_seg.ops.pyramid_levels import assign_pyramid_levels
from keras_seg.ops.roi_alignment import multilevel_roi_align, roi_align
from keras_seg.ops.roi_pooling import multilevel_roi_pool, roi_pool
from keras_seg.ops.suppression import batched_nms, gather_kept, nms
from keras_seg.ops.unpooling import max_pool_with_argmax, max_unpool

__all__ = [
    "anchor_boxes",
    "assign_pyramid_levels",
    "batched_nms",
    "box_area",
    "box_coverage",
    "box_iou",
    "clip_boxes",
    "crop_masks",
    "decode_boxes",
    "encode_boxes",
    "gather_kept",
    "masks_to_boxes",
    "match_boxes",
    "max_pool_with_argmax",
    "max_unpool",
    "multilevel_roi_align",
    "multilevel_roi_pool",
    "nms",
    "paste_masks",
    "portable",
    "roi_align",
    "roi_pool",
    "sample_balanced",
]
