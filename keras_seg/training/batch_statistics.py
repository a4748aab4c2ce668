"""Batch normalization made ready for inference: its statistics measured anew with the final weights.

The moving averages of training lag behind the weights. DeconvNet's authors therefore measure mean and
variance over some hundred batches after training (BN_make_INFERENCE_script.py of their code).
"""

import keras
import numpy as np

from keras_seg.models.weights import layers_by_name
from keras_seg.utils.progress import progress_bar
from keras_seg.utils.validation import bad_argument, check_integer


def reestimate_batch_norm(model, batches, steps=500):
    """Measure mean and variance of every batch normalization's input over training batches.

    The network runs as in training, each batch normalized by itself. A layer's mean becomes the mean over
    the batches, its variance that of all batches' values together: the mean of their variances plus the
    variance of their means. DeconvNet's code takes Bessel's correction in place of the second term; for
    batches drawn at random the two have the same expectation.

    Args:
        model: keras.Model. Its batch normalizations' moving statistics are replaced, unless they are frozen.
        batches: iterable of images (N, H, W, C), or of tuples that begin with them, such as the data set of
            the training.
        steps: int. Batches used, all of equal weight; fewer if there are fewer.

    Returns:
        int: the number of batches used.

    Raises:
        ValueError: there is no batch.

    Example:
        >>> reestimate_batch_norm(model, load(train, batch_size=8, shuffle=True, repeat=True), steps=100)
    """
    check_integer("steps", steps)
    found = [
        layer
        for layer in layers_by_name(model).values()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    sums = [np.zeros((3, *layer.moving_mean.shape)) for layer in found]
    momenta, before = [layer.momentum for layer in found], [_statistics(layer) for layer in found]
    used = 0
    try:
        for layer in found:
            layer.momentum = 0.0  # the moving statistics then are the last batch's
        with progress_bar() as bar:
            task = bar.add_task("Batch statistics", total=steps)
            for batch in batches:
                model(batch[0] if isinstance(batch, (tuple, list)) else batch, training=True)
                for layer, total in zip(found, sums, strict=True):
                    mean, variance = _statistics(layer)
                    total += np.stack([mean, mean**2, variance])
                bar.advance(task)
                used += 1
                if used == steps:
                    break
    finally:
        for layer, momentum, statistics in zip(found, momenta, before, strict=True):
            layer.momentum = momentum
            _assign(layer, *statistics)
    if not used:
        raise bad_argument("batches", "at least one batch", "none")
    for layer, total in zip(found, sums, strict=True):
        mean, square, variance = total / used
        _assign(layer, mean, variance + np.maximum(square - mean**2, 0))
    return used


def _statistics(layer):
    return [
        keras.ops.convert_to_numpy(weight).astype("float64")
        for weight in (layer.moving_mean, layer.moving_variance)
    ]


def _assign(layer, mean, variance):
    layer.moving_mean.assign(mean.astype("float32"))
    layer.moving_variance.assign(variance.astype("float32"))
