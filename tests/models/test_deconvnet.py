"""DeconvNet: the published table, places kept through five unpoolings, sizes, training, reloading."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg import deconvnet
from keras_seg.layers import MaxPoolingWithArgmax2D, MaxUnpooling2D
from keras_seg.models.weights import layers_by_name

# 16 to 32 channels where the published network has 64 to 512, and 256 in fc6 and fc7.
TINY = {"width": 1 / 16}


def maxima_in_place(images, side):
    """Each window's largest value where it was, and zeros: a loop over windows of `side` x `side`."""
    kept = np.zeros_like(images)
    for n, y, x, c in np.ndindex(*(s // d for s, d in zip(images.shape, (1, side, side, 1), strict=True))):
        window = images[n, y * side : (y + 1) * side, x * side : (x + 1) * side, c]
        row, column = np.unravel_index(window.argmax(), window.shape)
        kept[n, y * side + row, x * side + column, c] = window[row, column]
    return kept


def images_of(size, channels=3, batch=2):
    return np.random.default_rng(0).uniform(1, 2, (batch, *size, channels)).astype("float32")


def test_five_pools_and_unpools_keep_each_maximum_where_it_was():
    inputs = keras.Input((None, None, 3))
    x, places = inputs, []
    for _ in range(5):
        x, indices = MaxPoolingWithArgmax2D()(x)
        places.append(indices)
    for indices in reversed(places):
        x = MaxUnpooling2D()([x, indices])
    images = images_of((64, 96))
    received = keras.Model(inputs, x).predict(images, verbose=0)
    np.testing.assert_array_equal(received, maxima_in_place(images, 32))


def test_network_of_identities_keeps_each_maximum_where_it_was():
    """The whole network, fc6 and its transposed convolution included, with weights that change nothing."""
    model = deconvnet(3, include_rescaling=False, **TINY)
    for name, layer in layers_by_name(model).items():
        if isinstance(layer, layers.BatchNormalization):
            ones = np.ones(layer.gamma.shape)
            layer.set_weights([ones, 0 * ones, 0 * ones, ones * (1 - layer.epsilon)])
            continue
        kernel, bias = (np.zeros(weight.shape, "float32") for weight in layer.weights)
        side = kernel.shape[0]
        if name in ("fc6", "fc6_deconv"):
            for y, x, c in np.ndindex(side, side, 3):
                place = (y * side + x) * 3 + c
                # Conv2D has (h, w, in, out), Conv2DTranspose (h, w, out, in): both end as [y, x, c, place].
                kernel[y, x, c, place] = 1
        else:
            for c in range(min(kernel.shape[2:])):
                kernel[side // 2, side // 2, c, c] = 1
        layer.set_weights([kernel, bias])
    images = images_of((224, 224), batch=1)
    np.testing.assert_allclose(
        model.predict(images, verbose=0), maxima_in_place(images, 32), rtol=29 * 2**-23, atol=1e-6
    )


@pytest.mark.tf_only
def test_the_published_table():
    model = deconvnet(21)
    found = layers_by_name(model)
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == 251_805_653
    assert sum(isinstance(layer, layers.BatchNormalization) for layer in found.values()) == 29
    convolutions = {name: layer for name, layer in found.items() if hasattr(layer, "kernel")}
    assert tuple(convolutions["fc6"].kernel.shape) == (7, 7, 512, 4096)
    assert tuple(convolutions["fc6_deconv"].kernel.shape) == (7, 7, 512, 4096)
    decoder = {name: layer.filters for name, layer in convolutions.items() if name.startswith("deconv")}
    assert list(decoder.values()) == [512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 64]
    assert all(float(layer.beta[0]) == np.float32(0.001) for name, layer in found.items() if "bn" in name)


def test_sizes():
    model = deconvnet(4, (None, None, 3), **TINY)
    assert model.compute_output_shape((1, 224, 256, 3)) == (1, 224, 256, 4)
    assert model(images_of((224, 256), batch=1)).shape == (1, 224, 256, 4)
    with pytest.raises(ValueError, match=r"height 230 .* Nearest: 224 and 256"):
        model(images_of((230, 256), batch=1))
    with pytest.raises(ValueError, match=r"width 96 .* Nearest: 224\. Resize .*predict_proposals"):
        model(images_of((224, 96), batch=1))


@pytest.mark.tf_only
@pytest.mark.parametrize(
    ("input_shape", "message"),
    [
        ((96, 224, 3), r"height 96 .* Nearest: 224\."),
        ((None, 100, 3), r"width 100 .* Nearest: 224\."),
        ((230, 224, 3), r"height 230 .* Nearest: 224 and 256"),
    ],
)
def test_no_network_is_built_for_a_size_that_does_not_fit(input_shape, message):
    with pytest.raises(ValueError, match=message):
        deconvnet(4, input_shape, **TINY)


def test_other_channels_and_bfloat16_give_float32_logits():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = deconvnet(2, (224, 224, 1), **TINY)
    finally:
        keras.config.set_dtype_policy("float32")
    logits = model(images_of((224, 224), channels=1, batch=1))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": 0}, ValueError, "`width` must be a number above 0 and at most 1"),
        ({"width": 0.5, "weights": "imagenet"}, ValueError, "`weights` must be None or a path"),
        ({"num_classes": 0}, ValueError, "`num_classes` must be an integer"),
        ({"input_shape": 224, **TINY}, ValueError, r"`input_shape` must be \(height, width, channels\)"),
        ({"weights": "nowhere.keras", **TINY}, ValueError, "file that exists"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        deconvnet(**{"num_classes": 3, **options})


def test_learns_and_reloads(tmp_path):
    """A bright square's place, from the logits' loss: the gradient goes through five unpoolings."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images, masks = rng.uniform(0, 100, (2, 224, 224, 1)).astype("float32"), np.zeros((2, 224, 224), "int32")
    for image, mask, (y, x) in zip(images, masks, rng.integers(20, 120, (2, 2)), strict=True):
        image[y : y + 80, x : x + 80] += 150
        mask[y : y + 80, x : x + 80] = 1
    model = deconvnet(2, (224, 224, 1), **TINY)
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(images, masks, epochs=5, batch_size=2, verbose=0).history["loss"]
    assert history[-1] < 0.95 * history[0]
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        reloaded.predict(images[:1], verbose=0), model.predict(images[:1], verbose=0)
    )
