"""Optimizer and learning-rate schedule from plain values, so that a run's config can hold them."""

import keras

from keras_seg.utils.validation import check_choice, check_integer, check_number

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
        weight_decay: float. Decoupled decay (AdamW), not on normalization weights and biases; "adam" and
            "sgd" take none.
        momentum: float, of "sgd".
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
    if name == "sgd":
        return keras.optimizers.SGD(rate, momentum=momentum, global_clipnorm=clip_norm)
    if name == "adam":
        return keras.optimizers.Adam(rate, global_clipnorm=clip_norm)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, global_clipnorm=clip_norm)
    # Decay of a scale, a shift or a bias only fights the normalization (as in Goyal et al. 2017, 5.3).
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer
