"""Focal loss with an ignored id: cross-entropy that pays less for pixels which are right already."""

import keras
from keras import ops

from keras_seg.losses.ignoring import PixelLoss
from keras_seg.utils.validation import check_number


@keras.saving.register_keras_serializable(package="keras_seg")
class Focal(PixelLoss):
    """Focal loss `-alpha_t (1 - p_t)^gamma log p_t` of integer class ids and logits, in float32.

    Reference:
        Lin, Goyal, Girshick, He, Dollar, 2017, Focal Loss for Dense Object Detection, equation 5.

    Differences from the paper: `p_t` is the true class's softmax probability among K classes, the paper has
    one sigmoid (for K = 2 the two agree); "mean" divides by the pixels that are not ignored, the paper by the
    number of anchors assigned to an object.

    Args:
        gamma: float, at least 0, default 2.0. 0 gives `CrossEntropy`.
        alpha: None (default, 1 for every class) or a sequence of K floats, each at least 0: `alpha_t` by
            class. The paper's 0.25 is `alpha=(0.75, 0.25)`, background first.
        ignore_class: int or None (default). Pixels with this id count nowhere.
        reduction: "mean" (default, over the pixels that are not ignored), "sum" or "none".
        name: str.

    Call arguments, Returns and Raises: as `CrossEntropy`.

    Example:
        >>> model.compile("adam", Focal(gamma=2.0, ignore_class=255))
    """

    class_weights_argument = "alpha"

    def __init__(self, gamma=2.0, alpha=None, ignore_class=None, reduction="mean", name="focal"):
        super().__init__(ignore_class, alpha, reduction, name)
        self.gamma = check_number("gamma", gamma, minimum=0)

    def call(self, y_true, y_pred):
        cross_entropy = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        # expm1 keeps 1 - p exact to rounding near p = 1. The floor keeps the power's derivative finite there
        # for gamma below 1; what it adds is at most epsilon^gamma times a cross-entropy of 1e-7.
        wrong = ops.maximum(-ops.expm1(-cross_entropy), keras.config.epsilon())
        return ops.power(wrong, self.gamma) * cross_entropy

    def get_config(self):
        config = super().get_config()
        return {**config, "gamma": self.gamma, "alpha": self.class_weights}
