"""Masks of boxes brought to the image's size, one at a time and only where the box is.

The rule is that of `keras_seg.ops.paste_masks`, which makes all canvases at once for use inside a network;
here no more than one mask is at the image's size at any time.
"""

import collections.abc

import numpy as np

from keras_seg.utils.validation import bad_argument, check_number, check_pair, check_rank

# Pixels pasted at once: their float32 values, 4 MB, stay in a processor's cache.
_CHUNK = 1 << 20


def paste_masks(masks, boxes, image_size, threshold=0.5):
    """Resize each mask to its box, on a canvas of the image's size, and cut it at a threshold.

    Equal to `keras_seg.ops.paste_masks(...) >= threshold` up to the last bit of the arithmetic, with a
    working memory of one mask's box. The result itself has D canvases; `PastedMasks` has none.

    Args:
        masks: (D, m, n), probabilities, as a detector gives them.
        boxes: (D, 4), xyxy in pixels of the image; may reach beyond it.
        image_size: (height, width), or one integer for both.
        threshold: float within 0..1, default 0.5. Pixels of at least this probability belong to the object.

    Returns:
        bool array (D, height, width).

    Raises:
        TypeError: a size that is not an integer.
        ValueError: an argument of a wrong shape, a threshold out of its range.

    Example:

        >>> paste_masks(np.ones((1, 28, 28)), [[4, 4, 20, 20]], (32, 48)).sum()
        256
    """
    pasted = PastedMasks(masks, boxes, image_size, threshold)
    canvases = np.zeros((len(pasted), *pasted.image_size), bool)
    for canvas, mask, (top, left) in zip(canvases, pasted, pasted.origins, strict=True):
        canvas[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return canvases


class PastedMasks(collections.abc.Sequence):
    """A sequence of masks cut to their boxes, each pasted when it is asked for and kept by nobody.

    Holds the small masks only, so that a hundred objects as large as a photograph of 12 megapixels take
    0.3 MB and not 1.2 GB. Pasting the same mask twice costs its time twice.

    Args:
        masks, boxes, image_size, threshold: as for `paste_masks`.

    Attributes:
        image_size: (height, width), pixels.
        origins: int64 (D, 2), (top, left) of each mask's first pixel in the image.
        sizes: int64 (D, 2), (height, width) of each mask, 0 where nothing of a box is inside the image.
    """

    def __init__(self, masks, boxes, image_size, threshold=0.5):
        masks, boxes = np.asarray(masks, "float32"), np.asarray(boxes, "float32")
        check_rank("masks", masks.shape, 3, "(D, m, n)")
        if boxes.shape != (len(masks), 4):
            raise bad_argument("boxes.shape", f"{(len(masks), 4)}, one box for each mask", boxes.shape)
        self.image_size = check_pair("image_size", image_size)
        self._masks, self._boxes = masks, boxes
        self._threshold = check_number("threshold", threshold, 0, 1)
        self.origins, self.sizes = _windows(boxes, masks.shape[1:], self.image_size)

    def __len__(self):
        return len(self._masks)

    def take(self, indices):
        """The masks at `indices`, integers (d,), as another such sequence."""
        return PastedMasks(self._masks[indices], self._boxes[indices], self.image_size, self._threshold)

    def __getitem__(self, index):
        """bool (h, w): the mask at `index` where its box is, from `origins[index]` on."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        mask, (x1, y1, x2, y2) = self._masks[index], self._boxes[index]
        (top, left), (height, width) = self.origins[index], self.sizes[index]
        pasted = np.zeros((height, width), bool)
        if pasted.size:
            rows = _resizing(y1, y2, mask.shape[0], top, height) @ mask
            columns = _resizing(x1, x2, mask.shape[1], left, width).T
            step = max(1, _CHUNK // width)
            for first in range(0, height, step):
                pasted[first : first + step] = rows[first : first + step] @ columns >= self._threshold
        return pasted


def _windows(boxes, mask_size, image_size):
    """Where pasted masks may be above 0: half a mask pixel around each box, inside the image."""
    low, high = boxes[:, 1::-1].astype("float64"), boxes[:, :1:-1].astype("float64")
    has_area = np.isfinite(boxes).all(1) & (high > low).all(1)
    low, high = (np.where(has_area[:, None], ends, 0) for ends in (low, high))
    reach = (high - low) / mask_size / 2
    first = np.clip(np.floor(low - reach), 0, image_size).astype("int64")
    last = np.clip(np.ceil(high + reach), 0, image_size).astype("int64")
    return first, last - first


def _resizing(low, high, size, first, pixels):
    """The matrix that resizes `size` values to the span `low`..`high` of pixels from `first` on.

    In float32 and in the order of `keras_seg.ops.paste_masks`, so that both decide alike.
    """
    centres = np.arange(first, first + pixels, dtype="float32") + np.float32(0.5)
    places = (centres - low) / (high - low) * np.float32(size) - np.float32(0.5)
    distances = np.abs(places[:, None] - np.arange(size, dtype="float32"))
    return np.maximum(1 - distances, 0)
