import keras
import numpy as np
import pytest

from keras_seg.backbones import pyramid, vgg16
from keras_seg.backbones.explicit_padding import dense_scores
from keras_seg.backbones.taps import halves_exactly
from keras_seg.backbones.vgg import classifier_features, from_keras_vgg16, preprocessing
from tests.backbones.dense_classifier import assert_trunk_sees_the_surroundings_only, dense, head
from tests.backbones.torchvision_golden import TOLERANCE, assert_golden, slow_on_jax
from tests.harness import pixels


@pytest.fixture(scope="module")
def classifier():
    """Half a gigabyte of weights, so built once."""
    return vgg16(include_top=True)


def torchvision_path(name):
    convolutions = ["conv1_1", "conv1_2", "", "conv2_1", "conv2_2", "", "conv3_1", "conv3_2", "conv3_3", "",
                    "conv4_1", "conv4_2", "conv4_3", "", "conv5_1", "conv5_2", "conv5_3"]  # fmt: skip
    if name.startswith("fc"):
        return f"classifier.{ {'fc6': 0, 'fc7': 3, 'fc8': 6}[name] }"
    place = convolutions.index(name)
    # A convolution and its ReLU are two entries there, a pool is one.
    return f"features.{2 * place - convolutions[:place].count('')}"


@pytest.mark.tf_only
def test_parameters_and_sizes(classifier):
    assert classifier.count_params() == 138_357_544
    assert classifier.compute_output_shape((2, 224, 224, 3)) == (2, 1, 1, 1000)
    assert classifier.compute_output_shape((2, 257, 320, 3)) == (2, 3, 4, 1000)


@slow_on_jax
def test_equals_torchvision(classifier):
    assert_golden(classifier, "vgg16", torchvision_path, preprocessing)


@slow_on_jax
def test_equals_keras_applications(classifier):
    """Its dense layers as convolutions: the same logits from the same preprocessed image."""
    source = keras.applications.VGG16(weights=None, classifier_activation=None)
    from_keras_vgg16(classifier, source)
    images = pixels(1, 224, 224, 3).astype("float32") - 128
    expected = source.predict(images, verbose=0)
    received = classifier.predict(images, verbose=0)
    np.testing.assert_allclose(received[:, 0, 0], expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.tf_only
def test_imagenet_weights_and_their_preprocessing(monkeypatch):
    made = []

    def without_download(include_top, weights):
        assert weights == "imagenet"
        made.append(original(include_top=include_top, weights=None))
        return made[-1]

    original = keras.applications.VGG16
    monkeypatch.setattr(keras.applications, "VGG16", without_download)
    model = vgg16((None, None, 4), weights="imagenet")
    theirs, ours = made[0].get_layer("block1_conv1"), model.get_layer("conv1_1")
    kernel = theirs.get_weights()[0]
    np.testing.assert_array_equal(ours.get_weights()[0][:, :, :3], kernel)
    np.testing.assert_array_equal(ours.get_weights()[0][:, :, 3], kernel.mean(axis=2))
    theirs, ours = made[0].get_layer("block5_conv3"), model.get_layer("conv5_3")
    np.testing.assert_array_equal(ours.get_weights()[0], theirs.get_weights()[0])

    images = pixels(1, 4, 4, 3).astype("float32")
    matrix, offset = preprocessing(3, "imagenet")
    expected = keras.applications.vgg16.preprocess_input(images.copy())
    np.testing.assert_allclose(images @ matrix.T + offset, expected, atol=1e-4)


@pytest.mark.tf_only
def test_levels():
    maps = pyramid(vgg16())
    assert [tensor.shape[-1] for tensor in maps.output.values()] == [128, 256, 512, 512, 512]
    assert list(maps.output) == ["P1", "P2", "P3", "P4", "P5"]
    assert halves_exactly(maps)


@pytest.mark.tf_only
def test_the_papers_sizes():
    """A padding of 100 and pools that round up: the sizes of the authors' network on an image of 500."""
    trunk = vgg16((500, 500, 3), first_padding=100)
    assert [trunk.get_layer(f"pool{i}").output.shape[1] for i in (3, 4, 5)] == [88, 44, 22]
    assert classifier_features(trunk.output).shape == (None, 16, 16, 4096)


@pytest.mark.tf_only
def test_scores_are_those_of_the_windows():
    model = head(4, lambda features: dense_scores(classifier_features(features), 10, "fc8"))
    features = np.random.default_rng(0).normal(size=(1, 8, 9, 4)).astype("float32")
    received = model.predict(features, verbose=0)
    assert received.shape == (1, 2, 3, 10)
    windows = np.stack([features[0, i : i + 7, j : j + 7].ravel() for i in range(2) for j in range(3)])
    expected = dense(model, "fc8", dense(model, "fc7", dense(model, "fc6", windows)), relu=False)
    # Sums of 4096 products: sqrt(4096) 2^-24 = 4e-6 of their size in each of two layers.
    np.testing.assert_allclose(
        received[0].reshape(6, 10), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.tf_only
def test_trunk_sees_the_surroundings_only():
    # The receptive field is 212 pixels; unit 3 of 7 sees pixels 6 to 217 of a crop of 224.
    assert_trunk_sees_the_surroundings_only(vgg16(), side=224, unit=3)


@pytest.mark.tf_only
def test_padded_classifier_keeps_the_size():
    features = keras.Input((None, None, 4))
    model = keras.Model(features, classifier_features(features, padding="same"))
    assert model.compute_output_shape((1, 5, 3, 4)) == (1, 5, 3, 4096)


@pytest.mark.tf_only
def test_errors():
    with pytest.raises(ValueError, match=r"`weights` must be one of None, 'imagenet'"):
        vgg16(weights="places")
    with pytest.raises(ValueError, match=r"`num_classes` must be 1000 with ImageNet weights"):
        vgg16(include_top=True, num_classes=7, weights="imagenet")
    with pytest.raises(ValueError, match=r"`padding` must be one of 'valid', 'same'"):
        classifier_features(keras.Input((None, None, 4)), padding="full")
    with pytest.raises(ValueError, match=r"`first_padding` must be an integer of at least 0"):
        vgg16(first_padding=-1)
    with pytest.raises(ValueError, match=r"`input_shape` must be \(height, width, channels\)"):
        vgg16((None, None, None))
    features = keras.Input((None, None, 4))
    top = keras.Model(features, classifier_features(features))
    with pytest.raises(ValueError, match=r"`source` must be a VGG16 with a layer 'fc1'"):
        from_keras_vgg16(top, keras.applications.VGG16(weights=None, include_top=False))
    with pytest.raises(ValueError, match=r"`model` must be a model with the layers of vgg16"):
        from_keras_vgg16(keras.Model(features, features), top)
