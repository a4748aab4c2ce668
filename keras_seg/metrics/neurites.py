"""Scores of the ISBI 2012 challenge (membranes in electron microscopy): pixel error, V_Rand and V_Info.

A map says where cells are: 1 inside a cell, 0 on a membrane. It is cut at thresholds 0, 0.1 .. 0.9, and the
best score over them counts, one threshold for a whole stack. Slices are scored in two dimensions.

Reference: Arganda-Carreras et al., 2015, doi 10.3389/fnana.2015.00142. The rules that the paper leaves open
are those of the challenge's evaluation program (Fiji, Trainable Segmentation): cells are 4-connected, a pixel
is cell where its value is above the threshold, only the prediction's borders are thinned, and pixels on the
border lines that remain are segments of their own.
"""

import numpy as np

from keras_seg.metrics.partitions import information_score, rand_score, segment_overlaps
from keras_seg.utils.validation import bad_argument

# At 1 no value is above and all is membrane, whatever the map.
THRESHOLDS = tuple(tenth / 10 for tenth in range(10))


def pixel_error(truth, probability, thresholds=THRESHOLDS):
    """One minus the best F-score of cell pixels; cell is the positive class, membrane the negative one.

    Args:
        truth: (H, W) or (S, H, W), 0 on membranes, above 0 (1, 255 or True) in cells.
        probability: of cell, the same shape: floats in 0..1, booleans, uint8 in 0..255, or
            0 and 1 of any type.
        thresholds: sequence of floats in 0..1, default 0, 0.1 .. 0.9.

    Returns:
        float in 0..1, 0 is perfect.

    Raises:
        ValueError: shapes differ, a value is outside 0..1 or NaN, the truth has no cell, no thresholds.

    Example:
        >>> pixel_error([[0, 1, 1]], [[0.1, 0.9, 0.2]])
        0.0
    """
    truth, probability = _checked(truth, probability, thresholds)
    best = 0.0
    for threshold in thresholds:
        cells = probability > threshold
        hits = np.count_nonzero(cells & truth)
        best = max(best, 2 * hits / (np.count_nonzero(cells) + np.count_nonzero(truth)))
    return float(1.0 - best)


def v_rand(truth, probability, thresholds=THRESHOLDS, thin=True):
    """Foreground-restricted Rand score after thinning, the challenge's ranking score.

    Falls with every pair of pixels that are wrongly in one segment or in two: a merger of two large cells
    costs much, a thicker membrane next to nothing.

    Args:
        truth: (H, W) or (S, H, W), 0 on membranes, above 0 in cells. Membrane pixels are left out.
        probability: of cell, as in `pixel_error`.
        thresholds: sequence of floats in 0..1, default 0, 0.1 .. 0.9.
        thin: bool, default True. False scores the map's components with borders as thick as they are.

    Returns:
        float in 0..1, 1 is perfect; the truth scored against itself is exactly 1.0. Pairs are summed over the
        slices of a stack.

    Raises:
        ValueError: as `pixel_error`; also a slice of the truth without a cell.

    Example:
        >>> v_rand([[1, 0, 1]], [[0.9, 0.9, 0.9]])  # two cells merged
        0.6666666666666666
    """
    return neurite_scores(truth, probability, thresholds, thin)["v_rand"]


def v_info(truth, probability, thresholds=THRESHOLDS, thin=True):
    """Foreground-restricted information score after thinning: the F-score of split and merge information.

    Args, Raises: as `v_rand`.

    Returns:
        float in 0..1, 1 is perfect; the truth scored against itself is exactly 1.0. The mean over the slices
        of a stack. 0 is a map that joins everything; one that is all membrane has twice the share of
        H(S) in H(S) + log n for n cell pixels, about 0.5 on ISBI 2012.
    """
    return neurite_scores(truth, probability, thresholds, thin)["v_info"]


def neurite_scores(truth, probability, thresholds=THRESHOLDS, thin=True):
    """V_Rand, V_Info and pixel error together, for the price of one: thinning is what takes the time.

    Args, Raises: as `v_rand`.

    Returns:
        dict of floats: "v_rand", "v_rand_threshold", "v_info", "v_info_threshold" (the thresholds of the
        best) and "pixel_error".
    """
    truth, probability = _checked(truth, probability, thresholds)
    true_labels = [_components(cells) for cells in truth]
    best = {"v_rand": (-1.0, None), "v_info": (-1.0, None)}
    previous = None
    for threshold in thresholds:
        cells = probability > threshold
        # A binary map gives the same cells at nearly all thresholds.
        if previous is not None and np.array_equal(cells, previous):
            continue
        previous = cells
        segments = _border_segments if thin else _components
        overlaps = [segment_overlaps(*pair) for pair in zip(true_labels, map(segments, cells), strict=True)]
        for name, score in (("v_rand", rand_score(overlaps)), ("v_info", information_score(overlaps))):
            best[name] = max(best[name], (score, threshold), key=lambda entry: entry[0])
    scores = {"pixel_error": pixel_error(truth, probability, thresholds)}
    for name, (score, threshold) in best.items():
        scores[name] = score
        scores[f"{name}_threshold"] = float(threshold)
    return scores


def thin_borders(cells):
    """A binary cell map whose membranes are thinned to lines one pixel wide that part the same cells.

    Each 4-connected cell is a marker and grows into the membranes by a watershed of the distance to the
    nearest cell; where two cells meet, a line stays. So no two cells ever join, cells keep every pixel that
    they have, and membrane that parts nothing (a dangling end, a blob within a cell) vanishes. A skeleton of
    the membranes does not serve: its ends draw back from the image's border by half the membrane's width,
    neighbours join around the end, and a perfect map scores V_Rand 0.36 to 0.91 on the slices of ISBI 2012.

    Args:
        cells: (H, W), above 0 in cells.

    Returns:
        bool (H, W), False on the lines. All False where there is no cell.
    """
    return _border_segments(np.asarray(cells) > 0) > 0


def _components(cells):
    from skimage.measure import label

    return label(cells, connectivity=1)


def _border_segments(cells):
    """Labels (H, W) of the cells grown over their membranes; 0 on the lines between them."""
    from scipy.ndimage import distance_transform_edt
    from skimage.segmentation import watershed

    markers = _components(cells)
    if not markers.any():
        return markers
    grown = watershed(distance_transform_edt(~cells), markers, watershed_line=True)
    # Where four cells meet, the pixel between the lines' ends can be left over: it belongs to no cell.
    pieces = _components(grown > 0)
    return np.where(np.isin(pieces, pieces[cells]), pieces, 0)


def _checked(truth, probability, thresholds):
    """Truth as booleans and probability as floats in 0..1, both (S, H, W)."""
    truth, probability = np.asarray(truth) > 0, np.asarray(probability)
    if truth.shape != probability.shape or truth.ndim not in (2, 3):
        raise bad_argument(
            "probability.shape",
            f"(H, W) or (S, H, W) and that of the truth, {truth.shape}",
            probability.shape,
        )
    if not truth.any():
        raise bad_argument("truth", "a map with cells, above 0", "all membrane")
    if len(thresholds) == 0:
        raise bad_argument("thresholds", "at least one float in 0..1", thresholds)
    if probability.dtype == np.uint8 and probability.max() > 1:
        probability = probability / 255.0
    probability = probability.astype(np.float64)
    # Written so that NaN fails too.
    if not ((probability >= 0) & (probability <= 1)).all():
        raise bad_argument(
            "probability",
            "within 0..1 (uint8: 0..255) and not NaN",
            f"values from {np.min(probability)} to {np.max(probability)}",
        )
    if truth.ndim == 2:
        truth, probability = truth[None], probability[None]
    return truth, probability
