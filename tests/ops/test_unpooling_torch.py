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


@pytest.fixture
def looks(form, monkeypatch):
    """The number of times that unpooling has looked where its indices lie, as a list of ones."""
    found, look = [], form._claim_apart
    monkeypatch.setattr(form, "_claim_apart", lambda *arguments: found.append(1) or look(*arguments))
    return found


def check_unpool_and_gradient(values, indices, size, data_format="channels_last"):
    import torch

    def last(x):
        x = x.detach().numpy()
        return x if data_format == "channels_last" else np.moveaxis(x, 1, -1)

    values = (values.detach() + 1).requires_grad_()
    unpooled = max_unpool(values, indices, output_size=size, data_format=data_format)
    upstream = torch.from_numpy(distinct(tuple(unpooled.shape), seed=1))
    unpooled.backward(upstream)
    np.testing.assert_array_equal(last(unpooled), reference_unpool(last(values), last(indices), size))
    expected = reference_unpool(last(values), last(indices), size, last(upstream))
    np.testing.assert_array_equal(last(values.grad), expected)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_pools_own_indices_are_known_to_be_apart(looks, data_format, deterministic):
    import torch

    x = distinct((2, 5, 6, 3) if data_format == "channels_last" else (2, 3, 5, 6))
    pooled = max_pool_with_argmax(x, data_format=data_format)
    torch.use_deterministic_algorithms(deterministic)
    try:
        check_unpool_and_gradient(*pooled, (5, 6), data_format)
    finally:
        torch.use_deterministic_algorithms(False)
    assert not looks


@pytest.mark.parametrize(
    "change",
    {
        "written to": lambda indices: indices.fill_(3),
        "written to by a view": lambda indices: indices[:, 0].fill_(3) is None or indices,
        "of the first image twice": lambda indices: indices[:1].expand(2, -1, -1, -1),
        "of one row of windows": lambda indices: indices[:, :1].expand(-1, 2, -1, -1),
        "images for rows": lambda indices: indices.transpose(0, 1),
        "the upper halves, zeros": lambda indices: indices._base[..., 1 - indices.storage_offset()],
        "copied": lambda indices: indices.clone(),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_was_done_to_a_pools_indices_is_seen(looks, change):
    import torch

    _, indices = max_pool_with_argmax(distinct((2, 4, 6, 3)))
    indices = change[1](indices)
    values = torch.from_numpy(distinct(tuple(indices.shape)))
    check_unpool_and_gradient(values, indices, (2 * indices.shape[1], 6))
    assert looks


def test_indices_of_overlapping_windows_are_looked_at(looks):
    x = distinct((2, 5, 6, 3))
    values, indices = max_pool_with_argmax(x, 3, 1)
    unpooled = max_unpool(values.requires_grad_(), indices, 3, 1)
    unpooled.sum().backward()
    assert looks
    places = indices.numpy()
    np.testing.assert_array_equal(unpooled.detach(), reference_unpool(values.detach(), places, (5, 6)))


def test_a_pools_indices_of_a_larger_map_are_refused():
    """They are distinct, and still not to be taken unseen: one is a place beyond the output."""
    x = np.zeros((1, 4, 4, 1), "float32")
    x[0, -1, -1, 0] = 1
    values, indices = max_pool_with_argmax(x)
    with pytest.raises(RuntimeError, match="out of bounds"):
        max_unpool(values, indices, output_size=(3, 4))
