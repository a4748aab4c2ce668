"""CropToMatch and ResizeToMatch: two maps to one size."""

import keras
import numpy as np
import pytest

from keras_seg import ops
from keras_seg.layers import CropToMatch, ResizeToMatch
from tests.harness import assert_reloads_equal, pixels


def maps(height, width, new_height, new_width):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("float32")
    return x, np.zeros((2, new_height, new_width, 5), "float32")


@pytest.mark.parametrize(("align", "top", "left"), [("start", 0, 0), ("center", 1, 2)])
def test_crop(align, top, left):
    x, reference = maps(9, 12, 6, 7)
    layer = CropToMatch(align)
    received = keras.ops.convert_to_numpy(layer([x, reference]))
    np.testing.assert_array_equal(received, x[:, top : top + 6, left : left + 7])
    assert layer.compute_output_shape([x.shape, reference.shape]) == (2, 6, 7, 3)


def test_crop_at_an_offset(tmp_path):
    """The released FCNs' crops: rows and columns 4 to 9 and 4 to 10, also after a reload."""
    x, reference = maps(11, 13, 6, 7)
    received = keras.ops.convert_to_numpy(CropToMatch(offset=4)([x, reference]))
    np.testing.assert_array_equal(received, x[:, 4:10, 4:11])
    images = keras.Input((None, None, 3))
    smaller = keras.layers.Cropping2D(3)(images)
    model = keras.Model(images, CropToMatch(offset=5)([images, smaller]))
    pictures = pixels(2, 12, 15, 3)
    assert_reloads_equal(model, pictures, tmp_path)
    np.testing.assert_array_equal(model.predict(pictures, verbose=0), pictures[:, 5:11, 5:14])


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        ({"offset": 4}, (9, 12), "height of 6 pixels from pixel 4 on"),
        ({"offset": 4}, (10, 10), "width of 7 pixels from pixel 4 on"),
        ({}, (5, 12), r"height of 6 pixels. Received: inputs=\[\(2, 5, 12, 3\), \(2, 6, 7, 5\)\]"),
        ({"align": "center"}, (9, 6), "width of 7 pixels"),
    ],
)
def test_a_window_beyond_the_map_is_refused(options, size, message):
    """A slice would end early, and the logits would be smaller than the image."""
    x, reference = maps(*size, 6, 7)
    layer = CropToMatch(**options)
    with pytest.raises(ValueError, match=message):
        layer([x, reference])
    with pytest.raises(ValueError, match=message):
        layer.compute_output_shape([x.shape, reference.shape])


def test_resize_has_half_pixel_centres():
    x, reference = maps(3, 4, 6, 8)
    received = keras.ops.convert_to_numpy(ResizeToMatch()([x, reference]))

    def line(values, count):
        places = (np.arange(count) + 0.5) * len(values) / count - 0.5
        return np.interp(places, np.arange(len(values)), values)

    expected = np.apply_along_axis(line, 1, np.apply_along_axis(line, 2, x, 8), 6)
    # A weighted mean of four values below 4: about ten roundings.
    np.testing.assert_allclose(received, expected, atol=10 * 4 * 2**-24)


@pytest.mark.tf_only
@pytest.mark.parametrize("portable", [False, True])
def test_resize_in_a_graph_of_any_size(portable):
    """As an export's: the sizes are tensors, which Keras's own resize refuses."""
    import tensorflow as tf

    x, reference = maps(3, 4, 5, 9)
    expected = keras.ops.convert_to_numpy(ResizeToMatch()([x, reference]))
    signature = [tf.TensorSpec((None, None, None, channels)) for channels in (3, 5)]
    with ops.portable(portable):
        received = tf.function(lambda *both: ResizeToMatch()(both), signature)(x, reference)
    np.testing.assert_allclose(received, expected, atol=10 * 4 * 2**-24)


def test_resize_to_the_same_size_changes_nothing():
    x, reference = maps(3, 4, 3, 4)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(ResizeToMatch()([x, reference])), x)


@pytest.mark.parametrize("layer", [CropToMatch(), CropToMatch("center"), ResizeToMatch()])
def test_reloads_and_takes_free_sizes(layer, tmp_path):
    images = keras.Input((None, None, 3))
    small = keras.layers.MaxPooling2D(2, padding="same", data_format="channels_last")(images)
    large = keras.layers.UpSampling2D(2, data_format="channels_last")(small)
    model = keras.Model(images, layer([large, images]))
    assert model.compute_output_shape((2, 7, 9, 3)) == (2, 7, 9, 3)
    assert_reloads_equal(model, pixels(2, 7, 9, 3).astype("float32"), tmp_path)


def test_error():
    with pytest.raises(ValueError, match=r"`align` must be one of 'start', 'center'"):
        CropToMatch("end")
