import keras
import numpy as np
import pytest

from keras_seg import backbones
from keras_seg.backbones import pyramid, resnet18, resnet50
from keras_seg.backbones.explicit_padding import averaged_scores
from keras_seg.backbones.resnet import classifier_features, last_stage, preprocessing
from keras_seg.backbones.taps import halves_exactly
from tests.backbones.dense_classifier import assert_trunk_sees_the_surroundings_only
from tests.backbones.torchvision_golden import assert_golden


def torchvision_path(name):
    return name.replace("_", ".")


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet101", 44_549_160)]
)
def test_parameters(name, parameters):
    classifier = getattr(backbones, name)(include_top=True)
    assert sum(int(np.prod(weight.shape)) for weight in classifier.trainable_weights) == parameters
    assert classifier.compute_output_shape((2, 224, 224, 3)) == (2, 1, 1, 1000)


def test_equals_torchvision():
    classifier = resnet50(include_top=True)
    assert sum(int(np.prod(weight.shape)) for weight in classifier.trainable_weights) == 25_557_032
    assert classifier.compute_output_shape((2, 224, 224, 3)) == (2, 1, 1, 1000)
    assert classifier.compute_output_shape((2, 257, 320, 3)) == (2, 3, 4, 1000)
    assert_golden(classifier, "resnet50", torchvision_path, preprocessing)


@pytest.mark.tf_only
def test_levels_are_the_ends_of_the_stages():
    trunk = resnet50()
    maps = pyramid(trunk)
    ends = ["relu", "layer1_2_relu3", "layer2_3_relu3", "layer3_5_relu3", "layer4_2_relu3"]
    assert list(maps.output) == ["P1", "P2", "P3", "P4", "P5"]
    for end, tensor in zip(ends, maps.output.values(), strict=True):
        assert maps.get_layer(end).output is tensor
    assert halves_exactly(maps)
    assert classifier_features(trunk.output, padding="same") is trunk.output


@pytest.mark.tf_only
@pytest.mark.parametrize(("output_stride", "channels"), [(16, [64, 256, 512, 2048]), (8, [64, 256, 2048])])
def test_levels_of_a_dilated_network(output_stride, channels):
    maps = pyramid(resnet50(output_stride=output_stride))
    assert [tensor.shape[-1] for tensor in maps.output.values()] == channels
    assert maps.compute_output_shape((1, 65, 96, 3))[f"P{len(channels)}"] == (
        1,
        -(-65 // output_stride),
        96 // output_stride,
        2048,
    )


@pytest.mark.tf_only
@pytest.mark.parametrize(("builder", "output_stride"), [(resnet18, 8), (resnet50, 16), (resnet50, 8)])
def test_dilation_leaves_every_pixel_what_it_was(builder, output_stride):
    """Each unit of the strided network is one of the dilated network, which has more between them."""
    strided, dilated = builder(), builder(output_stride=output_stride)
    dilated.set_weights(strided.get_weights())
    images = np.random.default_rng(0).normal(size=(1, 65, 96, 3)).astype("float32")
    expected = strided.predict(images, verbose=0)
    received = dilated.predict(images, verbose=0)
    step = 32 // output_stride
    assert received.shape[1:3] == (-(-65 // output_stride), 96 // output_stride)
    # The same products in another order of addition.
    np.testing.assert_allclose(
        received[:, ::step, ::step], expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.tf_only
def test_dilated_classifier_has_one_window_at_224():
    classifier = resnet18(include_top=True, num_classes=5, output_stride=8)
    assert classifier.compute_output_shape((1, 224, 256, 3)) == (1, 1, 5, 5)


@pytest.mark.tf_only
def test_trunk_sees_the_surroundings_only():
    # The receptive field is 435 pixels; unit 7 of 14 sees pixels 7 to 441 of a crop of 448.
    assert_trunk_sees_the_surroundings_only(resnet18(), side=448, unit=7)


@pytest.mark.tf_only
@pytest.mark.parametrize("builder", [resnet18, resnet50])
def test_group_normalization_stands_in_every_place_of_batch_normalization(builder):
    batch, group = builder(), builder(normalization="group")
    places = [layer.name for layer in batch.layers if isinstance(layer, keras.layers.BatchNormalization)]
    found = [layer.name for layer in group.layers if isinstance(layer, keras.layers.GroupNormalization)]
    assert found == places
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in group.layers)
    assert all(group.get_layer(name).groups == 32 for name in found)
    assert list(pyramid(group).output) == list(pyramid(batch).output)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_last_stage_alone(name):
    """On a map of one pixel its stride makes no difference, so it computes what it does in the network."""
    maps = pyramid(getattr(backbones, name)((16, 16, 3)))
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    found = {level: keras.ops.convert_to_numpy(x) for level, x in maps(images).items()}
    stage = last_stage(name, found["P4"].shape[1:])
    for layer in stage.layers:
        layer.set_weights(maps.get_layer(layer.name).get_weights() if layer.weights else [])
    received = keras.ops.convert_to_numpy(stage(found["P4"]))
    np.testing.assert_allclose(received, found["P5"], rtol=1e-4, atol=1e-4 * found["P5"].max())
    assert last_stage(name, (7, 7, 8)).output_shape == (None, 7, 7, found["P5"].shape[-1])


def test_scores_are_float32_under_every_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    features = keras.layers.ReLU()(keras.Input((None, None, 4)))
    assert features.dtype == "bfloat16"
    assert averaged_scores(features, 5, pool_size=7).dtype == "float32"


def test_errors():
    with pytest.raises(
        ValueError, match=r'`weights` must be None with resnet50.*from_torchvision.*backbone="ResNet50"'
    ):
        resnet50(weights="imagenet")
    with pytest.raises(ValueError, match=r"`output_stride` must be one of 32, 16, 8"):
        resnet18(output_stride=4)
    with pytest.raises(TypeError, match=r"`num_classes` must be an integer of at least 1"):
        resnet18(include_top=True, num_classes=None)
    with pytest.raises(ValueError, match="`normalization` must be one of 'batch', 'group'"):
        resnet18(normalization="layer")
    with pytest.raises(ValueError, match="`name` must be one of 'resnet18', 'resnet34'.*'vgg16'"):
        last_stage("vgg16", (7, 7, 8))
    with pytest.raises(ValueError, match="`normalization` must be one of 'batch', 'group'"):
        last_stage("resnet18", (7, 7, 8), "layer")
