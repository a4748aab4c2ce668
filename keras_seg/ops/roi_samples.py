"""Where RoIAlign reads a map: a box's sample points, and the pixels and weights for them on one axis."""

import functools
from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Axis(NamedTuple):
    """One axis, y or x, of B regions that are divided into bins. The tensors are float32.

    Attributes:
        start: tensor (B, 1, 1). Where the region begins, in map pixels, pixel centres at integers.
        bin_size: tensor (B, 1, 1).
        bins: int. Number of bins, the output's side.
        samples: tensor (B, 1, 1). Sample points in each bin; 0 for a region without extent.
        last: tensor (B, 1, 1). The map's last pixel.
    """

    start: Any
    bin_size: Any
    bins: int
    samples: Any
    last: Any


def region_axis(low, high, bins, size, sampling_ratio, aligned):
    """One axis of the regions, by torchvision's rule.

    Args:
        low: tensor (B,), float32. Begin of each box, in map pixels, pixel centres at halves.
        high: tensor (B,), float32. End of each box.
        bins: int.
        size: tensor (B,), int32. Side of each box's map.
        sampling_ratio: int. Samples per bin, or -1 for one per begun map pixel.
        aligned: bool. False leaves out the half pixel between the two conventions for pixel centres, and
            makes every region at least a pixel wide.

    Returns:
        Axis.
    """
    start, end = (low - 0.5, high - 0.5) if aligned else (low, high)
    length = end - start if aligned else ops.maximum(end - start, 1.0)
    bin_size = true_divide(length, bins)
    samples = ops.full_like(bin_size, sampling_ratio)
    if sampling_ratio == -1:
        samples = _ceiling(length, bins, bin_size)
    samples = ops.where(samples > 0, samples, 0.0)  # not NaN
    last = ops.maximum(ops.cast(size, "float32") - 1.0, 0.0)
    start, bin_size, samples, last = (
        ops.reshape(part, (-1, 1, 1)) for part in (start, bin_size, samples, last)
    )
    return Axis(start, bin_size, bins, samples, last)


def sample_tap(axis, tap):
    """The pixel that one of a fixed number of taps reads, and its weight: two taps for each sample of a bin.

    Args:
        axis: Axis.
        tap: int, or integers (T,). Tap 2s is the pixel before sample s, tap 2s + 1 the one after it.

    Returns:
        Pair of tensors (B, bins, T), T being 1 for an int: positions, int32, within the map, and weights,
        float32. A sample beyond one pixel outside the map weighs nothing, a nearer one is moved to the edge.
    """
    side = ops.cast(tap % 2, "float32")
    inside, coordinate = _on_map(axis, ops.cast(tap // 2, "float32"))
    before = ops.floor(coordinate)
    # 1 - f for the pixel before, f for the one after.
    weight = ops.absolute(1.0 - side - (coordinate - before))
    weight = ops.where(inside, weight, 0.0) / axis.samples
    return ops.cast(ops.minimum(before + side, axis.last), "int32"), weight


def window_tap(axis, tap):
    """The pixel that one tap reads, and its weight, where each tap is one pixel of the bin's window.

    For adaptive sampling. The weight of a pixel is the sum of the tents of the samples less than a pixel
    away. Those are at most five, because samples are spaced by half a pixel or more unless there is only
    one.

    Args:
        axis: Axis.
        tap: int, or integers (T,), below `window_sizes`.

    Returns:
        As `sample_tap`. A tap beyond the bin's own window has weight 0.
    """
    _, first = _on_map(axis, 0.0)
    pixel = ops.floor(first) + ops.cast(tap, "float32")
    spacing = axis.bin_size / ops.maximum(axis.samples, 1.0)
    reached = (pixel - 1.0 - _bin_starts(axis)) / spacing - 0.5
    reached = ops.floor(ops.where(ops.isfinite(reached), reached, 0.0))
    reached = ops.clip(reached, 0.0, ops.maximum(axis.samples - 1.0, 0.0))
    # Five, and one for the rounding of the quotient: (6, B, bins, T).
    sample = reached + ops.arange(6, dtype="float32")[:, None, None, None]
    inside, coordinate = _on_map(axis, sample)
    counts = ops.logical_and(inside, sample < axis.samples)
    weight = ops.sum(ops.where(counts, ops.maximum(1.0 - ops.absolute(coordinate - pixel), 0.0), 0.0), axis=0)
    return ops.cast(ops.minimum(pixel, axis.last), "int32"), weight / ops.maximum(axis.samples, 1.0)


def window_sizes(axis):
    """Pixels in the widest window of each region: tensor (B,), int32; 0 where nothing is sampled."""
    _, first = _on_map(axis, 0.0)
    _, final = _on_map(axis, axis.samples - 1.0)
    size = ops.minimum(ops.floor(final) + 1.0, axis.last) - ops.floor(first) + 1.0
    size = ops.cast(ops.where(axis.samples > 0, size, 0.0)[..., 0], "int32")
    # Not `ops.max`, which raises an error where there is no region.
    return functools.reduce(ops.maximum, (size[:, bin] for bin in range(axis.bins)))


def true_divide(numerator, divisor):
    """Divide, rounded as a division is, on CPUs; XLA's division on GPUs may be wrong in the last two bits.

    XLA and TensorFlow's graph optimizer multiply by the rounded reciprocal where the divisor is a constant or
    is broadcast. Then 14 / 7 can come out above 2; or a sample on the border lies beyond it. A divisor that
    is chosen at run time, entry by entry, is divided by.
    """
    return numerator / ops.where(ops.isnan(numerator), 1.0, divisor)


def _ceiling(numerator, divisor, quotient):
    """The quotient rounded up, where 14 / 7 is 2 also if the division made a little more of it."""
    nearest = ops.floor(quotient + 0.5)
    return ops.where(numerator <= nearest * divisor, nearest, nearest + 1.0)


def _bin_starts(axis):
    bins = ops.convert_to_tensor(np.arange(axis.bins, dtype="float32")[:, None])
    return axis.start + bins * axis.bin_size


def _on_map(axis, sample):
    """Whether a sample of each bin counts, and its coordinate, moved to the map where it lies outside."""
    coordinate = _bin_starts(axis) + true_divide((sample + 0.5) * axis.bin_size, axis.samples)
    inside = ops.logical_and(coordinate >= -1.0, coordinate <= axis.last + 1.0)
    # A NaN is moved too: it must not reach an index.
    coordinate = ops.where(ops.isnan(coordinate), 0.0, coordinate)
    return inside, ops.minimum(ops.maximum(coordinate, 0.0), axis.last)
