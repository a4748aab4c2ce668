"""Pooling with indices and unpooling by PyTorch's own kernels, which know indices of 64 bits only.

The indices of a pool are the lower halves of those that its kernel wrote, a view of them, and unpooling finds
the whole ones behind such a view: nothing is converted on the way from the one to the other. What a pool
knows of its indices stays with them too, so that unpooling need not read them to find it out.

`max_unpool2d` serves those alone: with the channels last its threads write in any order, so that of several
claimants of a place any may stay.
"""

import contextlib
import sys

import torch
import torch.nn.functional as F

from keras_seg.ops.pooling_windows import overlap_none, pooled_size
from keras_seg.ops.unpooled_places import unpool_anywhere

_LOWER_HALF = 0 if sys.byteorder == "little" else 1


def even_padding(size, pool_size, strides, padding):
    """`padding` as numbers of cells, or None for "same" with an odd cell, which the kernel cannot be told."""
    if None not in padding:
        return padding
    totals = [
        max((count - 1) * stride + pool - length, 0)
        for count, stride, pool, length in zip(
            pooled_size(size, pool_size, strides, padding), strides, pool_size, size, strict=True
        )
    ]
    return None if any(total % 2 for total in totals) else tuple(total // 2 for total in totals)


def max_pool_with_argmax(x, pool_size, strides, padding):
    """The portable form's values and indices, for padding that `even_padding` can give.

    Args:
        x: (N, H, W, C).
        pool_size, strides, padding: pairs, as of `check_windows`.
    """
    padding = even_padding(x.shape[1:3], pool_size, strides, padding)
    values, whole = F.max_pool2d(_planes(x.contiguous()), pool_size, strides, padding, return_indices=True)
    indices = _lower_halves(_channels_last(whole))
    if overlap_none(pool_size, strides):
        _remember_apart(indices, x.shape[1] * x.shape[2])
    return _channels_last(values), indices


def max_unpool(values, indices, pool_size, strides, padding, output_size):
    """The portable form's output. On a CPU an index outside it makes the kernel raise an error.

    GPUs write in any order, so that there the kernel serves where no two values claim one place.

    Args:
        values: (N, h, w, C).
        indices: int32 of the same shape.
        output_size: pair of ints.
    """
    windows = (pool_size, strides, padding, output_size)
    apart = _known_apart(indices, output_size)
    if values.device.type == "cpu":
        return _Unpool.apply(values, indices, windows, apart)
    whole = _whole(indices)
    if not (apart or _claim_apart(whole, *windows)):
        return unpool_anywhere(values, indices, *windows)
    return _Unpool.apply(values, whole, windows, True)


class _Unpool(torch.autograd.Function):
    """`apart`: whether it is known that no two values claim one place; else the gradient finds out."""

    @staticmethod
    def forward(ctx, values, indices, windows, apart):
        ctx.save_for_backward(indices)
        ctx.windows, ctx.apart = windows, apart
        # Asked for deterministic kernels, PyTorch refuses its unpooling, whatever the indices.
        if apart and values.device.type == "cpu" and not torch.are_deterministic_algorithms_enabled():
            planes = _planes(values), _planes(_whole(indices))
            return _channels_last(torch.ops.aten.max_unpool2d(*planes, windows[-1]))
        return _scatter(values, indices, windows[-1])

    @staticmethod
    def backward(ctx, upstream):
        (indices,) = ctx.saved_tensors
        fetched = _fetch(upstream, indices)
        if not (ctx.apart or _claim_apart(indices, *ctx.windows)):
            _, h, w, _ = indices.shape
            order = torch.arange(1, h * w + 1, dtype=torch.int32, device=indices.device)
            order = order.reshape(1, h, w, 1).expand(indices.shape)
            stays = _fetch(_scatter(order, indices, ctx.windows[-1]), indices) == order
            fetched = torch.where(stays, fetched, 0)
        return fetched, None, None, None


def _scatter(values, indices, output_size):
    """In order along the places of one channel, so that the last claimant stays."""
    images, _, _, channels = indices.shape
    places = (images, output_size[0] * output_size[1], channels)
    bits = _bits(values).flatten(1, 2)

    def scatter(whole):
        return bits.new_zeros(places).scatter_(1, whole.flatten(1, 2), bits)

    return _by_whole(scatter, indices).view(values.dtype).reshape(images, *output_size, channels)


def _fetch(unpooled, indices):
    """What lies at each index, both (N, rows, columns, C)."""
    bits = _bits(unpooled).flatten(1, 2)
    fetched = _by_whole(lambda whole: bits.gather(1, whole.flatten(1, 2)), indices)
    return fetched.view(unpooled.dtype).reshape(indices.shape)


def _bits(x):
    """Halves as integers, which the kernels move in half the time on CPUs."""
    return x.view(torch.int16) if x.element_size() == 2 else x


def _by_whole(kernel, indices):
    """`kernel` of 64-bit indices, which raises a RuntimeError for one outside the map."""
    with contextlib.suppress(RuntimeError):
        return kernel(_whole(indices))
    return kernel(indices.long())


def _lower_halves(whole):
    """An int32 view of int64 numbers below 2 ** 31."""
    return whole.unsqueeze(-1).view(torch.int32)[..., _LOWER_HALF]


def _whole(indices):
    """The int64 numbers that `indices` are the lower halves of, or, where they can't be any's, converted.

    Any int32 view of every second number looks like such halves. Its whole numbers are then the same, or
    negative, or at least 2 ** 32, which no place of a map is.
    """
    if indices.dtype == torch.int64:
        return indices
    try:
        first = indices.storage_offset() - _LOWER_HALF
        halves = indices.as_strided((*indices.shape, 2), (*indices.stride(), 1), first)
        return halves.view(torch.int64)[..., 0]
    except RuntimeError:
        return indices.long()


def _remember_apart(indices, places):
    """Note with the tensor that `indices` is a view of that its numbers are distinct and below `places`.

    That tensor is no user's, so nothing but its views can write to it, and it counts what they write.
    """
    if indices._base is not None:  # tensors of `torch.inference_mode` do not say what they view
        indices._base.keras_seg_apart = _state(indices), places


def _known_apart(indices, output_size):
    """Whether they are a pool's of windows that overlap none, as it returned them, within the output."""
    state, places = getattr(indices._base, "keras_seg_apart", (None, 0))
    return state is not None and state == _state(indices) and places <= output_size[0] * output_size[1]


def _state(indices):
    """What changes when they are written to, or are another view: how often, and where which number lies."""
    return indices._version, tuple(indices.shape), indices.stride(), indices.storage_offset()


def _claim_apart(indices, pool_size, strides, padding, output_size):
    """Whether it is plain that no two values claim one place: each lies in a window that overlaps none.

    On a CPU image by image, whose passes then find their numbers in the cache.
    """
    if not overlap_none(pool_size, strides):
        return False
    for count, pool, stride, pad, length in zip(
        indices.shape[1:3], pool_size, strides, padding, output_size, strict=True
    ):
        if pad not in (0, None) or (count - 1) * stride + pool > length:
            return False
    parts = indices if indices.device.type == "cpu" else indices[None]
    return not indices.numel() or all(_in_windows(part, pool_size, strides, output_size) for part in parts)


def _in_windows(indices, pool_size, strides, output_size):
    """Whether each index, (..., h, w, C), lies in its own window.

    The places of a window are runs of the same length, one a row: an index lies in one if it is near enough
    to the middle of the nearest. Distances are doubled, for the middles to be integers, and half of the rows
    are folded onto the others until one is left.
    """
    height, width = output_size
    dtype = indices.dtype if height * width < 2**30 else torch.int64
    down, right = (
        torch.arange(count, dtype=dtype, device=indices.device) * stride
        for count, stride in zip(indices.shape[-3:-1], strides, strict=True)
    )
    rows, radius = pool_size[0], pool_size[1] - 1
    first, last = (1 - rows) * width, (rows - 1) * width
    middles = 2 * (down[:, None, None] * width + right[:, None]) + last + radius
    distances = torch.sub(middles, indices, alpha=2)
    while first < last:
        fold = (first + last) // 2
        distances.sub_(fold).abs_() if fold else distances.abs_()
        first, last = width if rows % 2 == 0 else 0, last - fold
        rows = (rows + 1) // 2
    smallest, largest = torch.aminmax(distances)
    return bool(smallest >= last - radius) and bool(largest <= last + radius)


def _planes(x):
    """The kernels' (N, C, H, W) as a view."""
    return x.permute(0, 3, 1, 2)


def _channels_last(x):
    return x.permute(0, 2, 3, 1)
