"""Convolutions as matrix products: against loops in float64 and Keras's own, gradients included."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.ops import convert_to_tensor as tensor

from keras_seg.ops.window_products import conv_by_product, conv_transpose_by_product
from tests.ops.box_cases import gradient

# (map, kernel): one window, one in either direction, several; a kernel of one position; even and oblong ones.
CASES = [
    ((7, 7), (7, 7)),
    ((3, 5), (3, 2)),
    ((5, 3), (2, 3)),
    ((6, 9), (4, 3)),
    ((4, 3), (1, 1)),
    ((1, 1), (1, 1)),
]


def arrays(size, kernel, transposed=False):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *size, 3)).astype("float32")
    return x, rng.standard_normal((*kernel, *((4, 3) if transposed else (3, 4)))).astype("float32")


def conv_by_loops(x, kernel):
    height, width, _, units = kernel.shape
    out = np.zeros((len(x), x.shape[1] - height + 1, x.shape[2] - width + 1, units))
    for i, j in np.ndindex(*out.shape[1:3]):
        window = x[:, i : i + height, j : j + width].astype("float64")
        out[:, i, j] = np.einsum("nhwc,hwcd->nd", window, kernel)
    return out


def conv_transpose_by_loops(x, kernel):
    height, width, units, _ = kernel.shape
    out = np.zeros((len(x), x.shape[1] + height - 1, x.shape[2] + width - 1, units))
    for i, j in np.ndindex(*x.shape[1:3]):
        out[:, i : i + height, j : j + width] += np.einsum(
            "nc,hwdc->nhwd", x[:, i, j].astype("float64"), kernel
        )
    return out


def kernel_gradient_by_loops(x, upstream, kernel_size):
    """Of the sum of `upstream` times the convolution of x."""
    height, width = upstream.shape[1:3]
    out = np.zeros((*kernel_size, x.shape[3], upstream.shape[3]))
    for i, j in np.ndindex(*kernel_size):
        out[i, j] = np.einsum(
            "nhwc,nhwd->cd", x[:, i : i + height, j : j + width].astype("float64"), upstream
        )
    return out


PAIRS = {
    "conv": (conv_by_product, conv_by_loops, ops.conv),
    "transpose": (conv_transpose_by_product, conv_transpose_by_loops, ops.conv_transpose),
}


@pytest.mark.parametrize(("size", "kernel"), CASES)
@pytest.mark.parametrize("name", PAIRS)
def test_values(name, size, kernel):
    product, loops, reference = PAIRS[name]
    x, weights = arrays(size, kernel, name == "transpose")
    found = ops.convert_to_numpy(product(tensor(x), tensor(weights)))
    expected = loops(x, weights)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=rounding(loops, x, weights))
    keras_own = reference(x, weights, 1, padding="valid", data_format="channels_last")
    np.testing.assert_allclose(found, ops.convert_to_numpy(keras_own), atol=rounding(loops, x, weights))


@pytest.mark.parametrize(("size", "kernel"), CASES)
@pytest.mark.parametrize("name", PAIRS)
def test_gradients(name, size, kernel):
    product, loops, _ = PAIRS[name]
    x, weights = arrays(size, kernel, name == "transpose")
    upstream = np.random.default_rng(1).standard_normal(loops(x, weights).shape).astype("float32")
    by_x = gradient(lambda x: ops.sum(product(x, tensor(weights)) * tensor(upstream)), x)
    by_weights = gradient(lambda weights: ops.sum(product(tensor(x), weights) * tensor(upstream)), weights)
    if name == "conv":
        other, taps = conv_transpose_by_loops, kernel_gradient_by_loops(x, upstream, kernel)
    else:
        # The two are each other's gradient: map and upstream change places.
        other, taps = conv_by_loops, kernel_gradient_by_loops(upstream, x, kernel)
    np.testing.assert_allclose(by_x, other(upstream, weights), atol=rounding(other, upstream, weights))
    np.testing.assert_allclose(by_weights, taps, atol=1e-4)


def rounding(loops, x, weights):
    """A sum of n products in float32 is off by at most n / 2**24 of the sum of their sizes."""
    return loops(np.abs(x), np.abs(weights)).max() * weights[..., 0].size / 2**24


@pytest.mark.parametrize("size", [(4, 4), (7, 6)])
def test_maps_below_the_kernel_are_refused(size):
    with pytest.raises(ValueError, match="`x` must be a map of at least 7 x 7"):
        conv_by_product(ops.zeros((2, *size, 3)), ops.zeros((7, 7, 3, 4)))


def test_sums_of_overlapping_windows_are_rounded_once():
    x, weights = arrays((6, 6), (5, 5), transposed=True)
    x, weights = (ops.cast(array, "bfloat16") for array in (x, weights))
    found = conv_transpose_by_product(x, weights)
    found, x, weights = (ops.convert_to_numpy(ops.cast(a, "float32")) for a in (found, x, weights))
    exact = conv_transpose_by_loops(x, weights)
    # Each of 25 products is rounded to 8 bits, and the sum again.
    sizes = conv_transpose_by_loops(np.abs(x), np.abs(weights))
    assert np.all(np.abs(found - exact) <= sizes * 2.0**-8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_its_dtype(dtype):
    x, weights = arrays((7, 7), (7, 7))
    found = conv_by_product(ops.cast(x, dtype), ops.cast(weights, dtype))
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    found = ops.convert_to_numpy(ops.cast(found, "float32"))
    np.testing.assert_allclose(found, conv_by_loops(x, weights), atol=0.4)
