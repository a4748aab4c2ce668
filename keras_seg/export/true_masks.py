"""What an export costs in quality: mean IU against true masks, of `predict` and of the file."""

import numpy as np

from keras_seg.export import check
from keras_seg.utils.validation import bad_argument


def prepare_masks(masks, images):
    """True masks of the check's images, a list of int32 arrays (h, w), or None.

    Raises:
        ValueError: not one integer mask of the image's size for each image.
    """
    if masks is None:
        return None
    prepared = [np.asarray(mask) for mask in masks]
    sizes = [image.shape[:2] for image in images]
    if [mask.shape for mask in prepared] != sizes:
        received = [mask.shape for mask in prepared]
        raise bad_argument("check_masks", f"one mask for each of `check_images`, of sizes {sizes}", received)
    if any(mask.dtype.kind not in "iu" for mask in prepared):
        raise bad_argument("check_masks", "integer class ids", [str(mask.dtype) for mask in prepared])
    return [mask.astype("int32") for mask in prepared]


def mean_iou_of(masks, rules, batches, served):
    """Mean IU of the batches' logits against true masks.

    Args:
        masks: list of int32 (h, w), one an image. A value that is no class is ignored.
        rules: pair of SizeRule, height and width.
        batches: list of logits (n, h, w, K), as `check.ask` has grouped the images.
        served: list of logits of the same shapes, from the file.

    Returns:
        (mean IU of `batches`, mean IU of `served`).
    """
    num_classes = batches[0].shape[-1]
    places = _places([mask.shape for mask in masks], rules)
    return tuple(
        check.mean_iou(
            [_decided(mask, logits[i][j], rules) for mask, (i, j) in zip(masks, places, strict=True)],
            num_classes,
        )
        for logits in (batches, served)
    )


def _places(sizes, rules):
    """(batch, index in it) of each image: those of one fitted size are a batch, in order of the first."""
    fitted = [tuple(sum(rule.plan(side)) for rule, side in zip(rules, size, strict=True)) for size in sizes]
    order = list(dict.fromkeys(fitted))
    return [(order.index(size), fitted[:i].count(size)) for i, size in enumerate(fitted)]


def _decided(mask, logits, rules):
    """The true classes and the logits of an image's pixels that count, as `check.mean_iou` takes them."""
    logits = check.unfit(logits, rules, mask.shape)
    counts = (mask >= 0) & (mask < max(logits.shape[-1], 2))
    return mask[counts], logits[counts]
