"""All is checked before anything is loaded, and what does not fit is said with both shapes."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.weights.catalog import Architecture
from keras_seg.weights.matching import load, match
from keras_seg.weights.report import ImportReport

pytestmark = pytest.mark.tf_only

NETWORK = Architecture(
    task="classifier",
    build=None,
    rules=((r"(conv|bn|fc)(\d*)", r"net.\1\2"),),
    first="net.conv1",
    last="net.fc",
    head=r"net\.(fc|hidden)",
    extras=((r"aux\..*", "an auxiliary head"),),
)


def small_model(channels=3, other=False):
    images = keras.Input((8, 8, channels))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv1")(images)
    x = layers.BatchNormalization(name="bn1")(x)
    x = layers.Conv2D(5, 1, name="fc")(x)
    if other:
        x = layers.Conv2D(2, 1, name="decoder")(x)
    return keras.Model(images, x, name="small")


def small_checkpoint():
    rng = np.random.default_rng(0)
    shapes = {
        "net.conv1.weight": (4, 3, 3, 3),
        "net.bn1.weight": (4,),
        "net.bn1.bias": (4,),
        "net.bn1.running_mean": (4,),
        "net.bn1.running_var": (4,),
        "net.fc.weight": (5, 4),
        "net.fc.bias": (5,),
    }
    tensors = {name: rng.uniform(0.5, 1, shape).astype("float32") for name, shape in shapes.items()}
    return tensors | {"net.bn1.num_batches_tracked": np.array(3), "aux.weight": np.zeros(7)}


def weights_of(model):
    return [np.array(weight) for weight in model.weights]


class TestNothingIsLoadedUnlessAllFits:
    def refused(self, tensors, *messages, model=None, **options):
        model = model or small_model()
        before = weights_of(model)
        with pytest.raises(ValueError, match="does not fit small. Nothing was loaded") as error:
            match(model, NETWORK, tensors, **options)
        for message in messages:
            assert re.search(message, str(error.value)), str(error.value)
        for old, new in zip(before, weights_of(model), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_shapes(self):
        tensors = small_checkpoint()
        tensors["net.conv1.weight"] = np.zeros((4, 4, 3, 3), "float32")
        tensors["net.bn1.bias"] = np.zeros(6, "float32")
        self.refused(
            tensors,
            "2 of another shape:",
            r"conv1 kernel \(3, 3, 3, 4\) <- net.conv1.weight \(4, 4, 3, 3\), expected \(4, 3, 3, 3\)",
            r"bn1 beta \(4,\) <- net.bn1.bias \(6,\), expected \(4,\)",
        )

    def test_axes_are_not_guessed(self):
        tensors = small_checkpoint()
        tensors["net.conv1.weight"] = tensors["net.conv1.weight"].transpose(2, 3, 1, 0)
        self.refused(tensors, "1 of another shape")

    def test_missing(self):
        tensors = small_checkpoint()
        del tensors["net.bn1.running_mean"]
        self.refused(tensors, r"1 missing:\n  bn1 moving_mean \(4,\) <- net.bn1.running_mean")

    def test_unexpected(self):
        self.refused(
            small_checkpoint() | {"net.conv2.weight": np.zeros((1, 2))},
            r"1 unexpected:\n  net.conv2.weight \(1, 2\)",
        )

    def test_not_finite(self):
        for value in (np.nan, np.inf, -np.inf):
            tensors = small_checkpoint()
            tensors["net.fc.weight"][2, 1] = value
            self.refused(tensors, "1 not finite:\n  fc kernel")

    def test_long_lists_are_cut(self):
        extra = {f"net.more{index}.weight": np.zeros(1) for index in range(14)}
        self.refused(small_checkpoint() | extra, "14 unexpected:", r"net.more9.weight.*\n  and 4 more$")

    def test_a_layer_of_ours_alone(self):
        self.refused(
            small_checkpoint(), "1 without a counterpart.*\n  decoder", model=small_model(other=True)
        )

    def test_an_encoder_must_be_all_there(self):
        tensors = small_checkpoint()
        del tensors["net.bn1.bias"]
        self.refused(tensors, "1 missing", encoder=True)
        self.refused(small_checkpoint() | {"net.conv2.bias": np.zeros(3)}, "1 unexpected", encoder=True)


def test_values_and_report():
    model, tensors = small_model(), small_checkpoint()
    found = match(model, NETWORK, tensors)
    expected = dict(tensors)
    report = ImportReport("small", "w.pth", load(found, tensors), found.unused, found.untouched, ())
    np.testing.assert_array_equal(
        np.array(model.get_layer("conv1").kernel)[1, 2, 0, 3], expected["net.conv1.weight"][3, 0, 1, 2]
    )
    np.testing.assert_array_equal(
        np.array(model.get_layer("fc").kernel)[0, 0, 3, 1], expected["net.fc.weight"][1, 3]
    )
    np.testing.assert_array_equal(
        np.array(model.get_layer("bn1").moving_variance), expected["net.bn1.running_var"]
    )
    # 4 * 27 + 4 * 2 + 5 * 4 + 5, and two statistics of 4.
    assert (report.num_parameters, report.num_statistics) == (141, 8)
    assert "7 tensors into 3 layers: 141 parameters and 8 batch statistics" in str(report)
    assert report.unused["an auxiliary head"] == ("aux.weight",)
    assert ("net.bn1.num_batches_tracked",) in report.unused.values()
    assert list(tensors) == ["net.bn1.num_batches_tracked", "aux.weight"]


@pytest.mark.parametrize("channels", [1, 4])
def test_the_first_kernel_is_adapted_to_the_images(channels):
    model, tensors = small_model(channels), small_checkpoint()
    rgb = tensors["net.conv1.weight"].copy()
    load(match(model, NETWORK, tensors), tensors)
    kernel = np.array(model.get_layer("conv1").kernel)
    if channels == 1:
        np.testing.assert_allclose(kernel[..., 0, :], rgb.sum(1).transpose(1, 2, 0), rtol=1e-6)
    else:
        np.testing.assert_array_equal(kernel[..., :3, :], rgb.transpose(2, 3, 1, 0))
        np.testing.assert_allclose(kernel[..., 3, :], rgb.mean(1).transpose(1, 2, 0), rtol=1e-6)


def test_encoder_inside_a_model():
    inner = small_model()
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, layers.Conv2D(2, 1, name="decoder")(inner(images)))
    tensors = small_checkpoint() | {"net.hidden.weight": np.zeros((9, 9))}
    scores = np.array(inner.get_layer("fc").kernel)
    decoder = np.array(model.get_layer("decoder").kernel)
    expected = tensors["net.bn1.bias"]
    found = match(model, NETWORK, tensors, encoder=True)
    load(found, tensors)
    np.testing.assert_array_equal(np.array(inner.get_layer("bn1").beta), expected)
    np.testing.assert_array_equal(np.array(inner.get_layer("fc").kernel), scores)
    np.testing.assert_array_equal(np.array(model.get_layer("decoder").kernel), decoder)
    assert set(found.untouched) == {"fc", "decoder"}
    assert found.unused["the scores of the checkpoint's own classes"] == ("net.fc.weight", "net.fc.bias")
    assert found.unused["the model has no such layer"] == ("net.hidden.weight",)
