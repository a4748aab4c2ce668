"""COCO's run-length encoding of masks, read and checked without a full-size mask being made.

Runs alternate between 0 and 1, beginning with 0, down the columns from left to right. pycocotools decodes to
full-size arrays, which for thousands of small objects in a large image is what takes the time, and does not
say what is wrong with a bad encoding; so reading is done here. Writing needs its compressed strings.
"""

import numpy as np

from keras_seg.utils.optional import import_optional


def mask_from_rle(rle, image_size):
    """The mask of an encoding, cut to its outer box.

    Args:
        rle: dict with "size", [height, width], and "counts": a list of runs, or a compressed str or bytes.
        image_size: (height, width) that the encoding must have.

    Returns:
        Pair: bool array (h, w), and its (top, left). (0, 0) and an empty array where the mask has no pixel.

    Raises:
        ValueError: no encoding, one of another size, or one whose runs do not add up to its size. The message
            is a phrase that goes on from the annotation's name.
    """
    if not isinstance(rle, dict) or "counts" not in rle or "size" not in rle:
        raise ValueError('has no RLE: a dict with "size" and "counts" is needed')
    if not isinstance(rle["size"], (list, tuple)) or list(rle["size"]) != list(image_size):
        raise ValueError(
            f"has an RLE of the size {rle['size']}, its image is {list(image_size)} (height, width)"
        )
    height, width = image_size
    runs = _runs(rle["counts"])
    # Each by itself too: the sum of very long ones goes round.
    if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise ValueError(
            f"has an RLE whose runs do not add up to its size: they span {runs.sum()} of {height * width} "
            "pixels"
        )
    ends = np.cumsum(runs)
    starts, ends = ends[:-1:2], ends[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return np.zeros((0, 0), bool), (0, 0)
    left, right = starts[0] // height, (ends[-1] - 1) // height + 1
    # A run that goes on into the next column covers the edges of both.
    spans_columns = starts // height != (ends - 1) // height
    top = 0 if spans_columns.any() else (starts % height).min()
    bottom = height if spans_columns.any() else ((ends - 1) % height).max() + 1
    steps = np.zeros((right - left) * height + 1, "int8")
    np.add.at(steps, starts - left * height, 1)
    np.add.at(steps, ends - left * height, -1)
    columns = np.cumsum(steps[:-1], dtype="int8").reshape(right - left, height)
    return np.ascontiguousarray(columns[:, top:bottom].T.astype(bool)), (int(top), int(left))


def mask_to_rle(mask, origin, image_size):
    """The compressed encoding of a mask that is given by its outer box.

    Args:
        mask: bool array (h, w).
        origin: (top, left) of its place in the image.
        image_size: (height, width).

    Returns:
        dict with "size" and "counts", as pycocotools has it: a list of two int and bytes.
    """
    height, width = (int(side) for side in image_size)
    # Runs of each column, by the places where its values change; then joined over column ends.
    changes = np.diff(np.pad(mask, ((1, 1), (0, 0))).astype("int8"), axis=0).T
    columns, rows = np.nonzero(changes == 1)
    starts = (columns + origin[1]) * height + rows + origin[0]
    columns, rows = np.nonzero(changes == -1)
    ends = (columns + origin[1]) * height + rows + origin[0]
    apart = starts[1:] > ends[:-1]
    edges = np.stack([starts[np.r_[True, apart]], ends[np.r_[apart, True]]], axis=1) if len(starts) else []
    edges = np.concatenate([[0], np.ravel(edges), [height * width]]).astype(int)
    runs = np.diff(edges).tolist()
    # No run follows an object that reaches the last pixel.
    runs = runs if runs[-1] else runs[:-1]
    coder = import_optional("pycocotools.mask", "COCO's compressed masks", extra="coco")
    return coder.frPyObjects({"size": [height, width], "counts": runs}, height, width)


def _runs(counts):
    """The lengths of the runs, int64."""
    if isinstance(counts, (str, bytes)):
        return _unpacked(counts.encode("ascii", "replace") if isinstance(counts, str) else counts)
    try:
        runs = np.asarray(counts, "float64")
    except (TypeError, ValueError, OverflowError):
        raise ValueError('has an RLE whose "counts" are no whole numbers') from None
    if runs.ndim != 1 or not np.isfinite(runs).all() or (runs % 1).any():
        raise ValueError('has an RLE whose "counts" are no whole numbers')
    return runs.astype("int64")


def _unpacked(text):
    """Runs from COCO's string: six bits a character from 48 on, low bits first, bit 5 for more to come, bit 4
    of the last the sign; from the fourth on each is the difference to the last but one."""
    codes = np.frombuffer(text, "uint8").astype("int64") - 48
    if not len(codes) or (codes < 0).any() or (codes > 63).any() or codes[-1] & 32:
        raise ValueError('has an RLE whose "counts" are cut off or no encoding')
    last = np.nonzero((codes & 32) == 0)[0]
    first = np.r_[0, last[:-1] + 1]
    place = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    if place.max() > 6:
        raise ValueError('has an RLE whose "counts" are cut off or no encoding')
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    values -= np.where(codes[last] & 16, 1 << (5 * (last - first + 1)), 0)
    # The sums begin at the second run: the third is still a length of its own.
    for start in (1, 2):
        values[start::2] = np.cumsum(values[start::2])
    return values
