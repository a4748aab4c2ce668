"""Boxes and references that the tests of RoIAlign and RoIPool share."""

import math

import keras
import numpy as np

from tests.ops.box_cases import golden_answers

# On a map of 13 x 17 at scale 1/4, in image pixels; every number is exact in float32, so the rounding of a
# coordinate decides nothing here.
HARD_BOXES = {
    "inside": (8.0, 4.0, 36.0, 32.0),
    "over the upper left corner": (-22.0, -18.0, 20.0, 15.0),
    "over the lower right corner": (50.0, 40.0, 90.0, 80.0),
    "a pixel outside, to the point": (-16.0, -16.0, 26.0, 40.0),
    "outside": (200.0, 200.0, 260.0, 240.0),
    "without area": (10.0, 10.0, 10.0, 10.0),
    "without height": (10.0, 20.0, 40.0, 20.0),
    "small": (8.25, 3.0, 8.75, 3.25),
    "the map": (0.0, 0.0, 68.0, 52.0),
    "far larger than the map": (-200.0, -300.0, 400.0, 200.0),
    "reversed": (40.0, 36.0, 12.0, 8.0),
    "padding by 0": (0.0, 0.0, 0.0, 0.0),
    "padding by -1": (-1.0, -1.0, -1.0, -1.0),
    "long and low": (0.0, 12.0, 68.0, 13.0),
}


def hard_boxes(images=2):
    """(images, K, 4), the rows in another order for each image."""
    boxes = np.array(list(HARD_BOXES.values()), "float32")
    return np.stack([np.roll(boxes, image, axis=0) for image in range(images)])


def random_map(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def golden():
    """torchvision's answers, with the boxes as (N, K, 4), and the place of each answer's box in it."""
    answers = golden_answers()
    image = answers["roi_batch"]
    position = np.array([np.sum(image[:index] == image[index]) for index in range(len(image))])
    boxes = np.zeros((2, position.max() + 1, 4), "float32")
    boxes[image, position] = answers["roi_boxes"]
    return answers, boxes, (image, position)


def many_channels(array):
    """Recorded maps (..., C) with their channels repeated to 16 or more, for the forms that want so many."""
    return np.repeat(array, -(-16 // array.shape[-1]), axis=-1)


def channels_last(array):
    return np.moveaxis(array, 1, -1)


def align_weights(boxes, size, bins, scale=1.0, sampling=2, aligned=True):
    """RoIAlign's weights in float64, sample by sample: (N, K, h, w, H, W), to be summed over H and W."""
    rows, columns = (
        np.array([
            [
                _axis_weights(box[[1 - axis, 3 - axis]], size[axis], bins[axis], scale, sampling, aligned)
                for box in image
            ]
            for image in boxes.astype("float64")
        ])
        for axis in (0, 1)
    )  # fmt: skip
    return rows[:, :, :, None, :, None] * columns[:, :, None, :, None, :]


def _axis_weights(corners, size, bins, scale, sampling, aligned):
    """(bins, size): how much of each pixel each bin takes along one axis."""
    weights = np.zeros((bins, size))
    start, end = corners * scale - (0.5 if aligned else 0.0)
    step = (end - start if aligned else max(end - start, 1.0)) / bins
    samples = math.ceil(step) if sampling == -1 else sampling
    for position, sample in np.ndindex(bins, max(samples, 0)):
        point = start + step * position + step * (sample + 0.5) / samples
        if -1 <= point <= size:
            point = min(max(point, 0.0), size - 1.0)
            before = math.floor(point)
            weights[position, before] += (1 - point + before) / samples
            weights[position, min(before + 1, size - 1)] += (point - before) / samples
    return weights


def align_reference(features, boxes, bins, **settings):
    weights = align_weights(boxes, features.shape[1:3], bins, **settings)
    return np.einsum("nkpqyx,nyxc->nkpqc", weights, features.astype("float64"))


def pool_reference(features, boxes, bins, scale=1.0):
    """RoIPool window by window, and the flat position y * W + x of each maximum, -1 for an empty bin."""
    height, width, channels = features.shape[1:]
    values = np.zeros((*boxes.shape[:2], *bins, channels))
    where = np.full(values.shape, -1)
    for image, k, p, q in np.ndindex(*boxes.shape[:2], *bins):
        x1, y1, x2, y2 = [_away_from_zero(side * np.float32(scale)) for side in boxes[image, k]]
        step = [np.float32(max(y2 - y1 + 1, 1)) / np.float32(bins[0])]
        step += [np.float32(max(x2 - x1 + 1, 1)) / np.float32(bins[1])]
        rows, columns = (
            range(max(int(np.floor(i * side)) + first, 0), min(int(np.ceil((i + 1) * side)) + first, length))
            for i, side, first, length in ((p, step[0], y1, height), (q, step[1], x1, width))
        )
        places = np.array([y * width + x for y in rows for x in columns], "int64")
        if len(places):
            candidates = features[image].reshape(-1, channels)[places]
            where[image, k, p, q] = places[candidates.argmax(0)]
            values[image, k, p, q] = candidates.max(0)
    return values, where


def _away_from_zero(value):
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


def value_and_gradient(function, features, upstream, compiled=False):
    """What `function` gives for the features, and the gradient of sum(upstream * value), in float32."""
    backend = keras.backend.backend()
    features, upstream = (keras.ops.convert_to_tensor(array) for array in (features, upstream))
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=compiled)
        def both(features, upstream):
            with tf.GradientTape() as tape:
                tape.watch(features)
                value = function(features)
            return value, tape.gradient(value, features, upstream)

        results = both(features, upstream)
    elif backend == "jax":
        import jax

        def both(features, upstream):
            value, transposed = jax.vjp(function, features)
            return value, transposed(upstream)[0]

        results = (jax.jit(both) if compiled else both)(features, upstream)
    else:
        import torch

        features = features.clone().requires_grad_()
        value = function(features)
        results = value, torch.autograd.grad(value, features, upstream)[0]
    return [keras.ops.convert_to_numpy(keras.ops.cast(result, "float32")) for result in results]
