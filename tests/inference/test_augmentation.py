"""Test-time augmentation: the group of the square, and the mean over it."""

import keras
import numpy as np
import pytest

from keras_seg import unet
from keras_seg.inference import predict_probabilities, test_time_augmentation
from keras_seg.inference.augmentation import moves_for, symmetries
from keras_seg.inference.network import SemanticNetwork


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def directed_network(static=(None, None)):
    """Answers otherwise for a turned or mirrored image: its kernel has no symmetry."""
    images = keras.Input((*static, 1))
    x = keras.layers.Rescaling(1 / 255)(images)
    return keras.Model(images, keras.layers.Conv2D(2, 3, padding="same")(x))


def probabilities(model, images):
    return keras.ops.convert_to_numpy(
        keras.ops.softmax(np.asarray(model.predict_on_batch(images.astype("float32"))))
    )


def test_mean_over_all_eight_moves_of_a_rectangular_image():
    model, images = directed_network(), noise(3, 10, 14, 1)
    expected = 0
    for turn in range(4):
        expected = expected + np.rot90(probabilities(model, np.rot90(images, turn, (1, 2))), -turn, (1, 2))
        mirrored = np.rot90(images[:, ::-1], turn, (1, 2))
        expected = expected + np.rot90(probabilities(model, mirrored), -turn, (1, 2))[:, ::-1]
    result = test_time_augmentation(model, images, batch_size=2)
    assert result.shape == (3, 10, 14, 2) and result.dtype == np.float32
    np.testing.assert_allclose(result, expected / 8, atol=1e-6)


@pytest.mark.parametrize(
    ("flips", "rotations", "count"), [(True, True, 8), (True, False, 4), (False, True, 4), (False, False, 1)]
)
def test_the_moves_form_a_group(flips, rotations, count):
    """Turning the image turns the answer: so it is for every move of the group, and for a group only."""
    model, images = directed_network(), noise(1, 12, 12, 1)
    moves = symmetries(SemanticNetwork(model), flips, rotations)
    assert len(moves) == len(set(moves)) == count
    plain = test_time_augmentation(model, images, flips=flips, rotations=rotations)
    for turn, mirrored in moves:
        moved = np.rot90(images[:, :, ::-1] if mirrored else images, turn, (1, 2))
        answer = np.rot90(
            test_time_augmentation(model, moved, flips=flips, rotations=rotations), -turn, (1, 2)
        )
        np.testing.assert_allclose(answer[:, :, ::-1] if mirrored else answer, plain, atol=1e-6)
    if count == 1:
        np.testing.assert_allclose(plain, probabilities(model, images), atol=1e-6)


def test_fixed_size_that_is_not_square_is_not_turned_by_90_degrees():
    model, images = directed_network((8, 12)), noise(2, 8, 12, 1)
    assert {turn for turn, _ in symmetries(SemanticNetwork(model))} == {0, 2}
    both = (images, images[:, ::-1, ::-1])
    expected = (probabilities(model, both[0]) + probabilities(model, both[1])[:, ::-1, ::-1]) / 2
    np.testing.assert_allclose(test_time_augmentation(model, images, flips=False), expected, atol=1e-6)


def test_valid_network():
    model = unet(2, (None, None, 1), padding="valid", filters=2, depth=1)
    images = noise(1, 24, 30, 1)
    result = test_time_augmentation(model, images)
    turned = test_time_augmentation(model, np.rot90(images, 1, (1, 2)))
    assert result.shape == model.compute_output_shape(images.shape)
    np.testing.assert_allclose(np.rot90(turned, -1, (1, 2)), result, atol=1e-5)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"`images.shape` must be \(N, H, W, C\)"):
        test_time_augmentation(directed_network(), noise(8, 8, 1))
    with pytest.raises(ValueError, match="`images` must be at least one image"):
        test_time_augmentation(directed_network(), noise(0, 8, 8, 1))
    with pytest.raises(ValueError, match="`model` must be a network with one input"):
        images = keras.Input((8, 8, 1))
        test_time_augmentation(keras.Model(images, keras.layers.Flatten()(images)), noise(1, 8, 8, 1))


def test_moves_of_the_argument_augment():
    network = SemanticNetwork(directed_network())
    turns = network.takes_quarter_turns
    assert moves_for(turns, None) == [(0, False)]
    assert moves_for(turns, "mirror") == [(0, False), (0, True)]
    assert sorted(moves_for(turns, "all")) == [(turn, flip) for turn in range(4) for flip in (False, True)]
    with pytest.raises(ValueError, match=r"`augment` must be one of None, 'mirror', 'all'"):
        moves_for(turns, True)


def test_mirror_is_the_mean_of_two():
    model = directed_network()
    images = noise(2, 8, 10, 1)
    network = SemanticNetwork(model)
    expected = (network.probabilities(images) + network.probabilities(images[:, :, ::-1])[:, :, ::-1]) / 2
    received = np.stack(predict_probabilities(model, images, augment="mirror"))
    np.testing.assert_allclose(received, expected, atol=1e-6)
