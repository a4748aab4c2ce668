"""Weights of single pixels: U-Net's border weight map, and balance of rare and frequent classes.

Source: Ronneberger, Fischer, Brox, U-Net, 2015, equation 2.
"""

import math

import numpy as np

from keras_seg.data.errors import DataError
from keras_seg.utils.validation import bad_argument, check_number, check_rank

_NEGLIGIBLE = 1e-6


def border_weight_map(mask_or_instances, w0=10.0, sigma=5.0, balance=True):
    """U-Net's weight map: heavy on the thin background between cells that nearly touch.

    w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), where d1 and d2 are the distances in pixels to
    the nearest and the second nearest cell (equation 2). The second term is given to background pixels only:
    it is there "to force the network to learn the small separation borders", and within a cell it would also
    weigh the cell's own rim. Parts of it below 1e-6 are left out, so only pixels near two cells cost time.

    Args:
        mask_or_instances: integer or bool array (H, W). With at most one value besides 0 it is a binary mask,
            and its components (connected sideways, up and down) are the cells; otherwise each value but 0 is
            one cell. Cells need background between them: two that touch have nothing to weigh.
        w0: float. Height of the border term.
        sigma: float, pixels. Its width.
        balance: bool. True: w_c gives cells and background equal sums, with mean 1 over the image. False:
            w_c is 1.

    Returns:
        float32 array (H, W).

    Example:

        source = keras_seg.data.open_source("isbi:data/isbi2012")
        weights = border_weight_map(source.read(0)[1])
    """
    cells = np.asarray(mask_or_instances)
    check_rank("mask_or_instances", cells.shape, 2, "(H, W)")
    if cells.dtype.kind not in "bui":
        raise bad_argument("mask_or_instances", "an array of integers", cells.dtype, error=TypeError)
    check_number("w0", w0, 0)
    if check_number("sigma", sigma, 0) == 0:
        raise bad_argument("sigma", "a positive number", sigma)
    weights = border_term(cells, w0, sigma)
    return weights + (class_balance(cells != 0) if balance else np.float32(1))


def border_term(cells, w0=10.0, sigma=5.0):
    """The second term of equation 2, float32 (H, W); `cells` as for `border_weight_map`."""
    from scipy import ndimage

    cells = _instances(cells)
    reach = sigma * math.sqrt(2 * max(0.0, math.log(max(w0, _NEGLIGIBLE) / _NEGLIGIBLE)))
    margin = math.ceil(reach)
    nearest, second = np.full((2, *cells.shape), np.inf, "float32")
    for number, box in enumerate(ndimage.find_objects(cells), start=1):
        if box is None:
            continue
        window = tuple(slice(max(0, part.start - margin), part.stop + margin) for part in box)
        distance = ndimage.distance_transform_edt(cells[window] != number).astype("float32")
        low, high = nearest[window], second[window]
        # Three numbers, of which the two smallest stay.
        np.minimum(high, np.maximum(low, distance), out=high)
        np.minimum(low, distance, out=low)
    term = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return np.where(cells == 0, term, 0).astype("float32")


def class_balance(classes, ignore_class=None):
    """Weights that give each class present the same sum, with mean 1 over the pixels that count.

    Args:
        classes: integer or bool array (H, W).
        ignore_class: int or None. Its pixels get 0.

    Returns:
        float32 array (H, W).
    """
    present, places, counts = np.unique(classes, return_inverse=True, return_counts=True)
    counted = np.ones(len(present), bool) if ignore_class is None else present != ignore_class
    shares = counts[counted].sum() / (max(1, counted.sum()) * counts)
    return np.where(counted, shares, 0)[places].reshape(classes.shape).astype("float32")


def median_frequency_weights(class_pixels, class_areas):
    """One weight for each class: the median frequency over the class's own, 0 for a class never seen.

    A class's frequency is its pixels over all pixels of the images that have it. Source: Eigen and Fergus
    2015, section 6.3.2; used for CamVid by SegNet.

    Args:
        class_pixels: integer array (K,).
        class_areas: integer array (K,), labelled pixels of the images that have any of the class.

    Returns:
        float32 array (K,).
    """
    seen = class_pixels > 0
    if not seen.any():
        raise DataError("No pixel of any class: the masks are wholly ignored, so classes cannot be balanced.")
    frequencies = class_pixels[seen] / class_areas[seen]
    weights = np.zeros(len(class_pixels), "float32")
    weights[seen] = np.median(frequencies) / frequencies
    return weights


def _instances(cells):
    """Instance ids 1 to n, from a binary mask by connected components or from ids with gaps."""
    from scipy import ndimage

    values = np.unique(cells)
    if len(values[values != 0]) <= 1:
        return ndimage.label(cells != 0)[0]
    return np.searchsorted(values[values != 0], cells) * (cells != 0) + (cells != 0)
