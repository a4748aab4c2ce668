"""What PyTorch's form does without a copy: indices as halves of the kernels' own, and the look at windows."""

import keras
import numpy as np
import pytest

from keras_seg.ops import max_pool_with_argmax, max_unpool
from tests.ops.pooling_loops import distinct, reference_pool, reference_unpool

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="a form of PyTorch")


@pytest.fixture(scope="module")
def form():
    """The form under test; imported here, since other backends do without PyTorch."""
    from keras_seg.ops.fast import pooling_torch

    return pooling_torch


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_unpooling_finds_the_whole_indices_behind_a_pools(form, channels, data_format):
    x = distinct((2, 4, 6, channels) if data_format == "channels_last" else (2, channels, 4, 6))
    _, indices = max_pool_with_argmax(x, data_format=data_format)
    whole = form._whole(indices)
    assert whole.data_ptr() == indices.data_ptr()
    np.testing.assert_array_equal(whole.numpy(), indices.numpy())
    assert str(indices.dtype) == "torch.int32"
    plain = indices.contiguous()
    assert form._whole(plain).data_ptr() != plain.data_ptr()


@pytest.mark.parametrize("other_half", [7, -1])
@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_other_numbers_between_the_indices_do_no_harm(other_half, size):
    """An int32 view of every second number looks as a pool's indices do."""
    import torch

    places = reference_pool(distinct((2, *size, 3)), (2, 2), (2, 2), "valid")[1]
    both = torch.full((*places.shape, 2), other_half, dtype=torch.int32)
    both[..., 0] = torch.from_numpy(places)
    values = torch.from_numpy(distinct(places.shape) + 1).requires_grad_()
    upstream = distinct((2, *size, 3), seed=1)
    unpooled = max_unpool(values, both[..., 0], output_size=size)
    unpooled.backward(torch.from_numpy(upstream))
    np.testing.assert_array_equal(unpooled.detach(), reference_unpool(values.detach(), places, size))
    expected = reference_unpool(values.detach(), places, size, upstream)
    np.testing.assert_array_equal(values.grad, expected)


@pytest.mark.parametrize("rows", range(1, 7))
@pytest.mark.parametrize("columns", range(1, 5))
def test_an_index_is_in_its_window_or_not(form, rows, columns):
    """Every place of a map, for a window in its middle."""
    import torch

    height, width = 3 * rows, 3 * columns + 1
    start = rows * width + columns
    inside = {start + row * width + column for row in range(rows) for column in range(columns)}
    places = torch.zeros((3, 3, 1), dtype=torch.int32)
    places[:] = torch.arange(3)[:, None, None] * rows * width + torch.arange(3)[:, None] * columns
    for place in range(height * width):
        places[1, 1, 0] = place
        found = form._in_windows(places, (rows, columns), (rows, columns), (height, width))
        assert found == (place in inside), place


def test_an_index_outside_the_map_is_told_once():
    values = np.ones((1, 1, 1, 1), "float32")
    with pytest.raises(RuntimeError, match="out of bounds") as caught:
        max_unpool(values, np.full((1, 1, 1, 1), 4, "int32"))
    assert caught.value.__context__ is None
