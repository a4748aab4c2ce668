"""One exact confusion matrix over a whole data set, and FCN's four scores of it in the training log.

Counts stay exact beyond 2^31 on every backend, also where there are no 64-bit integers (JAX by default). Each
count is two int32 numbers, `high * 2^24 + low`, carried after every update. 2^24 leaves room to add the `low`
parts of 128 replicas, and float32 holds such a part exactly.
"""

import keras
import numpy as np
from keras import ops

from keras_seg.metrics.scores import scores_from_matrix
from keras_seg.utils.validation import bad_argument, check_integer

BASE_BITS = 24
BASE = 2**BASE_BITS


@keras.saving.register_keras_serializable(package="keras_seg")
class ConfusionMatrix(keras.metrics.Metric):
    """Pixels counted by true and predicted class; `result()` gives FCN's four scores of the counts.

    The matrix is summed over the whole set before any score is taken (FCN's rule), so scores do not depend on
    how images fall into batches. In `compile(metrics=[ConfusionMatrix(...)])` every score appears in the log
    by its own name, such as `val_mean_iou`; of two such metrics in one `compile` the log shows the last.

    Reference: Long, Shelhamer, Darrell, 2015, Fully Convolutional Networks, section 5, and its `score.py`.

    Beside `keras.metrics.MeanIoU`: it takes logits, counts exactly (Keras' counts are int32 on JAX and
    PyTorch and overflow), and leaves classes out of the mean that neither truth nor prediction has.

    Args:
        num_classes: int, at least 2. K below; background counts where it is a class.
        ignore_class: int or None (default). Pixels with this true id count nowhere.
        class_names: sequence of K strings or None (default): names for `scores()`.
        name: str.
        dtype: as every Keras metric; counting is in integers whatever it is.

    Call arguments of `update_state`:
        y_true: class ids (N, H, W) or (N, H, W, 1), of any number type. Ids outside 0..K-1 are left out, as
            in FCN's `score.py`; data readers report them before training.
        y_pred: logits or probabilities (N, H, W, K), or class ids of `y_true`'s shape. A predicted id outside
            0..K-1 is left out too.
        sample_weight: has no effect: a border weight must not change a count. (Keras passes it only to
            `weighted_metrics`.)

    `result()` returns a dict of float32 scalars: "pixel_accuracy", "mean_accuracy", "mean_iou" and
    "frequency_weighted_iou", NaN where nothing was counted. `matrix()` has the counts, `scores()` the same
    four and more in float64. One update takes at most 2^31 - 1 pixels.

    Raises:
        ValueError: logits whose last axis is not K, shapes that do not fit, or a wrong number of names.

    Example:
        >>> metric = ConfusionMatrix(num_classes=2, ignore_class=255)
        >>> metric.update_state([[[0, 1, 255]]], [[[0, 0, 0]]])
        >>> metric.matrix()
        array([[1, 0],
               [1, 0]])
    """

    def __init__(self, num_classes, ignore_class=None, class_names=None, name="confusion_matrix", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = check_integer("num_classes", num_classes, minimum=2)
        if ignore_class is not None:
            ignore_class = check_integer("ignore_class", ignore_class, minimum=-(2**31))
        self.ignore_class = ignore_class
        self.class_names = None if class_names is None else list(class_names)
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise bad_argument("class_names", f"{self.num_classes} names, one for each class", class_names)
        shape = (self.num_classes, self.num_classes)
        self.low = self.add_variable(shape, "zeros", dtype="int32", name="low")
        self.high = self.add_variable(shape, "zeros", dtype="int32", name="high")

    def update_state(self, y_true, y_pred, sample_weight=None):
        counts = self._count(*self._class_ids(y_true, y_pred))
        low = self.low + ops.bitwise_and(counts, BASE - 1)
        high = self.high + ops.right_shift(counts, BASE_BITS)
        self.high.assign(high + ops.right_shift(low, BASE_BITS))
        self.low.assign(ops.bitwise_and(low, BASE - 1))

    def _class_ids(self, y_true, y_pred):
        """True and predicted ids, int32 of one shape; the prediction may be logits."""
        truth, prediction = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        true_shape, shape = tuple(truth.shape), tuple(prediction.shape)
        if len(true_shape) == len(shape) and true_shape[-1:] == (1,):
            truth = ops.squeeze(truth, axis=-1)
            if shape[-1] == 1:
                prediction = ops.squeeze(prediction, axis=-1)
        if len(prediction.shape) == len(truth.shape) + 1:
            if shape[-1] not in (None, self.num_classes):
                raise bad_argument(
                    "y_pred.shape",
                    f"(N, H, W, {self.num_classes}), for num_classes={self.num_classes}",
                    shape,
                )
            prediction = ops.argmax(prediction, axis=-1)
        elif len(prediction.shape) != len(truth.shape):
            raise bad_argument(
                "y_pred.shape",
                f"logits (N, H, W, {self.num_classes}) or ids (N, H, W) for ids of shape {true_shape}",
                shape,
            )
        return ops.cast(truth, "int32"), ops.cast(prediction, "int32")

    def _count(self, truth, prediction):
        """Counts of one batch, int32 (K, K)."""
        classes = self.num_classes
        counted = ops.logical_and(_within(truth, classes), _within(prediction, classes))
        if self.ignore_class is not None:
            counted = ops.logical_and(counted, ops.not_equal(truth, self.ignore_class))
        # One bin more than the matrix has takes what is not counted.
        bins = ops.reshape(ops.where(counted, truth * classes + prediction, classes * classes), (-1,))
        return ops.reshape(count_bins(bins, classes * classes + 1)[:-1], (classes, classes))

    def result(self):
        matrix = self._float_matrix()
        right, truth = ops.diagonal(matrix), ops.sum(matrix, axis=1)
        iou = iou_by_class(matrix)
        total = ops.sum(truth)
        return {
            "pixel_accuracy": _ratio(ops.sum(right), total),
            "mean_accuracy": _mean_of_numbers(_ratio(right, truth)),
            "mean_iou": _mean_of_numbers(iou),
            "frequency_weighted_iou": _ratio(ops.sum(ops.where(truth > 0, truth * iou, 0.0)), total),
        }

    def _float_matrix(self):
        """The counts in float32, each right to rounding."""
        return ops.cast(self.high, "float32") * BASE + ops.cast(self.low, "float32")

    def matrix(self):
        """The exact counts: int64 (K, K), rows are true classes, columns predicted ones."""
        high = ops.convert_to_numpy(ops.convert_to_tensor(self.high)).astype(np.int64)
        return high * BASE + ops.convert_to_numpy(ops.convert_to_tensor(self.low))

    def scores(self):
        """`scores_from_matrix` of the counts so far: every score and the classes' own, by `class_names`."""
        return scores_from_matrix(self.matrix(), self.class_names)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
            "class_names": None if self.class_names is None else list(self.class_names),
        }


def _within(ids, classes):
    return ops.logical_and(ops.greater_equal(ids, 0), ops.less(ids, classes))


def count_bins(bins, num_bins):
    """How often each of 0..num_bins - 1 is in `bins`, int32.

    A segment sum is the one counting op of Keras that compiles on all backends. It takes 1 to 12 ms for 1.4
    million pixels on two CPU cores; a product of one-hot matrices takes 12 to 240 ms.
    """
    # Keras sums segments in float32 on PyTorch, which is exact up to 2^24. Only TensorFlow's graphs may not
    # know the size, and TensorFlow sums integers.
    size = bins.shape[0]
    parts = [bins] if size is None else [bins[start : start + 2**24] for start in range(0, size, 2**24)]
    return sum(
        ops.cast(ops.segment_sum(ops.ones_like(part), part, num_segments=num_bins), "int32") for part in parts
    )


def _ratio(part, whole):
    """`part / whole`, NaN where `whole` is 0; without a division by 0 on the way."""
    known = whole > 0
    return ops.where(known, part / ops.where(known, whole, 1.0), float("nan"))


def iou_by_class(matrix):
    """IoU by class, (K,), NaN for a class that neither truth nor prediction has."""
    right = ops.diagonal(matrix)
    return _ratio(right, ops.sum(matrix, axis=1) + ops.sum(matrix, axis=0) - right)


def _mean_of_numbers(values):
    """Mean over the entries that are not NaN: classes that are absent are left out."""
    known = ops.logical_not(ops.isnan(values))
    return _ratio(ops.sum(ops.where(known, values, 0.0)), ops.sum(ops.cast(known, "float32")))
