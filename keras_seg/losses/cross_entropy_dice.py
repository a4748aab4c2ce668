"""Cross-entropy plus soft Dice: steady gradients of the one, the weight of small classes of the other."""

import keras

from keras_seg.losses.cross_entropy import CrossEntropy
from keras_seg.losses.overlap import Dice
from keras_seg.utils.validation import check_number


@keras.saving.register_keras_serializable(package="keras_seg")
class CrossEntropyDice(keras.losses.Loss):
    """`CrossEntropy + dice_weight * Dice`, both as means.

    Cross-entropy counts every pixel alike, so classes of few pixels are learned last; Dice counts every class
    alike, but is flat far from the solution. Their sum is the usual choice where the mean IoU is what counts
    (Isensee et al., 2021, nnU-Net, Methods).

    Args:
        ignore_class: int or None (default). Pixels with this id count nowhere.
        dice_weight: float, at least 0, default 1.0.
        name: str.

    Call arguments:
        y_true, y_pred, sample_weight: as for `CrossEntropy`; weights act in both parts.

    Returns:
        float32 scalar.

    Example:
        >>> model.compile("adam", CrossEntropyDice(ignore_class=255))
    """

    def __init__(self, ignore_class=None, dice_weight=1.0, name="cross_entropy_dice"):
        super().__init__(name=name, dtype="float32")
        self.cross_entropy = CrossEntropy(ignore_class)
        self.dice = Dice(ignore_class)
        self.dice_weight = check_number("dice_weight", dice_weight, minimum=0)

    def __call__(self, y_true, y_pred, sample_weight=None):
        dice = self.dice(y_true, y_pred, sample_weight)
        return self.cross_entropy(y_true, y_pred, sample_weight) + self.dice_weight * dice

    def get_config(self):
        return {
            "name": self.name,
            "ignore_class": self.cross_entropy.ignore_class,
            "dice_weight": self.dice_weight,
        }
