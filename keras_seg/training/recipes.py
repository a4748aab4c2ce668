"""Published training settings by name, as the arguments of `train_semantic`."""

from keras_seg.utils.validation import check_choice

RECIPES = ("fcn-heavy",)
# The released solvers' fixed rates (voc-fcn*/solver.prototxt); they fit a loss that is summed over pixels.
_HEAVY_RATES = {"32s": 1e-10, "16s": 1e-12, "8s": 1e-14}
_HEAVY_AT_ONCE_RATE = 1e-10


def recipe(name, variant="32s", at_once=False):
    """The settings of a published recipe.

    "fcn-heavy" is the "heavy learning" of the released FCNs: one whole image a step, momentum 0.99, and a
    cross-entropy that is summed, not averaged, over the pixels (E. Shelhamer, J. Long and T. Darrell, "Fully
    Convolutional Networks for Semantic Segmentation", PAMI 2017). Left out of it: twice the rate for biases,
    which Keras optimizers cannot give to single variables.

    Args:
        name: one of `RECIPES`.
        variant: "32s", "16s" or "8s", which sets the learning rate.
        at_once: bool. FCN-8s at-once has the rate of FCN-32s.

    Returns:
        dict of keyword arguments of `train_semantic`.
    """
    check_choice("name", name, RECIPES)
    rate = _HEAVY_AT_ONCE_RATE if at_once else _HEAVY_RATES[check_choice("variant", variant, _HEAVY_RATES)]
    return {
        "batch_size": 1,
        "crop_size": None,
        "loss": "cross_entropy_sum",
        "optimizer": "sgd",
        "momentum": 0.99,
        "weight_decay": 5e-4,
        "learning_rate": rate,
        "schedule": "constant",
        "warmup_steps": 0,
    }
