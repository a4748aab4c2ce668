"""BilinearUpsampling2D: FCN's kernel, by loops, fixed and learned."""

import keras
import numpy as np
import pytest

from keras_seg import ops
from keras_seg.layers import BilinearUpsampling2D
from tests.harness import assert_reloads_equal

# Each output is a sum of four products of values below 4 with weights below 1: about ten roundings.
TOLERANCE = 10 * 4 * 2**-24


def maps(height=4, width=3, channels=2):
    return np.random.default_rng(0).normal(size=(2, height, width, channels)).astype("float32")


def run(layer, x):
    return keras.ops.convert_to_numpy(layer(x))


def transposed_convolution(x, factor, kernel_size):
    """Every input pixel adds the kernel, weight (1 - |dy| / f)(1 - |dx| / f), where it lands."""
    spread = (kernel_size + 1) // 2
    centre = spread - 1 if kernel_size % 2 else spread - 0.5
    line = np.array([1 - abs(i - centre) / spread for i in range(kernel_size)])
    batch, height, width, channels = x.shape
    out = np.zeros((batch, (height - 1) * factor + kernel_size, (width - 1) * factor + kernel_size, channels))
    for y in range(height):
        for z in range(width):
            window = out[:, y * factor :, z * factor :][:, :kernel_size, :kernel_size]
            window += np.outer(line, line)[None, :, :, None] * x[:, y, z].astype("float64")[:, None, None]
    return out


def half_pixel_resize(x, factor):
    def line(values):
        places = (np.arange(len(values) * factor) + 0.5) / factor - 0.5
        return np.interp(places, np.arange(len(values)), values)

    return np.apply_along_axis(line, 1, np.apply_along_axis(line, 2, x.astype("float64")))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(("factor", "kernel_size"), [(2, None), (3, None), (8, None), (4, 7), (2, 3)])
def test_valid_is_the_transposed_convolution(factor, kernel_size, learned):
    x = maps()
    layer = BilinearUpsampling2D(factor, "valid", learned, kernel_size)
    expected = transposed_convolution(x, factor, layer.kernel_size)
    np.testing.assert_allclose(run(layer, x), expected, atol=TOLERANCE)
    assert layer.compute_output_shape(x.shape) == expected.shape


@pytest.mark.tf_only
@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_same_in_a_graph_of_any_size(factor, portable):
    """As an export's: the sizes are tensors, which Keras's own resize refuses."""
    import tensorflow as tf

    layer = BilinearUpsampling2D(factor)
    with ops.portable(portable):
        function = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 2))])
        received = function(maps()).numpy()
    np.testing.assert_allclose(received, half_pixel_resize(maps(), factor), atol=TOLERANCE)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_same_is_the_half_pixel_resize(factor, learned):
    x = maps()
    layer = BilinearUpsampling2D(factor, learned=learned)
    np.testing.assert_allclose(run(layer, x), half_pixel_resize(x, factor), atol=TOLERANCE)
    assert layer.compute_output_shape((None, None, 3, 2)) == (None, None, 3 * factor, 2)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_one_pixel(padding):
    x = maps(1, 1)
    layer = BilinearUpsampling2D(4, padding)
    expected = half_pixel_resize(x, 4) if padding == "same" else transposed_convolution(x, 4, 8)
    np.testing.assert_allclose(run(layer, x), expected, atol=TOLERANCE)


def test_a_learned_kernel_has_every_pair_of_channels():
    layer = BilinearUpsampling2D(32, learned=True)
    layer.build((None, None, None, 21))
    assert layer.count_params() == 1_806_336  # the released FCN-32s: 21 x 21 x 64 x 64
    fixed = BilinearUpsampling2D(32)
    fixed.build((None, None, None, 21))
    assert fixed.count_params() == 0


def test_float32_under_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = BilinearUpsampling2D(2)
    x = keras.ops.cast(maps(), "bfloat16")
    received = layer(x)
    assert keras.backend.standardize_dtype(received.dtype) == "float32"
    exact = half_pixel_resize(keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")), 2)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(received), exact, atol=TOLERANCE)


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": "valid"}, {"learned": True}, {"padding": "valid", "kernel_size": 3}],
)
def test_reloads(options, tmp_path):
    images = keras.Input((None, None, 2))
    model = keras.Model(images, BilinearUpsampling2D(2, **options)(images))
    assert_reloads_equal(model, maps(), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0}, r"`factor` must be an integer of at least 1. Received: factor=0"),
        ({"factor": 2, "padding": "full"}, r"`padding` must be one of 'same', 'valid'"),
        ({"factor": 2, "kernel_size": 3}, r"`kernel_size` must be one of 4. .*padding=\"valid\""),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        BilinearUpsampling2D(**options)


def test_wrong_rank():
    with pytest.raises(ValueError, match=r"`inputs.shape` must be \(N, H, W, C\), 4 axes"):
        BilinearUpsampling2D(2)(np.zeros((3, 4, 5), "float32"))
