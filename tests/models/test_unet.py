"""U-Net: the paper's numbers, today's freedoms, and what every model of the library must do."""

import math

import keras
import numpy as np
import pytest

from keras_seg import losses, unet
from keras_seg.models.unet import valid_sizes
from tests.harness import (
    assert_every_weight_moves,
    assert_one_size_is_any_size,
    assert_reloads_equal,
    pixels,
)


class TestPaper:
    """Ronneberger et al. 2015, figure 1 and section 3."""

    def test_sizes_and_parameters(self):
        model = unet(2, (572, 572, 1), padding="valid")
        assert model.output_shape == (None, 388, 388, 2)
        assert model.count_params() == 31_030_658
        convolutions = [
            layer
            for layer in model.layers
            if isinstance(layer, (keras.layers.Conv2D, keras.layers.Conv2DTranspose))
        ]
        assert len(convolutions) == 23

    def test_every_level_has_the_size_in_the_figure(self):
        model = unet(2, (572, 572, 1), padding="valid", filters=1)
        sizes = [model.get_layer(f"encoder_block{i}_relu2").output.shape[1] for i in range(1, 6)]
        assert sizes == [568, 280, 136, 64, 28]
        sizes = [model.get_layer(f"decoder_block{i}_relu2").output.shape[1] for i in (4, 3, 2, 1)]
        assert sizes == [52, 100, 196, 388]

    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_valid_sizes_are_all_that_fit(self, depth):
        model = unet(2, (None, None, 1), padding="valid", filters=1, depth=depth)
        rule = valid_sizes(depth)
        fitting = []
        for size in range(rule["minimum"] - 9, rule["minimum"] + 3 * rule["multiple"]):
            try:
                model.compute_output_shape((1, size, size, 1))
            except ValueError:
                continue
            fitting.append(size)
        assert fitting == [rule["minimum"] + i * rule["multiple"] for i in range(3)]
        received = model.predict(pixels(1, fitting[0], fitting[1], 1), verbose=0)
        assert received.shape == (1, 4, 4 + rule["multiple"], 2)

    def test_wrong_size_names_the_nearest(self):
        with pytest.raises(ValueError, match=r"height 512 .* Nearest: 508 and 524.*predict_tiled"):
            unet(2, (512, 512, 1), padding="valid", filters=1)

    def test_initial_weights_have_he_deviation(self):
        model = unet(2, (572, 572, 1), padding="valid", filters=16)
        for name in ("encoder_block4_conv2", "decoder_block3_conv1"):
            kernel = np.array(model.get_layer(name).kernel)
            expected = math.sqrt(2 / np.prod(kernel.shape[:3]))
            # The deviation of n Gaussian numbers has a relative error of 1 / sqrt(2n), taken five times.
            assert abs(kernel.std() / expected - 1) < 5 / math.sqrt(2 * kernel.size)
            assert np.abs(kernel).max() > 2.5 * expected  # not truncated
        kernel = np.array(model.get_layer("decoder_block4_up").kernel)  # (2, 2, out, in)
        assert abs(kernel.std() / math.sqrt(2 / kernel.shape[3]) - 1) < 5 / math.sqrt(2 * kernel.size)

    def test_dropout_ends_the_contracting_path(self):
        model = unet(2, filters=2)
        names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        assert names == ["encoder_block4_dropout", "encoder_block5_dropout"]
        assert model.get_layer(names[0]).rate == 0.5

    def test_depends_on_a_window_of_the_input(self):
        """The output pixel at 0 sees the first 185 input pixels of depth 4, and nothing beyond them."""
        model = unet(2, (188, 204, 1), padding="valid", filters=1, dropout=0)
        images = np.repeat(pixels(1, 188, 204, 1), 2, axis=0)
        images[1, :, 190:] = 255 - images[1, :, 190:]
        received = model.predict(images, verbose=0)
        np.testing.assert_array_equal(received[0, :, 0], received[1, :, 0])


@pytest.mark.parametrize("size", [(16, 16), (37, 51), (1, 5), (23, 8)])
@pytest.mark.parametrize("up", ["transpose", "bilinear"])
def test_any_size_comes_back(size, up):
    model = unet(5, filters=2, depth=3, up=up)
    assert model.compute_output_shape((2, *size, 3)) == (2, *size, 5)
    received = model.predict(pixels(2, *size, 3), verbose=0)
    assert received.shape == (2, *size, 5)
    assert received.dtype == np.float32
    assert np.isfinite(received).all()


@pytest.mark.parametrize("normalization", [None, "batch", "group", "instance", "layer"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_normalizations_and_policies_give_float32_logits(normalization, policy):
    keras.config.set_dtype_policy(policy)
    model = unet(3, (None, None, 1), filters=4, depth=2, normalization=normalization)
    received = model.predict(pixels(2, 9, 11, 1), verbose=0)
    assert received.dtype == np.float32
    assert np.isfinite(received).all()


@pytest.mark.parametrize("options", [{}, {"up": "bilinear", "normalization": "batch"}, {"padding": "valid"}])
def test_every_weight_trains(options):
    model = unet(3, (None, None, 3), filters=2, depth=2, dropout=0, **options)
    side = 44 if options.get("padding") == "valid" else 13
    masks = np.random.default_rng(0).integers(0, 3, (2, *model.compute_output_shape((2, side, side, 3))[1:3]))
    # Of one value each, so that no unit is dead: ReLU of a positive map.
    model.get_layer("rescaling").offset = 0.0
    for weight in model.trainable_weights:
        if weight.path.endswith("bias"):
            weight.assign(np.full(weight.shape, 0.1, "float32"))
    assert_every_weight_moves(model, pixels(2, side, side, 3), masks.astype("int32"), losses.CrossEntropy())


def test_learns_and_reloads_with_optimizer(tmp_path):
    rng = np.random.default_rng(0)
    masks = np.zeros((8, 16, 16), "int32")
    masks[:, 4:11, 5:12] = 1
    images = (100 * masks[..., None] + rng.integers(0, 60, (8, 16, 16, 1))).astype("uint8")
    model = unet(2, (None, None, 1), filters=4, depth=1, dropout=0)
    model.compile(keras.optimizers.Adam(0.02), losses.CrossEntropy(), jit_compile=False)
    history = model.fit(images, masks, batch_size=8, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    assert_reloads_equal(model, images, tmp_path)
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert int(reloaded.optimizer.iterations) == 8
    assert reloaded.evaluate(images, masks, verbose=0) == pytest.approx(
        model.evaluate(images, masks, verbose=0), rel=1e-6
    )


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_images_of_any_type_give_the_same(dtype):
    model = unet(2, filters=2, depth=1)
    images = pixels(1, 8, 10, 3)
    np.testing.assert_array_equal(
        model.predict(images.astype(dtype), verbose=0), model.predict(images.astype("float32"), verbose=0)
    )


def test_include_rescaling_is_the_first_layer_and_nothing_else():
    model = unet(2, filters=2, depth=1, name="scaled")
    bare = unet(2, filters=2, depth=1, include_rescaling=False)
    bare.set_weights(model.get_weights())
    images = pixels(1, 8, 10, 3).astype("float32")
    np.testing.assert_allclose(
        bare.predict(images / 127.5 - 1, verbose=0), model.predict(images, verbose=0), atol=1e-5
    )
    assert model.name == "scaled"


class TestBackbone:
    def test_levels_are_used_as_skips(self):
        model = unet(4, filters=2, depth=3, backbone="efficientnet_lite0", normalization="batch")
        received = model.predict(pixels(1, 33, 47, 3), verbose=0)
        assert received.shape == (1, 33, 47, 4)
        # P1 has 96 channels and meets the doubled map's 4.
        assert model.get_layer("decoder_block2_concat").output.shape[-1] == 96 + 4

    def test_a_users_own_model(self):
        images = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="half")(images)
        x = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="quarter")(x)
        own = keras.Model(images, x, name="own")
        model = unet(3, filters=2, depth=2, backbone=own)
        assert model.predict(pixels(1, 9, 7, 3), verbose=0).shape == (1, 9, 7, 3)
        # Its weights are the model's own: trained with it.
        assert any(weight is own.get_layer("half").kernel for weight in model.trainable_weights)

    def test_other_sizes_keep_the_places(self):
        """Rows cut off at the end leave the rest where it was: "same" strides place odd maps elsewhere."""
        x = images = keras.Input((None, None, 3))
        for _ in range(3):
            x = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="silu")(x)
        model = unet(3, filters=2, depth=3, backbone=keras.Model(images, x, name="own"))
        image = pixels(1, 96, 96, 3)
        expected = model.predict(image, verbose=0)[:, :40, :40]
        received = model.predict(image[:, :90, :93], verbose=0)[:, :40, :40]
        np.testing.assert_allclose(received, expected, atol=1e-5 * np.abs(expected).max())

    def test_fixed_sides_that_the_stride_does_not_divide(self):
        free = unet(3, filters=2, depth=5, backbone="resnet18")
        fixed = unet(3, (45, 70, 3), filters=2, depth=5, backbone="resnet18")
        assert_one_size_is_any_size(free, fixed, pixels(1, 45, 70, 3), num_classes=3)

    def test_maps_that_do_not_halve_are_resized(self, tmp_path):
        images = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, padding="valid")(images)
        x = keras.layers.Conv2D(4, 3, strides=2, padding="valid")(x)
        model = unet(3, filters=2, depth=2, backbone=keras.Model(images, x, name="own"))
        assert_reloads_equal(model, pixels(1, 33, 47, 3), tmp_path)
        assert model.output_shape == (None, None, None, 3)

    def test_keras_applications_with_its_preprocessing(self):
        model = unet(3, (64, 64, 3), filters=2, depth=4, backbone="MobileNetV3Small")
        assert model.predict(pixels(1, 64, 64, 3), verbose=0).shape == (1, 64, 64, 3)
        assert "rescaling" not in [layer.name for layer in model.layers]  # MobileNetV3 holds its own

    def test_errors(self):
        with pytest.raises(ValueError, match=r"`depth` must be a level of the backbone's pyramid, P1, P2"):
            unet(3, backbone="efficientnet_lite0", depth=7)
        with pytest.raises(ValueError, match=r'`padding` must be "same" with a backbone'):
            unet(3, backbone="efficientnet_lite0", padding="valid")


class TestWeights:
    @pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
    def test_from_a_file(self, suffix, tmp_path):
        model = unet(3, filters=2, depth=1)
        path = tmp_path / f"trained{suffix}"
        (model.save if suffix == ".keras" else model.save_weights)(path)
        again = unet(3, filters=2, depth=1, weights=path)
        images = pixels(1, 8, 8, 3)
        np.testing.assert_array_equal(again.predict(images, verbose=0), model.predict(images, verbose=0))

    def test_errors(self, tmp_path):
        with pytest.raises(ValueError, match=r"`weights` must be None, \"imagenet\", or the path"):
            unet(3, filters=2, depth=1, weights="model.pth")
        with pytest.raises(ValueError, match=r"`weights` must be the path of a file that exists"):
            unet(3, filters=2, depth=1, weights=str(tmp_path / "none.keras"))
        with pytest.raises(ValueError, match=r"`weights` must be None or a file's path without a backbone"):
            unet(3, weights="imagenet")
        unet(3, filters=2, depth=1).save(tmp_path / "small.keras")
        with pytest.raises(ValueError, match=r"small.keras do not fit unet"):
            unet(3, filters=4, depth=1, weights=tmp_path / "small.keras")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"num_classes": 0}, ValueError, r"`num_classes` must be an integer of at least 1"),
        ({"num_classes": 2.5}, TypeError, r"`num_classes`"),
        ({"input_shape": (None, None)}, ValueError, r"`input_shape` must be \(height, width, channels\)"),
        ({"input_shape": (8, 8, None)}, ValueError, r"`input_shape`"),
        ({"filters": 0}, ValueError, r"`filters`"),
        ({"depth": 0}, ValueError, r"`depth`"),
        ({"padding": "full"}, ValueError, r"`padding` must be one of 'same', 'valid'"),
        ({"up": "nearest"}, ValueError, r"`up` must be one of 'transpose', 'bilinear'"),
        ({"normalization": "l2"}, ValueError, r"`normalization` must be one of None, 'batch'"),
        ({"dropout": 1.5}, ValueError, r"`dropout` must be a number within \[0, 1\]"),
    ],
)
def test_errors(arguments, kind, message):
    with pytest.raises(kind, match=message):
        unet(**{"num_classes": 2, **arguments})
