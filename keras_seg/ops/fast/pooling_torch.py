"""Pooling with indices and unpooling by PyTorch's own kernels, which know indices of 64 bits only.

On CPUs a batch is taken in parts, so that its wide indices stay in the processor's cache: as many images as
there are threads for scatters, where each thread takes one, and for pools, whose kernels share an image, as
many as have few bytes. `max_unpool2d` is not used: with the channels last its threads write in any order, so
any claimant of a place may stay.
"""

import torch

from keras_seg.ops.pooling_windows import pooled_size
from keras_seg.ops.unpooled_places import unpool_anywhere

# Of wide indices in one part of a pool's batch. 8 x 224 x 224 x 64, 6 MB an image, take 10 to 20 % less time
# one image at a time than two at a time.
_PART_BYTES = 2**22
_KERNELS = torch.ops.aten


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
    return _Pool.apply(x, pool_size, strides, padding)


def max_unpool(values, indices, pool_size, strides, padding, output_size):
    """The portable form's output. On a CPU an index outside it makes the kernel raise an error.

    GPUs write in any order, so that there the kernel serves where no two values claim one place.

    Args:
        values: (N, h, w, C).
        indices: int32 of the same shape.
        output_size: pair of ints.
    """
    windows = (pool_size, strides, padding, output_size)
    if values.device.type != "cpu" and not _claim_apart(indices, *windows):
        return unpool_anywhere(values, indices, *windows)
    return _Unpool.apply(values, indices, windows)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, pool_size, strides, padding):
        x = x.contiguous()
        count = pooled_size(x.shape[1:3], pool_size, strides, padding)
        values = x.new_empty((x.shape[0], *count, x.shape[3]))
        indices = torch.empty_like(values, dtype=torch.int32)
        ctx.windows = (pool_size, strides, padding, (1, 1), False)
        for part, wide in _parts(indices, _PART_BYTES):
            _KERNELS.max_pool2d_with_indices.out(
                _planes(x[part]), *ctx.windows, out=_planes(values[part]), indices=_planes(wide)
            )
            indices[part] = wide
        ctx.save_for_backward(x, indices)
        ctx.mark_non_differentiable(indices)
        return values, indices

    @staticmethod
    def backward(ctx, upstream, _):
        x, indices = ctx.saved_tensors
        upstream, gradient = upstream.contiguous(), torch.empty_like(x)
        for part, wide in _parts(indices, _PART_BYTES):
            wide.copy_(indices[part])
            _KERNELS.max_pool2d_with_indices_backward.grad_input(
                _planes(upstream[part]),
                _planes(x[part]),
                *ctx.windows,
                _planes(wide),
                grad_input=_planes(gradient[part]),
            )
        return gradient, None, None, None


class _Unpool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, indices, windows):
        ctx.save_for_backward(indices)
        ctx.windows = windows
        return _scatter(values, indices, windows[-1])

    @staticmethod
    def backward(ctx, upstream):
        (indices,) = ctx.saved_tensors
        _, h, w, channels = indices.shape
        order = torch.arange(1, h * w + 1, dtype=torch.int32, device=indices.device)
        order = order.reshape(1, h, w, 1).expand(1, h, w, channels)
        gradient = upstream.new_empty(indices.shape)
        for part, wide in _parts(indices):
            wide.copy_(indices[part])
            fetched = _fetch(upstream[part], wide)
            if not _claim_apart(indices[part], *ctx.windows):
                numbers = order.expand(wide.shape)
                stays = _fetch(_scatter(numbers, wide, ctx.windows[-1]), wide) == numbers
                fetched = torch.where(stays, fetched, 0)
            gradient[part] = fetched
        return gradient, None, None


def _claim_apart(indices, pool_size, strides, padding, output_size):
    """Whether it is plain that no two values claim one place: each lies in a window that overlaps none."""
    counts, width = indices.shape[1:3], output_size[1]
    for count, pool, stride, pad, length in zip(
        counts, pool_size, strides, padding, output_size, strict=True
    ):
        if pool > stride or pad not in (0, None) or (count - 1) * stride + pool > length:
            return False
    rows, columns = (
        torch.arange(count, dtype=torch.int32, device=indices.device) * stride
        for count, stride in zip(counts, strides, strict=True)
    )
    offsets = indices - (rows[:, None, None] * width + columns[:, None])
    for _ in range(pool_size[0] - 1):  # rather than by a division, which is slow
        offsets.sub_((offsets >= width).int(), alpha=width)
    smallest, largest = torch.aminmax(offsets) if offsets.numel() else (0, 0)
    return bool(smallest >= 0) and bool(largest < pool_size[1])


def _scatter(values, indices, output_size):
    """In order along the places of one channel, so that the last claimant stays."""
    images, _, _, channels = indices.shape
    unpooled = values.new_empty((images, output_size[0] * output_size[1], channels))
    for part, wide in _parts(indices):
        wide.copy_(indices[part])
        unpooled[part].zero_().scatter_(1, wide.flatten(1, 2), values[part].flatten(1, 2))
    return unpooled.reshape(images, *output_size, channels)


def _fetch(unpooled, indices):
    """What lies at each index, both (N, rows, columns, C)."""
    return unpooled.flatten(1, 2).gather(1, indices.flatten(1, 2)).reshape(indices.shape)


def _parts(indices, most_bytes=None):
    """Slices of the batch, each with a place for its indices as the kernels have them.

    `most_bytes`: of these places on a CPU, though one image at least; None for as many images as threads.
    """
    images = indices.shape[0]
    step = images
    if indices.device.type == "cpu" and images:
        step = torch.get_num_threads()
        if most_bytes is not None:
            step = max(most_bytes // max(8 * indices[0].numel(), 1), 1)
    step = min(step, images)
    wide = torch.empty((step, *indices.shape[1:]), dtype=torch.int64, device=indices.device)
    for start in range(0, images, max(step, 1)):
        yield slice(start, start + step), wide[: images - start]


def _planes(x):
    """The kernels' (N, C, H, W) as a view."""
    return x.permute(0, 3, 1, 2)
