"""Agreement of two partitions of the same pixels into segments: the Rand and the information score.

Reference: Arganda-Carreras et al., 2015, Crowdsourcing the creation of image segmentation algorithms for
connectomics, doi 10.3389/fnana.2015.00142, "foreground-restricted" V_Rand and V_Info with alpha = 1/2.
"""

import math
from dataclasses import dataclass

import numpy as np

from keras_seg.utils.validation import bad_argument


@dataclass(frozen=True)
class Overlaps:
    """Sizes in pixels of one image's segments over the true foreground.

    Attributes:
        truth: int64, sizes of the true segments, s_i.
        prediction: int64, sizes of the predicted segments, t_j.
        joint: int64, sizes of the overlaps that are not empty, n_ij.

    A foreground pixel that the prediction gives to no segment is a segment of its own, one pixel large, in
    `prediction` and in `joint`: the rule of the challenge's own evaluation program.
    """

    truth: np.ndarray
    prediction: np.ndarray
    joint: np.ndarray


def segment_overlaps(truth, prediction):
    """Segment sizes of two label maps, over the pixels where the truth has a segment.

    Args:
        truth: integer label map, 0 is background and left out.
        prediction: integer label map of the same shape, 0 is no segment.

    Raises:
        ValueError: shapes differ, or the truth has no segment.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise bad_argument("prediction.shape", f"that of the truth, {truth.shape}", prediction.shape)
    foreground = truth > 0
    if not foreground.any():
        raise bad_argument("truth", "a map with at least one segment", "all background")
    _, true_ids = np.unique(truth[foreground], return_inverse=True)
    labels, predicted_ids = np.unique(prediction[foreground], return_inverse=True)
    joint = true_ids.astype(np.int64) * len(labels) + predicted_ids
    assigned = prediction[foreground] > 0
    alone = np.ones(np.count_nonzero(~assigned), np.int64)
    return Overlaps(
        truth=np.bincount(true_ids),
        prediction=np.concatenate([_sizes(predicted_ids[assigned]), alone]),
        joint=np.concatenate([_sizes(joint[assigned]), alone]),
    )


def rand_score(overlaps):
    """V_Rand of a list of images: pairs of pixels are taken within an image and summed over images.

    V_Rand = sum n_ij^2 / (sum s_i^2 / 2 + sum t_j^2 / 2), the F-score of pairs of pixels that are in one
    segment. Equal partitions give exactly 1.0: the sums are of integers.
    """
    joint, truth, prediction = (
        sum(_sum_of_squares(getattr(image, part)) for image in overlaps)
        for part in ("joint", "truth", "prediction")
    )
    return 2 * joint / (truth + prediction)


def information_score(overlaps):
    """V_Info of a list of images: the mean over images of I(S; T) / (H(S) / 2 + H(T) / 2).

    Equal partitions give exactly 1.0, also a single segment against a single segment, where both entropies
    are 0. `math.fsum` makes the sums independent of the segments' order.
    """
    return math.fsum(_information(image) for image in overlaps) / len(overlaps)


def _information(image):
    truth, prediction, joint = (_entropy(sizes) for sizes in (image.truth, image.prediction, image.joint))
    if truth + prediction == 0:
        return 1.0
    # Independent partitions can come out a rounding below 0.
    return max(0.0, 2 * (truth + prediction - joint) / (truth + prediction))


def _sizes(ids):
    return np.unique(ids, return_counts=True)[1]


def _sum_of_squares(sizes):
    return int(np.dot(sizes, sizes))


def _entropy(sizes):
    total = int(sizes.sum())
    shares = sizes / total
    return -math.fsum(shares * np.log(shares))
