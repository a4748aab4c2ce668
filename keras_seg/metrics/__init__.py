"""Metrics: class scores from one exact confusion matrix, membrane scores of ISBI 2012, instance AP."""

from keras_seg.metrics.confusion import ConfusionMatrix
from keras_seg.metrics.instances import average_precision
from keras_seg.metrics.neurites import neurite_scores, pixel_error, thin_borders, v_info, v_rand
from keras_seg.metrics.scores import scores_from_matrix
from keras_seg.metrics.single_scores import (
    FrequencyWeightedIoU,
    MeanAccuracy,
    MeanIoU,
    PerClassIoU,
    PixelAccuracy,
)

__all__ = [
    "ConfusionMatrix",
    "FrequencyWeightedIoU",
    "MeanAccuracy",
    "MeanIoU",
    "PerClassIoU",
    "PixelAccuracy",
    "average_precision",
    "neurite_scores",
    "pixel_error",
    "scores_from_matrix",
    "thin_borders",
    "v_info",
    "v_rand",
]
