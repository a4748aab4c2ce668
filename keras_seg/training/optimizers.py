"""Optimizer and learning-rate schedule from plain values, so that a run's config can hold them."""

import keras

from keras_seg.utils.validation import bad_argument, check_choice, check_integer, check_number

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant")


def make_optimizer(
    name="adamw",
    *,
    learning_rate=1e-3,
    schedule="cosine",
    total_steps=None,
    warmup_steps=0,
    weight_decay=1e-4,
    momentum=0.9,
    clip_norm=None,
):
    """Build an optimizer.

    Args:
        name: "adamw", "adam" or "sgd".
        learning_rate: float. The peak, reached after the warm-up.
        schedule: "cosine" (to zero at `total_steps`; Loshchilov and Hutter 2017) or "constant".
        total_steps: int. Steps of the whole training; needed by "cosine".
        warmup_steps: int. Steps of linear growth from zero.
        weight_decay: float, not on normalization weights and biases. Decoupled decay of "adamw"; of "sgd" the
            papers' factor of the squared weights in the loss, which in the long run is a decoupled decay of
            `weight_decay / (1 - momentum)`; "adam" takes none.
        momentum: float below 1, of "sgd".
        clip_norm: float or None. Largest global norm of the gradient.

    Returns:
        keras.optimizers.Optimizer.
    """
    check_choice("name", name, OPTIMIZERS)
    check_choice("schedule", schedule, SCHEDULES)
    check_number("learning_rate", learning_rate, 0)
    rate = learning_rate
    if schedule == "cosine":
        check_integer("total_steps", total_steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else learning_rate,
            decay_steps=max(total_steps - warmup_steps, 1),
            warmup_target=learning_rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    if name == "adam":
        return keras.optimizers.Adam(rate, global_clipnorm=clip_norm)
    check_number("weight_decay", weight_decay, 0)
    if name == "sgd":
        if check_number("momentum", momentum, 0) >= 1:
            raise bad_argument("momentum", "at least 0 and below 1", momentum)
        # Keras takes None, and refuses 0.
        decay = weight_decay / (1 - momentum) or None
        optimizer = keras.optimizers.SGD(rate, momentum, weight_decay=decay, global_clipnorm=clip_norm)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, global_clipnorm=clip_norm)
    # Decay of a scale, a shift or a bias only fights the normalization (as in Goyal et al. 2017, 5.3).
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer
