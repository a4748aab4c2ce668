"""Average precision of instance label maps over IoU thresholds, as nuclei benchmarks count it."""

import numpy as np

from keras_seg.utils.validation import bad_argument, check_choice

THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))


def average_precision(truths, predictions, thresholds=THRESHOLDS, average="objects"):
    """TP / (TP + FP + FN) at each IoU threshold, and the mean over thresholds.

    A predicted instance is a true positive where its IoU with a true instance is above the threshold. Above
    one half no instance can match two (more than half of each lies in the other), so matching needs no
    search, and thresholds below one half are refused.

    References:
        Schmidt, Weigert, Broaddus, Myers, 2018, Cell Detection with Star-convex Polygons, section 3.
        Data Science Bowl 2018 (Kaggle), whose score is "ap" with `average="images"`.

    Args:
        truths: sequence of label maps (H, W), integers, 0 is background, every other id one instance.
        predictions: as many label maps, each of its truth's shape. Ids need not agree with the truth's.
        thresholds: sequence of floats within 0.5..1 (below 1), default 0.50, 0.55 .. 0.95.
        average: "objects" (default) sums TP, FP and FN over all images, as StarDist's table does;
            "images" averages each image's score, as Kaggle does. An image without any instance, true or
            predicted, adds nothing to the sums and scores 1 by itself.

    Returns:
        dict of floats: "ap50", "ap55" .. for each threshold in percent, and "ap", their mean. 1.0 where no
        image has an instance and none is predicted.

    Raises:
        ValueError: no images, numbers or shapes that differ, thresholds outside 0.5..1, an unknown `average`.
        TypeError: a label map that is not of integers.

    Example:
        >>> average_precision([truth], [truth])["ap"]
        1.0
    """
    check_choice("average", average, ("objects", "images"))
    truths, predictions = list(truths), list(predictions)
    if not truths or len(truths) != len(predictions):
        raise bad_argument(
            "predictions", f"as many label maps as truths, {len(truths)} and at least 1", len(predictions)
        )
    thresholds = np.asarray(thresholds, np.float64)
    if thresholds.ndim != 1 or not thresholds.size or not ((thresholds >= 0.5) & (thresholds < 1)).all():
        raise bad_argument("thresholds", "floats within 0.5..1, below 1", thresholds.tolist())

    counts = [
        instance_matches(truth, prediction, thresholds)
        for truth, prediction in zip(truths, predictions, strict=True)
    ]
    return precision_of_matches(counts, thresholds, average)


def precision_of_matches(counts, thresholds=THRESHOLDS, average="objects"):
    """`average_precision` of images that were counted one by one, so that no map has to be kept.

    Args:
        counts: sequence of what `instance_matches` gave for each image, at least one.
        thresholds: those that it was given.
        average: "objects" or "images".

    Returns:
        dict of floats, as of `average_precision`.
    """
    hits, candidates = map(np.array, zip(*counts, strict=True))
    candidates = candidates[:, None]
    if average == "objects":
        hits, candidates = hits.sum(axis=0, keepdims=True), candidates.sum(axis=0, keepdims=True)
    # TP + FP + FN is all instances, true and predicted, with each matched pair once.
    union = candidates - hits
    precision = np.where(union > 0, hits / np.maximum(union, 1), 1.0).mean(axis=0)
    names = [f"ap{round(100 * threshold)}" for threshold in thresholds]
    return {**dict(zip(names, precision.tolist(), strict=True)), "ap": float(precision.mean())}


def instance_overlaps(truth, prediction):
    """IoU of every true with every predicted instance of one image.

    Args:
        truth, prediction: label maps (H, W), integers, 0 is background.

    Returns:
        float64 (T, P), rows and columns in the order of rising ids.
    """
    truth, prediction = _labels("truths", truth), _labels("predictions", prediction)
    if truth.shape != prediction.shape:
        raise bad_argument(
            "predictions", f"label maps of their truths' shapes, here {truth.shape}", prediction.shape
        )
    true_ids, truth = np.unique(truth, return_inverse=True)
    predicted_ids, prediction = np.unique(prediction, return_inverse=True)
    columns = len(predicted_ids)
    counts = np.bincount(truth.ravel() * columns + prediction.ravel(), minlength=len(true_ids) * columns)
    shared = counts.reshape(len(true_ids), columns)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    return (shared / union)[true_ids != 0][:, predicted_ids != 0]


def instance_matches(truth, prediction, thresholds=THRESHOLDS):
    """How many instances of one image were found.

    Args:
        truth, prediction: label maps (H, W), integers, 0 is background.
        thresholds: sequence of floats within 0.5..1 (below 1).

    Returns:
        Pair: true positives at each threshold, int64 (thresholds,), and the number of instances, true and
        predicted together.
    """
    iou = instance_overlaps(truth, prediction)
    hits = (iou[..., None] > np.asarray(thresholds)).sum(axis=(0, 1))
    return hits, sum(iou.shape)


def _labels(name, labels):
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise bad_argument(name, "label maps of integers", labels.dtype, error=TypeError)
    if labels.ndim != 2:
        raise bad_argument(name, "label maps (H, W)", labels.shape)
    return labels
