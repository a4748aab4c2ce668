"""Pooling with indices and unpooling against loops in float64: values, places, gradients, dtypes, errors."""

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies
from keras import ops

from keras_seg.ops import max_pool_with_argmax, max_unpool, portable
from tests.ops.box_cases import gradient
from tests.ops.pooling_loops import WINDOWS, distinct, reference_pool, reference_unpool, run, spans, tied

BACKEND = keras.backend.backend()
ONE_FORM = ("jax",)
pool, unpool = max_pool_with_argmax, max_unpool


@pytest.mark.parametrize(("pool_size", "strides", "padding", "size"), WINDOWS)
def test_pool_is_the_loops_and_unpool_undoes_it(form, pool_size, strides, padding, size):
    windows = (pool_size, strides, padding)
    x = tied((2, *size, 3), lowest=0.3)
    expected, places = reference_pool(x, *windows)
    values, indices = run(lambda x: max_pool_with_argmax(x, *windows), x)
    assert values.dtype == np.float32
    assert indices.dtype == np.int32
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(indices, places)
    # Other values than the pool's, so that it shows which of several claimants stayed.
    other = distinct(values.shape) + 1
    unpooled = run(lambda *pooled: max_unpool(*pooled, *windows, output_size=size), other, indices)
    np.testing.assert_array_equal(unpooled, reference_unpool(other, places, size))


pairs = strategies.tuples(strategies.integers(1, 5), strategies.integers(1, 5))


@pytest.mark.skipif(BACKEND == "jax", reason="each case would be compiled anew")
@hypothesis.settings(max_examples=40, deadline=None, derandomize=True, database=None)
@hypothesis.given(pool_size=pairs, strides=pairs, padding=strategies.sampled_from(["valid", "same", "half"]),
                  more=strategies.tuples(strategies.integers(0, 6), strategies.integers(0, 6)))  # fmt: skip
def test_any_windows(pool_size, strides, padding, more):
    for forced in (False, True):
        with portable(forced):
            check_any_windows(pool_size, strides, padding, more)


def check_any_windows(pool_size, strides, padding, more):
    cells = tuple(side // 2 for side in pool_size) if padding == "half" else padding
    size = tuple(side + extra for side, extra in zip(pool_size, more, strict=True))
    x = tied((1, *size, 2), lowest=0.2)
    expected, places = reference_pool(x, pool_size, strides, cells)
    values, indices = max_pool_with_argmax(x, pool_size, strides, cells)
    np.testing.assert_array_equal(ops.convert_to_numpy(values), expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), places)
    other = distinct(expected.shape) + 1
    unpooled = max_unpool(other, indices, pool_size, strides, cells, output_size=size)
    np.testing.assert_array_equal(ops.convert_to_numpy(unpooled), reference_unpool(other, places, size))


@pytest.mark.parametrize(("pool_size", "strides", "padding", "size"), WINDOWS[:9:2])
def test_any_index_inside_the_output_is_taken(form, pool_size, strides, padding, size):
    """Also of another window, and several of one place: the last in row-major order stays."""
    places = reference_pool(np.zeros((2, *size, 3)), pool_size, strides, padding)[1]
    values, count = distinct(places.shape) + 1, size[0] * size[1]

    def unpooled(values, indices):
        return max_unpool(values, indices, pool_size, strides, padding, output_size=size)

    cases = [np.random.default_rng(seed).integers(0, count, places.shape) for seed in range(3)]
    # Every index in its own window but one, which is moved out of it: to each side, up and down.
    for step in (-pool_size[1], pool_size[1], -pool_size[0] * size[1], pool_size[0] * size[1]):
        cases.append(places.copy())
        middle = tuple(length // 2 for length in places.shape)
        cases[-1][middle] = np.clip(places[middle] + step, 0, count - 1)
    for indices in cases:
        expected = reference_unpool(values, indices, size)
        np.testing.assert_array_equal(run(unpooled, values, indices), expected)


@pytest.mark.parametrize(("pool_size", "strides", "padding", "size"), WINDOWS[::2])
def test_gradients_reach_the_winners_alone(form, pool_size, strides, padding, size):
    windows = (pool_size, strides, padding)
    x = tied((2, *size, 2))
    expected, places = reference_pool(x, *windows)
    upstream = distinct(expected.shape) + 1
    received = gradient(lambda x: ops.sum(ops.multiply(max_pool_with_argmax(x, *windows)[0], upstream)), x)
    winners = np.zeros((2, size[0] * size[1], 2))
    for image, i, j, channel in np.ndindex(expected.shape):
        winners[image, places[image, i, j, channel], channel] += upstream[image, i, j, channel]
    np.testing.assert_array_equal(received, winners.reshape(x.shape))

    upstream = distinct(x.shape, seed=1) + 1
    for indices in (places, np.random.default_rng(0).integers(0, size[0] * size[1], places.shape)):
        received = gradient(
            lambda values, indices=indices: ops.sum(
                ops.multiply(max_unpool(values, indices, *windows, output_size=size), upstream)
            ),
            expected.astype("float32"),
        )
        np.testing.assert_array_equal(received, reference_unpool(expected, indices, size, upstream))


@pytest.mark.parametrize("strides", [2, 1])
def test_gradient_through_both_is_the_finite_difference(form, strides):
    """Both are piecewise linear, and with integers a step of 1/4 stays within a piece: no rounding at all."""
    size = (5, 4)
    x, weights = distinct((1, *size, 2)), distinct((1, *size, 2), seed=1)

    def there_and_back(x):
        values, indices = max_pool_with_argmax(x, 2, strides)
        return max_unpool(values * 2.0, indices, 2, strides, output_size=size)

    differences = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 0.25
        ahead, behind = (run(there_and_back, moved) * weights for moved in (x + step, x - step))
        differences[place] = (ahead - behind).sum() / 0.5
    received = gradient(lambda x: ops.sum(ops.multiply(there_and_back(x), weights)), x)
    np.testing.assert_array_equal(received, differences)
    assert (differences != 0).any()


def test_of_equal_values_the_first_wins(form):
    x = np.zeros((1, 2, 4, 1), "float32")
    x[0, :, 2:, 0] = [[1, 7], [7, 2]]
    _, indices = max_pool_with_argmax(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(indices).ravel(), [0, 3])


@pytest.mark.parametrize(("pool_size", "strides", "padding"), [(2, 2, "same"), (3, 2, "same"), (3, 2, 1)])
def test_padding_never_wins(form, pool_size, strides, padding):
    pads = padding if padding == "same" else (padding, padding)
    for number in (-np.inf, np.finfo("float32").min, -5.0):
        x = np.full((1, 5, 7, 1), number, "float32")
        values, indices = run(lambda x: max_pool_with_argmax(x, pool_size, strides, padding), x)
        expected, places = reference_pool(x, (pool_size,) * 2, (strides,) * 2, pads)
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(indices, places)


def test_nan_leaves_the_index_in_the_window(form):
    for place in range(4):
        x = np.arange(8, dtype="float32").reshape(1, 2, 4, 1)
        x[0, place // 2, place % 2, 0] = np.nan
        values, indices = run(max_pool_with_argmax, x)
        assert indices[0, 0, 0, 0] in (0, 1, 4, 5)
        assert (values[0, 0, 1, 0], indices[0, 0, 1, 0]) == (7, 7)
        if BACKEND != "tensorflow" or form == "portable":
            assert np.isnan(values[0, 0, 0, 0])
            assert indices[0, 0, 0, 0] == (place // 2) * 4 + place % 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(form, dtype):
    x = ops.cast(tied((2, 5, 6, 3), lowest=0.2), dtype)
    values, indices = max_pool_with_argmax(x, 2, padding="same")
    unpooled = max_unpool(values, indices, 2, padding="same", output_size=(5, 6))
    assert [keras.backend.standardize_dtype(t.dtype) for t in (values, indices, unpooled)] == [
        dtype, "int32", dtype,
    ]  # fmt: skip
    expected, places = reference_pool(tied((2, 5, 6, 3), lowest=0.2), (2, 2), (2, 2), "same")
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(values, "float32")), expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), places)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(unpooled, "float32")), reference_unpool(expected, places, (5, 6))
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("windows", [(2, 2, "same"), (3, 2, "valid"), (3, 2, 1)])
def test_gradients_of_every_dtype_and_layout(form, dtype, data_format, windows):
    """Whole numbers below 2**8, their sums too, are exact in every dtype."""
    size, first = (5, 6), data_format == "channels_first"
    x, upstream = distinct((2, *size, 3)), distinct((2, *size, 3), seed=1) % 31 + 1
    pads = windows[2] if isinstance(windows[2], str) else (windows[2],) * 2
    expected, places = reference_pool(x, (windows[0],) * 2, (windows[1],) * 2, pads)
    weights = distinct(expected.shape, seed=2) % 31 + 1

    def layout(array):
        return np.moveaxis(array, -1, 1) if first else array

    def total(function, weights):
        def run(x):
            received = function(ops.cast(x, dtype))
            assert keras.backend.standardize_dtype(received.dtype) == dtype
            return ops.sum(ops.multiply(ops.cast(received, "float32"), layout(weights)))

        return run

    pooled = gradient(total(lambda x: max_pool_with_argmax(x, *windows, data_format)[0], weights), layout(x))
    winners = np.zeros((2, size[0] * size[1], 3))
    for image, i, j, channel in np.ndindex(expected.shape):
        winners[image, places[image, i, j, channel], channel] += weights[image, i, j, channel]
    np.testing.assert_array_equal(pooled, layout(winners.reshape(x.shape)))

    indices = layout(places).astype("int32")
    unpooled = gradient(
        total(lambda values: max_unpool(values, indices, *windows, size, data_format), upstream),
        layout(expected).astype("float32"),
    )
    np.testing.assert_array_equal(unpooled, layout(reference_unpool(expected, places, size, upstream)))


@pytest.mark.parametrize(("pool_size", "strides"), [(2, 2), (3, 2)])
def test_a_nan_in_windows_that_padding_cuts_leaves_the_index_in_the_window(form, pool_size, strides):
    size = (3, 5)
    rows, columns = (spans(length, pool_size, strides, "same") for length in size)
    for place in np.ndindex(size):
        x = np.zeros((1, *size, 1), "float32")
        x[(0, *place, 0)] = np.nan
        _, indices = run(lambda x: max_pool_with_argmax(x, pool_size, strides, "same"), x)
        for i, j in np.ndindex(len(rows), len(columns)):
            row, column = divmod(int(indices[0, i, j, 0]), size[1])
            assert row in rows[i] and column in columns[j], (place, i, j)


@pytest.mark.parametrize("index", [2**32, 2**40 + 3, -(2**33)])
def test_an_index_that_int32_cannot_hold_is_outside(form, index):
    values, indices = np.ones((1, 1, 1, 1), "float32"), np.full((1, 1, 1, 1), index, "int64")
    given = [indices] if BACKEND == "jax" else [indices, ops.convert_to_tensor(indices)]
    for indices in given:
        if BACKEND != "jax" and form == "default":
            with pytest.raises(Exception, match="out of bounds"):
                max_unpool(values, indices)
        else:
            assert not ops.convert_to_numpy(max_unpool(values, indices)).any()


def test_sizes_as_tensors_with_a_value_are_checked(form):
    values, indices = np.ones((1, 2, 2, 1), "float32"), np.zeros((1, 2, 2, 1), "int32")
    size = tuple(ops.convert_to_tensor(side, "int32") for side in (5, 4))
    assert tuple(max_unpool(values, indices, output_size=size).shape) == (1, 5, 4, 1)
    with pytest.raises(ValueError, match="9 is not within 3..5"):
        max_unpool(values, indices, output_size=(ops.convert_to_tensor(9, "int32"), 4))
    with pytest.raises(ValueError, match="`output_size` must be a pair of integers.*float32"):
        max_unpool(values, indices, output_size=(ops.convert_to_tensor(4.0), 4))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32"])
def test_indices_of_any_integer_dtype(form, dtype):
    indices = np.array([[[[3]]]], dtype)
    unpooled = ops.convert_to_numpy(max_unpool(np.ones((1, 1, 1, 1), "float32"), indices))
    np.testing.assert_array_equal(unpooled.ravel(), [0, 0, 0, 1])


def test_channels_first(form):
    x = tied((2, 3, 5, 6))
    values, indices = max_pool_with_argmax(x, 2, data_format="channels_first")
    unpooled = max_unpool(values, indices, 2, output_size=(5, 6), data_format="channels_first")
    expected, places = reference_pool(x.transpose(0, 2, 3, 1), (2, 2), (2, 2), "valid")
    np.testing.assert_array_equal(ops.convert_to_numpy(values), expected.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(ops.convert_to_numpy(indices), places.transpose(0, 3, 1, 2))
    back = reference_unpool(expected, places, (5, 6)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(ops.convert_to_numpy(unpooled), back)


def test_default_output_sizes():
    values, indices = np.ones((1, 3, 4, 1), "float32"), np.zeros((1, 3, 4, 1), "int32")
    for windows, size in [
        ((2,), (6, 8)),
        (((3, 2), (2, 1)), (7, 5)),
        ((3, 2, 1), (5, 7)),
        ((3, 2, "same"), (6, 8)),
    ]:
        assert tuple(max_unpool(values, indices, *windows).shape) == (1, *size, 1)


def test_an_index_is_read_with_the_outputs_own_width(form):
    """As in PyTorch: the flat index of a map of width 4, in an output of width 5, is another cell."""
    values = np.arange(1, 5, dtype="float32").reshape(1, 2, 2, 1)
    indices = np.array([5, 7, 13, 15]).reshape(1, 2, 2, 1)
    unpooled = ops.convert_to_numpy(max_unpool(values, indices, output_size=(5, 5)))
    np.testing.assert_array_equal(np.flatnonzero(unpooled), [5, 7, 13, 15])
    np.testing.assert_array_equal(unpooled, reference_unpool(values, indices, (5, 5)))


def test_no_images(form):
    values, indices = max_pool_with_argmax(np.zeros((0, 4, 4, 2), "float32"))
    assert tuple(indices.shape) == (0, 2, 2, 2)
    assert tuple(max_unpool(values, indices).shape) == (0, 4, 4, 2)


@pytest.mark.parametrize("index", [16, -1])
def test_an_index_outside_the_output(form, index):
    """With two images, so that it would be a place of the other one."""
    values, indices = np.ones((2, 2, 2, 1), "float32"), np.zeros((2, 2, 2, 1), "int32")
    indices[:] = index
    if BACKEND != "jax" and form == "default":
        with pytest.raises(Exception, match="out of bounds"):
            max_unpool(values, indices)
    else:
        assert not ops.convert_to_numpy(max_unpool(values, indices)).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, i: pool(x[0]), r"`x.shape` must be \(N, H, W, C\), 4 axes. Received.*\(4, 4, 1\)"),
        (lambda x, i: pool(x[0], data_format="channels_first"), r"`x.shape` must be \(N, C, H, W\)"),
        (lambda x, i: pool(i), "`x.dtype` must be a floating-point dtype. Received: .*int32.*Cast"),
        (lambda x, i: pool(x, -2), "`pool_size` must be an integer of at least 1. Received: .*=-2"),
        (lambda x, i: pool(x, 2, 0), "`strides` must be an integer of at least 1. Received: .*=0"),
        (lambda x, i: pool(x, padding="full"), "`padding` must be one of 'valid', 'same'. Received: .*full"),
        (lambda x, i: pool(x, 3, padding=2), r"`padding` must be at most half of pool_size=\(3, 3\)"),
        (lambda x, i: pool(x, 2, padding=-1), "`padding` must be an integer of at least 0. Received: .*=-1"),
        (lambda x, i: pool(x, 5), r"`x.shape` must be at least as .* pool_size=\(5, 5\).*\(1, 4, 4, 1\)"),
        (lambda x, i: pool(x, data_format="NCHW"), "`data_format` must be one of 'channels_last'"),
        (lambda x, i: unpool(x[0], i), r"`values.shape` must be \(N, H, W, C\)"),
        (lambda x, i: unpool(i, i), "`values.dtype` must be a floating-point dtype"),
        (lambda x, i: unpool(x, x), "`indices.dtype` must be an integer dtype. Received: .*float32"),
        (lambda x, i: unpool(x, i > 0), "`indices.dtype` must be an integer dtype. Received: .*bool"),
        (lambda x, i: unpool(x, i[:, :2]), r"`indices.shape` .* `values`, \(1, 4, 4, 1\).*\(1, 2, 4, 1\)"),
        (lambda x, i: unpool(x[:0], i), r"`indices.shape` must be that of `values`, \(0, 4, 4, 1\)"),
        (lambda x, i: unpool(x, i[0]), "`indices.shape` must be that of `values`"),
        (
            lambda x, i: unpool(x, i, output_size=(10, 8)),
            r"away from the default, \(8, 8\).*10 is not within 7..9",
        ),
        (lambda x, i: unpool(x, i, output_size=(8, 6)), "`output_size` .* 6 is not within 7..9"),
        (lambda x, i: unpool(x, i, padding="same", output_size=(9, 8)), "9 is not within 7..8"),
        (lambda x, i: unpool(x, i, output_size=8), r"`output_size` must be a pair \(height, width\)"),
        (lambda x, i: unpool(x, i, output_size=(0, 8)), "`output_size` must be an integer of at least 1"),
    ],
)
def test_errors_name_the_argument(call, message):
    x, indices = np.zeros((1, 4, 4, 1), "float32"), np.zeros((1, 4, 4, 1), "int32")
    with pytest.raises(ValueError, match=message):
        call(x, indices)


def test_the_functional_api_takes_the_layers():
    placeholder = keras.KerasTensor((None, 4, 4, 1))
    with pytest.raises(TypeError, match="MaxPoolingWithArgmax2D"):
        max_pool_with_argmax(placeholder)
    with pytest.raises(TypeError, match="MaxUnpooling2D"):
        max_unpool(placeholder, placeholder)
