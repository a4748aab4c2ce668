"""Suppression in PyTorch: by pairs of boxes near each other, found in a grid."""

import torch

from keras_seg.ops.suppression_pairs import STRIDE, pair_rows, places_of

# As on TensorFlow: few boxes of an image in the first round, four times as many in each later one.
FIRST_ROUND = 256
# Most pairs of one round, which bounds memory: about 80 bytes a pair.
PAIRS = 2**19


@torch.no_grad()
def kept_by_pairs(boxes, valid, classes, iou_threshold, max_output):
    """`kept_by_tiles`, with the same arguments and results, for shapes that are known only at run time."""
    rows = pair_rows(boxes, valid, classes, iou_threshold)
    images = valid.shape[0]
    kept = valid.T.reshape(-1).clone()
    waiting = torch.nonzero(rows.active)[:, 0]
    taken = torch.zeros(images, dtype=torch.int64, device=boxes.device)
    limit = FIRST_ROUND * images
    while len(waiting):
        head, first, second = _overlapping(rows, waiting, limit, iou_threshold)
        stays = _settle(first, second, len(waiting))
        kept[waiting[~stays]] = False
        taken += torch.bincount(rows.image[waiting[:head][stays[:head]]], minlength=images)
        waiting = waiting[head:][stays[head:]]
        waiting = waiting[taken[rows.image[waiting]] < max_output]
        limit *= 4
    return places_of(kept, images, max_output)


def _overlapping(rows, waiting, limit, iou_threshold):
    """How many waiting rows are decided now, and the pairs (first, second) where the first drops the second.

    The pairs are numbers of waiting rows; `first` is one of those that are decided now.
    """
    key, order = torch.sort(rows.key[waiting])
    head = waiting[:limit]
    strips = rows.strips[head]
    asker, which = _runs(torch.zeros_like(strips), strips)
    lowest = rows.lowest[head][asker] + which * STRIDE
    start = torch.searchsorted(key, lowest)
    stop = torch.searchsorted(key, lowest + rows.span[head][asker], right=True)

    pairs = (stop - start).cumsum(0)[strips.cumsum(0) - 1]
    decided = max(int(torch.searchsorted(pairs, PAIRS, right=True)), 1)
    windows = int(strips[:decided].sum())
    window, second = _runs(start[:windows], stop[:windows])
    first = asker[window]

    # By columns: PyTorch is slow on the strided ones of gathered rows.
    boxes = rows.boxes[waiting].T.contiguous()
    left1, top1, right1, bottom1, area1 = boxes.index_select(1, first)
    left2, top2, right2, bottom2, area2 = boxes[:, order].index_select(1, second)
    width = (torch.minimum(right1, right2) - torch.maximum(left1, left2)).clamp_(min=0)
    height = (torch.minimum(bottom1, bottom2) - torch.maximum(top1, top2)).clamp_(min=0)
    shared = width * height
    above = torch.nonzero(shared / (area1 + area2 - shared) > iou_threshold)[:, 0]
    first, second = first[above], order[second[above]]
    drops = first < second
    if rows.label is not None:
        label = rows.label[waiting]
        drops &= label[first] == label[second]
    return decided, first[drops], second[drops]


def _runs(start, stop):
    """The integers of all ranges start..stop one after the other, and for each the number of its range."""
    length = stop - start
    number = torch.repeat_interleave(length)
    return number, torch.arange(len(number), device=start.device) + (stop - length.cumsum(0))[number]


def _settle(first, second, size):
    """Which of `size` rows stay, bool: those that no row that stays drops. A few rounds on most images."""
    stays = torch.ones(size, dtype=torch.bool, device=first.device)
    while True:
        settled = torch.ones_like(stays)
        settled[second[stays[first]]] = False
        if torch.equal(settled, stays):
            return stays
        stays = settled
