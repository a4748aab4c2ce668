"""Which sizes a model takes, found from its shapes, and how other sizes are fitted to them."""

import keras
import pytest
from keras import layers

from keras_seg import unet
from keras_seg.export.sizes import SizeRule, size_rules


def test_a_padded_unet_takes_every_size():
    height, width = size_rules(unet(3, (None, None, 3), filters=2, depth=2))
    assert height == width == SizeRule()
    assert height.takes_all
    assert height.plan(37) == (37, 0, 0)


def test_an_unpadded_unet_takes_steps_of_its_pooling():
    height, width = size_rules(unet(2, (None, None, 1), filters=2, depth=2, padding="valid"))
    assert height == width
    assert (height.step, height.margin) == (4, 40)
    for size in (1, 3, 4, 5, 64, 101):
        content, before, after = height.plan(size)
        total = content + before + after
        assert content == size
        assert before == 20
        assert (total - height.first) % 4 == 0
        assert total >= height.first
        # The output covers the image, and no smaller size would have done.
        assert total - 40 >= size
        assert total == height.first or total - 44 < size


def test_the_papers_network_has_a_fixed_size_and_a_margin():
    height, width = size_rules(unet(2, (60, 76, 1), filters=2, depth=2, padding="valid"))
    assert height == SizeRule(fixed=60, margin=40)
    assert width == SizeRule(fixed=76, margin=40)
    assert height.plan(500) == (20, 20, 20)


def test_one_axis_may_be_fixed():
    images = keras.Input((None, 24, 1))
    model = keras.Model(images, layers.Conv2D(2, 3, padding="same")(images))
    assert size_rules(model) == (SizeRule(), SizeRule(fixed=24))


def test_a_network_that_wants_multiples_is_given_multiples():
    images = keras.Input((None, None, 1))
    halved = layers.MaxPooling2D(4)(images)
    model = keras.Model(images, layers.Conv2D(2, 1)(layers.UpSampling2D(4)(halved)))
    rule, _ = size_rules(model)
    assert rule == SizeRule(first=4, step=4)
    assert rule.plan(9) == (9, 0, 3)


def test_an_output_at_a_quarter_of_the_size_is_refused():
    images = keras.Input((None, None, 1))
    model = keras.Model(images, layers.Conv2D(2, 3, strides=4, padding="same")(images))
    with pytest.raises(ValueError, match="`model` must be of an output as large as its input"):
        size_rules(model)


def test_an_output_larger_than_the_input_is_refused():
    images = keras.Input((8, 8, 1))
    model = keras.Model(images, layers.UpSampling2D(2)(images))
    with pytest.raises(ValueError, match="no larger than its input"):
        size_rules(model)
