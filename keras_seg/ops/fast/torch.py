"""Native forms of the ops on PyTorch, where they beat the portable ones."""

import torch

from keras_seg.ops.fast import (
    matching_torch,
    normalization_torch,
    parts_torch,
    pooling_torch,
    roi_torch,
    suppression_torch,
)
from keras_seg.ops.fast.devices import on_accelerator
from keras_seg.ops.fast.dispatch import Native
from keras_seg.utils.validation import bad_argument


def _bags_serve(sampling_ratio, channels):
    """Where RoIAlign's sparse matrix serves: not on Apple's GPUs, which lack `embedding_bag`."""
    return not torch.backends.mps.is_available() and sampling_ratio <= 3


def _pool_serves(windows, size):
    """Where PyTorch's kernel can leave out the padding that is wanted."""
    return pooling_torch.even_padding(size, *windows) is not None


def _labels_below(labels, limit, name, expected, fix):
    if labels.numel() and int(labels.max()) >= limit:
        raise bad_argument(name, expected, int(labels.max()), fix)
    return labels


NATIVE = {
    "add_numbers": Native(roi_torch.add_numbers),
    "add_rows": Native(roi_torch.add_rows),
    "bag_largest": Native(roi_torch.bag_largest, roi_torch.largest_serve),
    "bag_maxima": Native(roi_torch.bag_maxima, lambda: not torch.backends.mps.is_available()),
    "bag_sums": Native(roi_torch.bag_sums, _bags_serve),
    "bag_sums_gradient": Native(roi_torch.bag_sums_gradient, _bags_serve),
    "batch_normalization": Native(normalization_torch.batch_normalization),
    "in_parts": Native(parts_torch.in_parts, lambda: not on_accelerator()),
    "labels_below": Native(_labels_below),
    "max_pool_with_argmax": Native(pooling_torch.max_pool_with_argmax, _pool_serves),
    "max_unpool": Native(pooling_torch.max_unpool),
    "nms": Native(suppression_torch.kept_by_pairs),
    "overlaps": Native(matching_torch.overlaps_by_blocks, on_accelerator),
    "slice_bound": Native(int),
}
