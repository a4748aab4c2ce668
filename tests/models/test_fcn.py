"""FCN: the released networks' numbers, skips and crops, and what every model of the library must do."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg import fcn, losses
from keras_seg.backbones import alex_net, vgg
from keras_seg.layers import BilinearUpsampling2D
from keras_seg.models.fcn_encoders import PAPER_CROPS
from keras_seg.models.weights import copy_weights
from keras_seg.weights import load_encoder
from tests.harness import (
    assert_every_weight_moves,
    assert_one_size_is_any_size,
    assert_reloads_equal,
    pixels,
    small_keras_cv_resnet,
)

VARIANTS = ("32s", "16s", "8s")


def small_backbone(channels=3):
    """Five halvings, as every backbone has, with two or three channels each."""
    x = images = keras.Input((None, None, channels))
    for level in range(1, 6):
        x = layers.Conv2D(2 + level % 2, 3, strides=2, padding="same", name=f"level{level}")(x)
        x = layers.Activation("silu", name=f"silu{level}")(x)
    return keras.Model(images, x, name="small")


def randomize(model, seed=0):
    """Weights of unit size, scores included, which would start at zero."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return model


def trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.tf_only
class TestReleased:
    """The networks of the authors' repository, with VGG16 and 21 classes. Large, so each is built once."""

    @pytest.mark.parametrize(
        ("variant", "fixed", "kernels"),
        [("32s", 134_346_581, 1_806_336), ("16s", 134_357_354, 458_640), ("8s", 134_362_751, 127_008)],
    )
    def test_parameters_and_sizes(self, variant, fixed, kernels):
        model = fcn(21, variant=variant, padding="paper", learn_upsampling=True)
        # In the released files the upsampling kernels are full, (21, 21, k, k), and fixed.
        assert trainable_parameters(model) == fixed + kernels
        for size in range(100, 601):
            assert model.compute_output_shape((1, size, 700 - size, 3)) == (1, size, 700 - size, 21)

    @pytest.mark.parametrize(("learn", "kernels"), [(False, 0), ("intermediate", 2 * 21 * 21 * 4 * 4)])
    def test_parameters_of_the_default_form(self, learn, kernels):
        model = fcn(21, learn_upsampling=learn)
        assert trainable_parameters(model) == 134_362_751 + kernels

    def test_alexnet(self):
        model = fcn(21, variant="32s", backbone="alexnet", padding="paper")
        for size in range(100, 601):
            assert model.compute_output_shape((1, size, 700 - size, 3)) == (1, size, 700 - size, 21)

    def test_published_sizes(self):
        """An image of 500 pixels: pool3 88, pool4 44, fc7 16, scores 34, 70 and 568 before their crops."""
        model = fcn(21, (500, 500, 3), padding="paper")
        maps = model.get_layer("vgg16").output
        assert [maps[level].shape[1] for level in ("P3", "P4", "P5")] == [88, 44, 16]
        names = ("upscore_p4", "upscore_p3", "upscore8")
        assert [model.get_layer(name).output.shape[1] for name in names] == [34, 70, 568]


@pytest.fixture
def narrow(monkeypatch):
    """VGG16 and AlexNet with three channels in every layer: the real sizes and places, at little cost."""
    for module in (vgg, alex_net):
        conv = module.conv
        monkeypatch.setattr(
            module, "conv", lambda x, filters, *args, _conv=conv, **kw: _conv(x, min(filters, 3), *args, **kw)
        )


PAPER_FORMS = [("vgg16", "32s"), ("vgg16", "16s"), ("vgg16", "8s"), ("alexnet", "32s")]
# Where each form's finest score layer looks from, and the factor between it and the image.
FINEST = {"32s": ("P5", "score_fr", 32), "16s": ("P4", "score_pool4", 16), "8s": ("P3", "score_pool3", 8)}


def centres_of(encoder, level):
    """(pixel of the image that unit 0 is centred on, pixels between units), from the layers before a map."""
    centre, stride = 0.0, 1
    for layer in keras.Model(encoder.inputs, encoder.output[level]).layers:
        if isinstance(layer, layers.ZeroPadding2D):
            centre -= layer.padding[0][0] * stride
        elif isinstance(layer, (layers.Conv2D, layers.MaxPooling2D)):
            size = getattr(layer, "kernel_size", None) or layer.pool_size
            # "same" is symmetric for odd kernels of stride 1, and pads pools of 2 at the end only.
            if layer.padding == "valid" or isinstance(layer, layers.MaxPooling2D):
                centre += (size[0] - 1) / 2 * stride
            stride *= layer.strides[0]
    return centre, stride


class TestPaperGeometry:
    """Padding of 100, unpadded fc6 and the published crops, by real forward passes of narrow networks."""

    def test_the_published_crops(self):
        assert PAPER_CROPS == {
            "vgg16": {"32s": 19, "16s": 27, "8s": 31, "P4": 5, "P3": 9},
            "alexnet": {"32s": 18},
        }

    @pytest.mark.tf_only
    @pytest.mark.parametrize("backbone", ["vgg16", "alexnet"])
    def test_the_crops_put_every_score_on_its_pixel(self, narrow, backbone):
        """By the centres of the receptive fields, no crop is off by even half a pixel."""
        crops = PAPER_CROPS[backbone]
        model = fcn(2, variant="8s" if "8s" in crops else "32s", backbone=backbone, padding="paper")
        encoder = model.get_layer(backbone)

        def upsampled(centre, stride, factor, kernel_size):
            return centre - (kernel_size - 1) / 2 / factor * stride, stride // factor

        place = centres_of(encoder, "P5")
        kernel_size = 64 - (backbone == "alexnet")
        coarse, pixel = upsampled(*place, 32, kernel_size)
        assert (coarse + crops["32s"] * pixel, pixel) == (0, 1)
        for level, variant, factor in (("P4", "16s", 16), ("P3", "8s", 8)):
            if variant not in crops:
                continue
            place = upsampled(*place, 2, 4)
            skip, stride = centres_of(encoder, level)
            assert (skip + crops[level] * stride, stride) == place
            fine, pixel = upsampled(*place, factor, 2 * factor)
            assert (fine + crops[variant] * pixel, pixel) == (0, 1)

    @pytest.mark.parametrize(("backbone", "variant"), PAPER_FORMS)
    def test_any_size(self, narrow, backbone, variant):
        model = fcn(2, variant=variant, backbone=backbone, padding="paper", include_rescaling=False)
        # 14 to 26 beyond a multiple of 32, among others: AlexNet's map is too small where pools round down.
        for size in ((1, 26), (110, 97), (122, 64), (500, 334)):
            images = np.zeros((1, *size, 3), "float32")
            assert keras.ops.shape(model(images)) == (1, *size, 2)
        assert model.predict(images, verbose=0).shape == (1, *size, 2)

    @pytest.mark.tf_only
    @pytest.mark.parametrize(("backbone", "variant"), PAPER_FORMS)
    def test_every_size_up_to_600(self, narrow, backbone, variant):
        """By the layers' own arithmetic, which refuses a window that its map does not hold."""
        model = fcn(2, variant=variant, backbone=backbone, padding="paper")
        for size in range(1, 601):
            assert model.compute_output_shape((1, size, 601 - size, 3)) == (1, size, 601 - size, 2)

    @pytest.mark.parametrize(("backbone", "variant"), PAPER_FORMS)
    def test_scores_are_interpolated_between_their_centres(self, narrow, backbone, variant):
        """The finest scores alone: a pixel between two of them gets the linear mean of the two."""
        model = fcn(2, variant=variant, backbone=backbone, padding="paper", include_rescaling=False)
        level, name, factor = FINEST[variant]
        scores = model.get_layer(name)
        scores.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in scores.get_weights()])
        images = np.random.default_rng(1).normal(size=(1, 120, 75, 3)).astype("float32")
        expected = keras.Model(model.inputs, scores.output).predict(images, verbose=0)
        first, stride = centres_of(model.get_layer(backbone), level)
        assert stride == factor
        for axis, size in ((1, 120), (2, 75)):
            units = first + factor * np.arange(expected.shape[axis])
            weights = np.maximum(0, 1 - np.abs(np.arange(size)[:, None] - units) / factor)
            expected = np.moveaxis(np.tensordot(weights, expected, (1, axis)), 0, axis)
        received = model.predict(images, verbose=0)
        np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())

    def test_at_once(self, narrow):
        """The skips' factors in the paper's form: taken into the score layers, they change nothing."""
        plain, scaled = (
            fcn(2, padding="paper", at_once=at_once, include_rescaling=False) for at_once in (False, True)
        )
        randomize(plain)
        scaled.set_weights(plain.get_weights())
        for name, factor in (("score_pool4", 100), ("score_pool3", 10_000)):
            kernel, bias = scaled.get_layer(name).get_weights()
            scaled.get_layer(name).set_weights([kernel * factor, bias])
        images = np.random.default_rng(1).normal(size=(1, 70, 101, 3)).astype("float32")
        expected = plain.predict(images, verbose=0)
        np.testing.assert_allclose(
            scaled.predict(images, verbose=0), expected, atol=1e-5 * np.abs(expected).max()
        )

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_a_shift_by_the_stride_shifts_the_output(self, narrow, variant):
        """By 32 pixels, down and right; away from the rim, where other pixels came in."""
        model = randomize(fcn(2, variant=variant, padding="paper", include_rescaling=False))
        scene = np.random.default_rng(1).normal(size=(1, 864, 864, 3)).astype("float32")
        here, there = (model.predict(scene[:, i : i + 832, i : i + 832], verbose=0) for i in (32, 0))
        # FCN sees 404 pixels around its own and the last crop's rim; half of that may differ at each side.
        inside = slice(256, 832 - 256 - 32)
        shifted = slice(256 + 32, 832 - 256)
        expected, received = here[:, inside, inside], there[:, shifted, shifted]
        assert np.ptp(expected) > 0
        np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(32, 64), (37, 51), (1, 5)])
def test_any_size(variant, size):
    model = fcn(4, variant=variant, backbone=small_backbone())
    received = model.predict(pixels(2, *size, 3), verbose=0)
    assert received.shape == (2, *size, 4)
    assert received.dtype == np.float32


@pytest.mark.parametrize("variant", ["32s", "8s"])
def test_fixed_sides_that_the_stride_does_not_divide(variant):
    free = randomize(fcn(3, variant=variant, backbone="resnet18"))
    fixed = fcn(3, (45, 70, 3), variant=variant, backbone="resnet18")
    assert_one_size_is_any_size(free, fixed, pixels(1, 45, 70, 3), num_classes=3)


@pytest.mark.tf_only
@pytest.mark.parametrize(
    "backbone", ["vgg16", "alexnet", "googlenet", "efficientnet_lite0", "MobileNetV3Small", "VGG16"]
)
def test_camvids_size_on_every_kind_of_backbone(narrow, backbone):
    model = fcn(3, (90, 120, 3), backbone=backbone)
    assert model.predict(pixels(1, 90, 120, 3), verbose=0).shape == (1, 90, 120, 3)


@pytest.mark.tf_only
def test_a_model_for_one_size_that_would_be_padded():
    own = keras.applications.MobileNetV2((90, 120, 3), alpha=0.35, include_top=False, weights=None)
    with pytest.raises(
        ValueError, match=r"`backbone` must be built for free sides or multiples of 32.*Build"
    ):
        fcn(3, (90, 120, 3), backbone=own)


@pytest.mark.parametrize("size", [(360, 480), (353, 479)])
def test_other_sizes_keep_the_places(size):
    """Cutting rows off at the end leaves the rest where it was, far from the cut: training and use agree."""
    model = randomize(fcn(3, backbone=small_backbone(), learn_upsampling=True))
    images = pixels(1, 384, 480, 3)
    expected = model.predict(images, verbose=0)[:, :224, :224]
    received = model.predict(images[:, : size[0], : size[1]], verbose=0)[:, :224, :224]
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


def test_all_scores_start_at_zero():
    model = fcn(4, backbone=small_backbone())
    np.testing.assert_array_equal(model.predict(pixels(1, 32, 32, 3), verbose=0), 0)


@pytest.mark.parametrize(("variant", "factors"), [("16s", (2, 16)), ("8s", (2, 2, 8))])
def test_a_finer_network_starts_where_the_coarser_ended(variant, factors):
    """Its new scores are zero, so it answers as the FCN-32s does, interpolated in steps."""
    coarse = randomize(fcn(4, variant="32s", backbone=small_backbone()))
    fine = fcn(4, variant=variant, backbone=small_backbone())
    new = copy_weights(coarse, fine)
    assert new == ["score_pool4", "score_pool3"][: len(factors) - 1]
    scores = keras.Model(coarse.inputs, coarse.get_layer("score_fr").output)
    images = pixels(1, 64, 96, 3)
    expected = scores.predict(images, verbose=0)
    for factor in factors:
        expected = keras.ops.convert_to_numpy(BilinearUpsampling2D(factor)(expected))
    received = fine.predict(images, verbose=0)
    # The same sums up to their order, compiled or not: some roundings of the largest.
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


def test_skips_are_summed_at_their_own_places():
    """With one stream's scores at a time, the logits are that stream's upsampled scores."""
    model = randomize(fcn(3, backbone=small_backbone()))
    images = pixels(1, 64, 96, 3)
    streams = {"score_fr": (2, 2, 8), "score_pool4": (2, 8), "score_pool3": (8,)}
    total = model.predict(images, verbose=0)
    expected = 0
    for name, factors in streams.items():
        stream = keras.Model(model.inputs, model.get_layer(name).output).predict(images, verbose=0)
        for factor in factors:
            stream = keras.ops.convert_to_numpy(BilinearUpsampling2D(factor)(stream))
        expected = expected + stream
    np.testing.assert_allclose(total, expected, atol=1e-5 * np.abs(expected).max())


def test_at_once_scales_the_skips():
    plain, scaled = (fcn(3, backbone=small_backbone(), at_once=at_once) for at_once in (False, True))
    randomize(plain)
    scaled.set_weights(plain.get_weights())
    for name, factor in (("score_pool4", 100), ("score_pool3", 10_000)):
        kernel, bias = scaled.get_layer(name).get_weights()
        scaled.get_layer(name).set_weights([kernel * factor, bias])
    images = pixels(1, 40, 56, 3)
    expected = plain.predict(images, verbose=0)
    received = scaled.predict(images, verbose=0)
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("learn", [True, "intermediate"])
def test_learned_upsampling_starts_as_the_fixed(learn):
    fixed = randomize(fcn(3, backbone=small_backbone()))
    learned = fcn(3, backbone=small_backbone(), learn_upsampling=learn)
    copy_weights(fixed, learned)
    images = pixels(1, 37, 51, 3)
    expected = fixed.predict(images, verbose=0)
    received = learned.predict(images, verbose=0)
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("options", [{"variant": "32s"}, {"at_once": True}, {"learn_upsampling": True}])
def test_every_weight_moves(options):
    # Images large enough that every kernel has more than its centre inside the map.
    model = randomize(fcn(3, backbone=small_backbone(), **options))
    masks = np.random.default_rng(0).integers(0, 3, (2, 128, 128))
    assert_every_weight_moves(model, pixels(2, 128, 128, 3), masks, losses.CrossEntropy())


@pytest.mark.parametrize("options", [{"variant": "16s"}, {"learn_upsampling": "intermediate"}])
def test_reloads(options, tmp_path):
    model = randomize(fcn(3, backbone=small_backbone(), **options))
    assert_reloads_equal(model, pixels(2, 37, 51, 3), tmp_path)


def test_float32_logits_under_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = fcn(3, backbone=small_backbone())
    assert model.predict(pixels(1, 32, 32, 3), verbose=0).dtype == np.float32


@pytest.mark.parametrize("backbone", ["alexnet", "googlenet", "resnet18", "efficientnet_lite0"])
def test_named_backbones(backbone):
    model = fcn(5, backbone=backbone)
    assert model.compute_output_shape((2, 123, 77, 3)) == (2, 123, 77, 5)
    scored = model.get_layer("score_fr").input.shape[-1]
    assert (
        scored == {"alexnet": 4096, "googlenet": 1024, "resnet18": 512, "efficientnet_lite0": 1280}[backbone]
    )


@pytest.mark.tf_only
def test_a_backbone_of_keras_cv(tmp_path):
    model = randomize(fcn(5, backbone=small_keras_cv_resnet()))
    assert "rescaling" not in [layer.name for layer in model.layers]  # it holds its own
    assert_reloads_equal(model, pixels(1, 45, 70, 3), tmp_path)
    assert model.output_shape == (None, None, None, 5)


@pytest.mark.tf_only
def test_a_network_of_keras_applications():
    own = keras.applications.MobileNetV2((None, None, 3), alpha=0.35, include_top=False, weights=None)
    model = fcn(5, backbone=own)
    images = pixels(1, 45, 70, 3)
    np.testing.assert_allclose(model.get_layer("rescaling")(images), images / 127.5 - 1, atol=1e-6)
    assert model.predict(images, verbose=0).shape == (1, 45, 70, 5)
    named = fcn(5, backbone="MobileNetV2")
    assert named.predict(images, verbose=0).shape == (1, 45, 70, 5)


@pytest.mark.tf_only
def test_four_channels():
    assert fcn(5, (None, None, 4), backbone="resnet18").compute_output_shape((1, 64, 64, 4)) == (1, 64, 64, 5)


@pytest.mark.tf_only
def test_include_rescaling():
    images = pixels(1, 32, 32, 3)
    model = randomize(fcn(3, backbone=small_backbone()))
    bare = fcn(3, backbone=small_backbone(), include_rescaling=False)
    copy_weights(model, bare)
    expected = model.predict(images, verbose=0)
    # A backbone without a rescaling layer of its own gets pixels / 255.
    received = bare.predict(images / np.float32(255), verbose=0)
    np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())


class TestDilated:
    """torchvision's fcn_resnet50."""

    def test_keeps_stride_8_and_has_torchvisions_parameters(self):
        model = fcn(21, variant="dilated", backbone="resnet50")
        # The shapes in torchvision's state_dict, without its auxiliary head and the batch statistics.
        assert trainable_parameters(model) == 32_957_013
        assert model.get_layer("classifier_4").compute_output_shape((1, 9, 12, 512))[1:3] == (9, 12)
        assert model.compute_output_shape((1, 65, 96, 3)) == (1, 65, 96, 21)

    @pytest.mark.tf_only
    def test_only_for_resnets_of_this_library(self):
        with pytest.raises(ValueError, match="`backbone` must be one of 'resnet18'.*='vgg16'"):
            fcn(21, variant="dilated", backbone="vgg16")


@pytest.mark.tf_only
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_imagenet_weights_fill_fc6_and_fc7(monkeypatch):
    """The file cannot be downloaded everywhere, so a network with random weights stands in for it."""
    original = keras.applications.VGG16
    source = original(weights=None)

    def with_these_weights(weights=None, **options):
        assert (weights, options.get("include_top", True)) == ("imagenet", True)
        return source

    monkeypatch.setattr(keras.applications, "VGG16", with_these_weights)
    model = fcn(21, variant="32s", weights="imagenet")
    encoder = model.get_layer("vgg16")
    kernel = encoder.get_layer("fc6").get_weights()[0]
    expected = source.get_layer("fc1").get_weights()[0].reshape(7, 7, 512, 4096)
    np.testing.assert_array_equal(kernel, expected)
    kernel = encoder.get_layer("conv1_1").get_weights()[0]
    np.testing.assert_array_equal(kernel, source.get_layer("block1_conv1").get_weights()[0])


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "4s"}, "`variant` must be one of '32s', '16s', '8s', 'dilated'"),
        ({"padding": "valid"}, "`padding` must be one of 'same', 'paper'"),
        ({"padding": "paper", "backbone": "resnet18"}, "\"same\" with backbone='resnet18'.*vgg16"),
        (
            {"padding": "paper", "backbone": "alexnet"},
            "`padding` must be \"same\" with backbone='alexnet' and",
        ),
        ({"variant": "32s", "at_once": True}, "`at_once` must be False with variant='32s'"),
        (
            {"learn_upsampling": 1},
            "`learn_upsampling` must be one of False, True, 'intermediate'. Received: .*1",
        ),
        ({"learn_upsampling": "all"}, "`learn_upsampling` must be one of False, True, 'intermediate'"),
        ({"variant": "dilated", "backbone": "resnet18", "learn_upsampling": True}, "`learn_upsampling` must"),
        ({"backbone": "resnet19"}, "`backbone` must be one of 'alexnet'"),
        ({"backbone": "resnet18", "weights": "imagenet"}, "from_torchvision"),
        ({"backbone": "resnet18", "weights": "absent.keras"}, "`weights` must be the path of a file that ex"),
        ({"input_shape": (None, None)}, "`input_shape` must be"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        fcn(21, **options)


@pytest.mark.tf_only
def test_a_backbone_without_the_levels():
    images = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=8, padding="same")(images)
    with pytest.raises(ValueError, match="stride 8 and 16 and 32.*It has P3"):
        fcn(21, backbone=keras.Model(images, x))


@pytest.mark.tf_only
def test_the_coarsest_network_needs_the_coarsest_map_only():
    images = keras.Input((None, None, 3))
    own = keras.Model(images, layers.Conv2D(4, 3, strides=32, padding="same")(images), name="own")
    assert fcn(2, variant="32s", backbone=own).predict(pixels(1, 40, 33, 3), verbose=0).shape == (
        1,
        40,
        33,
        2,
    )
    with pytest.raises(ValueError, match="stride 16 and 32. Received: backbone='own'. It has P5"):
        fcn(2, variant="16s", backbone=own)


@pytest.mark.tf_only
def test_imagenet_weights_bring_their_preprocessing(narrow, monkeypatch):
    """Caffe's, BGR less the mean, which weights of torchvision must not be loaded over."""
    monkeypatch.setattr(keras.applications, "VGG16", lambda weights: None)
    monkeypatch.setattr(vgg, "from_keras_vgg16", lambda model, source: None)
    model = fcn(2, weights="imagenet")
    images = pixels(1, 4, 5, 3)
    expected = keras.applications.vgg16.preprocess_input(images.astype("float32"))
    received = keras.ops.convert_to_numpy(model.get_layer("rescaling")(images))
    np.testing.assert_allclose(received, expected, atol=1e-4)
    with pytest.raises(
        ValueError, match="`model` must be built for torchvision's preprocessing.*weights=None"
    ):
        load_encoder(model, "vgg16", {"features.0.weight": np.zeros((64, 3, 3, 3))})
