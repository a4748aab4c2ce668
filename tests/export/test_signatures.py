"""The served functions in this process: decoding, fitting of sizes, dtypes; needs no export."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_seg import unet
from keras_seg.data.image_files import decode_image
from keras_seg.export.check import _fit, unfit
from keras_seg.export.encoded_images import decode
from keras_seg.export.signatures import build_module, describe, write_classes
from keras_seg.export.sizes import size_rules

pytestmark = pytest.mark.tf_only


def drawn(size, channels=3, seed=0):
    """Smooth colours, so that JPEG keeps most of them."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype="uint8"))
    image = np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))
    return image if channels == 3 else image[..., :1]


def encoded(image, format="PNG", mode=None, **options):
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, format, **options)
    return file.getvalue()


def served(model, tmp_path):
    import tensorflow as tf

    classes_file = tmp_path / "classes.json"
    write_classes(classes_file, [])
    _, signatures = build_module(model, size_rules(model), classes_file)

    def segment(*images):
        masks = signatures["serve_bytes"](tf.constant(images))["mask_bytes"].numpy()
        return [np.asarray(Image.open(io.BytesIO(mask))).astype("int32") for mask in masks]

    return signatures, segment


def expected_classes(model, image):
    rules = size_rules(model)
    logits = model.predict(_fit(image.astype("float32"), rules)[None], verbose=0)[0]
    return unfit(logits, rules, image.shape[:2]).argmax(-1)


SAMPLES = {
    "png": encoded(drawn((19, 27))),
    "jpeg": encoded(drawn((19, 27)), "JPEG", quality=85),
    "progressive": encoded(drawn((19, 27)), "JPEG", progressive=True),
    "grey jpeg": encoded(drawn((19, 27), 1), "JPEG"),
    "cmyk jpeg": encoded(drawn((19, 27)), "JPEG", mode="CMYK"),
    "grey": encoded(drawn((19, 27), 1)),
    "grey and alpha": encoded(drawn((19, 27)), mode="LA"),
    "1 bit": encoded(drawn((19, 27), 1)[..., 0] > 100),
    "palette": encoded(Image.fromarray(drawn((19, 27))).quantize(50)),
    "rgba": encoded(np.dstack([drawn((19, 27)), drawn((19, 27), 1, seed=1)])),
    "16 bits": encoded(drawn((19, 27), 1)[..., 0].astype("uint16") * 201),
    "bmp": encoded(drawn((19, 27)), "BMP"),
    "gif": encoded(drawn((19, 27)), "GIF"),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", SAMPLES)
def test_files_are_decoded_as_the_data_pipeline_decodes_them(kind, channels):
    import tensorflow as tf

    image = decode(tf.constant(SAMPLES[kind]), channels).numpy()
    reference = decode_image(SAMPLES[kind], channels).astype("float32")
    assert image.shape == reference.shape == (19, 27, channels)
    # Colour made grey keeps its fraction here and is rounded there; all else is equal.
    made_grey = channels == 1 and np.ptp(decode_image(SAMPLES[kind], 3), axis=-1).any()
    np.testing.assert_allclose(image, reference, atol=0.51 if made_grey else 2e-5, rtol=0)


def test_four_channels_keep_alpha():
    import tensorflow as tf

    rgba = np.dstack([drawn((19, 27)), drawn((19, 27), 1, seed=1)])
    np.testing.assert_array_equal(decode(tf.constant(encoded(rgba)), 4).numpy(), rgba)


def test_one_batch_of_png_and_jpeg_of_different_odd_sizes(tmp_path):
    model = unet(4, (None, None, 3), filters=4, depth=2)
    _, segment = served(model, tmp_path)
    files = [
        encoded(drawn((31, 45), seed=1)),
        encoded(drawn((64, 17), seed=2), "JPEG", quality=95),
        encoded(np.dstack([drawn((23, 23), seed=3)] + [drawn((23, 23), 1)])),
        encoded(drawn((1, 1), seed=4)),
    ]
    masks = segment(*files)
    assert [mask.shape for mask in masks] == [(31, 45), (64, 17), (23, 23), (1, 1)]
    for file, mask in zip(files, masks, strict=True):
        np.testing.assert_array_equal(mask, expected_classes(model, decode_image(file, 3)))
    assert len(np.unique(masks[0])) > 1


@pytest.mark.data
@pytest.mark.parametrize(("folder", "channels"), [("isbi2012/images", 1), ("voc_sample/JPEGImages", 3)])
def test_real_images(real_data, tmp_path, folder, channels):
    model = unet(3, (None, None, channels), filters=4, depth=2)
    _, segment = served(model, tmp_path)
    files = [path.read_bytes() for path in sorted((real_data / folder).iterdir())[:2]]
    for file, mask in zip(files, segment(*files), strict=True):
        np.testing.assert_array_equal(mask, expected_classes(model, decode_image(file, channels)))


def test_a_grey_model_takes_colour_and_grey_files(tmp_path):
    model = unet(3, (None, None, 1), filters=4, depth=1)
    _, segment = served(model, tmp_path)
    grey = drawn((21, 33), 1)
    as_grey, as_colour = segment(encoded(grey), encoded(np.repeat(grey, 3, axis=-1)))
    np.testing.assert_array_equal(as_grey, expected_classes(model, grey))
    np.testing.assert_array_equal(as_colour, as_grey)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x89",
        b"not an image",
        SAMPLES["png"][:60],
        SAMPLES["jpeg"][:60],
        b"\x89PNG\r\n\x1a\n" + b"?" * 40,
    ],
)
def test_bytes_that_are_no_image_are_an_error_and_the_next_request_is_answered(tmp_path, bad):
    import tensorflow as tf

    images = keras.Input((None, None, 3))
    signatures, segment = served(keras.Model(images, layers.Conv2D(2, 1)(images)), tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?i)image|png|jpeg"):
        signatures["serve_bytes"](tf.constant([SAMPLES["png"], bad]))
    (mask,) = segment(SAMPLES["png"])
    assert mask.shape == (19, 27)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 40), (33, 27)])
def test_an_unpadded_unet_gives_masks_of_the_whole_image(tmp_path, size):
    model = unet(3, (None, None, 3), filters=4, depth=1, padding="valid")
    _, segment = served(model, tmp_path)
    image = drawn(size)
    (mask,) = segment(encoded(image))
    np.testing.assert_array_equal(mask, expected_classes(model, image))


def test_an_unpadded_unet_refuses_arrays_of_sizes_that_do_not_fit(tmp_path):
    import tensorflow as tf

    model = unet(3, (None, None, 3), filters=4, depth=1, padding="valid")
    rule, _ = size_rules(model)
    signatures, _ = served(model, tmp_path)
    fits = np.zeros((1, rule.first, rule.first + rule.step, 3), "float32")
    logits = signatures["serving_default"](tf.constant(fits))["logits"]
    np.testing.assert_allclose(logits, model.predict(fits, verbose=0), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Width of `images` must be one of"):
        signatures["serving_default"](tf.constant(fits[:, :, :-1]))


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_fixed_size_is_resized_to_and_back(tmp_path, padding):
    model = unet(3, (32, 40, 3), filters=4, depth=1, padding=padding)
    signatures, segment = served(model, tmp_path)
    assert signatures["serving_default"].inputs[0].shape.as_list() == [None, 32, 40, 3]
    image = drawn((51, 29))
    (mask,) = segment(encoded(image))
    # The two bilinear resizes may differ in the last bit, which turns ties.
    assert (mask == expected_classes(model, image)).mean() > 0.999


def test_more_than_256_classes_make_16_bit_masks(tmp_path):
    images = keras.Input((None, None, 1))
    head = layers.Conv2D(300, 1)
    model = keras.Model(images, head(images))
    bias = np.zeros(300, "float32")
    bias[299] = 1
    head.set_weights([np.zeros((1, 1, 1, 300), "float32"), bias])
    _, segment = served(model, tmp_path)
    np.testing.assert_array_equal(segment(encoded(drawn((4, 5), 1)))[0], np.full((4, 5), 299))


def test_one_class_is_decided_at_a_probability_of_a_half(tmp_path):
    import tensorflow as tf

    images = keras.Input((None, None, 1))
    model = keras.Model(images, layers.Rescaling(1 / 100, offset=-1)(images))
    signatures, segment = served(model, tmp_path)
    grey = np.array([[0, 99], [101, 200]], "uint8")[..., None]
    outputs = signatures["serving_uint8"](tf.constant(grey[None]))
    np.testing.assert_array_equal(outputs["classes"][0], [[0, 0], [1, 1]])
    np.testing.assert_array_equal(segment(encoded(grey))[0], [[0, 0], [1, 1]])
    np.testing.assert_allclose(outputs["probabilities"][0, 1, 1], 1 / (1 + np.exp(-1.0)), rtol=1e-6)


def test_other_channels_are_served_by_arrays_only(tmp_path):
    images = keras.Input((None, None, 5))
    signatures, _ = served(keras.Model(images, layers.Conv2D(2, 1)(images)), tmp_path)
    assert set(signatures) == {"serving_default", "serving_uint8"}
    assert describe(signatures)["serving_uint8"].startswith("images uint8 (?, ?, ?, 5) -> logits float32")
