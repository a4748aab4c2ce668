"""Scores of a finished confusion matrix, in NumPy and float64: what reports and `evaluate` print."""

import numpy as np

from keras_seg.utils.validation import bad_argument


def scores_from_matrix(matrix, class_names=None):
    """Every score of a confusion matrix, as plain floats.

    With n_ij pixels of true class i predicted as j, t_i = sum_j n_ij and u_i = t_i + sum_j n_ji - n_ii:
    pixel accuracy sum n_ii / sum t_i; mean accuracy, the mean of n_ii / t_i over classes with t_i > 0; mean
    IoU, the mean of n_ii / u_i over classes with u_i > 0; frequency-weighted IoU
    sum t_i (n_ii / u_i) / sum t_i.

    Reference: Long, Shelhamer, Darrell, 2015, Fully Convolutional Networks, section 5; absent classes are
    left out as in its `score.py`.

    Args:
        matrix: (K, K) counts, rows are true classes, columns predicted ones.
        class_names: sequence of K strings, or None (default) for "0" .. "K-1".

    Returns:
        dict of str to float: "pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou", and for
        each class "iou/NAME" and "accuracy/NAME"; NaN where nothing was counted.

    Raises:
        ValueError: a matrix that is not square or has negative counts, or a wrong number of names.

    Example:
        >>> scores_from_matrix([[3, 1], [0, 4]])["mean_iou"]
        0.775
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise bad_argument("matrix.shape", "(K, K)", matrix.shape)
    if (matrix < 0).any():
        raise bad_argument("matrix", "counts of at least 0", int(matrix.min()))
    names = [str(index) for index in range(len(matrix))] if class_names is None else list(class_names)
    if len(names) != len(matrix):
        raise bad_argument("class_names", f"{len(matrix)} names, one for each class", class_names)

    right, truth = np.diagonal(matrix), matrix.sum(axis=1)
    accuracy = _ratio(right, truth)
    iou = _ratio(right, truth + matrix.sum(axis=0) - right)
    present = truth > 0
    scores = {
        "pixel_accuracy": _ratio(right.sum(), truth.sum()),
        "mean_accuracy": _mean_of_numbers(accuracy),
        "mean_iou": _mean_of_numbers(iou),
        "frequency_weighted_iou": _ratio((truth[present] * iou[present]).sum(), truth.sum()),
    }
    scores.update({f"iou/{name}": value for name, value in zip(names, iou, strict=True)})
    scores.update({f"accuracy/{name}": value for name, value in zip(names, accuracy, strict=True)})
    return {name: float(value) for name, value in scores.items()}


def _ratio(part, whole):
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean_of_numbers(values):
    known = values[~np.isnan(values)]
    return known.mean() if known.size else np.nan
