import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.backbones import pyramid
from keras_seg.backbones.taps import halves_exactly
from tests.harness import pixels


def small_network(padding="same"):
    images = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, padding=padding, name="a1")(images)
    x = layers.Conv2D(5, 3, padding="same", name="a2")(x)
    padded = layers.ZeroPadding2D(1, name="rim")(x)
    x = layers.Conv2D(6, 3, strides=2, padding="valid", name="b")(padded)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply(name="scaled")([x, layers.Conv2D(6, 1, activation="sigmoid")(squeezed)])
    x = layers.MaxPooling2D(2, padding=padding, name="c")(x)
    return keras.Model(images, x, name="small")


def test_takes_the_last_map_of_each_level():
    maps = pyramid(small_network())
    assert list(maps.output) == ["P1", "P2", "P3"]
    assert [tensor.shape[-1] for tensor in maps.output.values()] == [5, 6, 6]
    source = small_network()
    maps = pyramid(source)
    images = pixels(1, 20, 24, 3).astype("float32")
    expected = keras.Model(source.inputs[0], source.get_layer("scaled").output)(images)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(maps(images)["P2"]), keras.ops.convert_to_numpy(expected)
    )


def test_sees_whether_sizes_are_rounded_up():
    assert halves_exactly(pyramid(small_network()))
    assert not halves_exactly(pyramid(small_network("valid")))


def test_a_dictionary_of_levels_is_taken_as_it_is():
    source = small_network()
    named = keras.Model(source.inputs[0], {"P2": source.get_layer("b").output, "P3": source.output})
    assert pyramid(named) is named


def test_attributes_of_keras_hub_and_keras_cv():
    source = small_network()
    source.pyramid_outputs = {"P1": source.get_layer("a1").output, "P3": source.output}
    assert pyramid(source).output["P1"].shape[-1] == 4
    source = small_network()
    source.pyramid_level_inputs = {"P1": "a1", "P2": "b"}
    maps = pyramid(source)
    assert list(maps.output) == ["P1", "P2"]


def test_a_network_without_levels_is_refused():
    images = keras.Input((None, None, 3))
    flat = keras.Model(images, layers.Conv2D(4, 3, padding="same")(images), name="flat")
    with pytest.raises(ValueError, match=r"`backbone` must be a model with feature maps 2, 4, 8"):
        pyramid(flat)
