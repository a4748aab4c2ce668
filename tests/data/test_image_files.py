"""Every pixel mode of image and mask files, against the values that were written."""

import io

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image

from keras_seg.data.errors import DataError
from keras_seg.data.image_files import decode_image, read_header, read_image, read_mask

from .files import class_mask, color_image, palette_image, save

pytestmark = pytest.mark.tf_only

COLOR = color_image(1)
GREY = COLOR[..., 0]
DEEP = np.random.default_rng(2).integers(0, 65536, (12, 17), "uint16")
DEEP_COLOR = np.random.default_rng(3).integers(0, 65536, (12, 17, 3), "uint16")


class TestImages:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
    def test_color_is_kept(self, tmp_path, suffix):
        path = save(tmp_path / f"a{suffix}", COLOR)
        image = read_image(path)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, COLOR)

    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pgm"])
    def test_grey_has_one_channel(self, tmp_path, suffix):
        image = read_image(save(tmp_path / f"a{suffix}", GREY))
        np.testing.assert_array_equal(image, GREY[..., None])

    def test_jpeg_is_near(self, tmp_path):
        smooth = np.repeat(np.arange(0, 160, 10, "uint8")[None, :, None], 16, axis=0).repeat(3, axis=2)
        image = read_image(save(tmp_path / "a.jpg", smooth, quality=100))
        assert np.abs(image.astype(int) - smooth).max() <= 2

    def test_one_bit_is_black_and_white(self, tmp_path):
        bits = GREY > 127
        for suffix in (".png", ".tif"):
            image = read_image(save(tmp_path / f"a{suffix}", bits))
            np.testing.assert_array_equal(image[..., 0], np.where(bits, 255, 0))

    def test_palette_gives_its_colors(self, tmp_path):
        indices = class_mask()
        image = read_image(save(tmp_path / "a.png", palette_image(indices)))
        np.testing.assert_array_equal(image, np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])[indices])

    def test_alpha_is_dropped_not_blended(self, tmp_path):
        alpha = np.random.default_rng(4).integers(0, 256, GREY.shape, "uint8")
        image = read_image(save(tmp_path / "a.png", np.dstack([COLOR, alpha])))
        np.testing.assert_array_equal(image, COLOR)
        grey = read_image(save(tmp_path / "b.png", np.dstack([GREY, alpha])))
        np.testing.assert_array_equal(grey, GREY[..., None])

    def test_cmyk_is_converted(self, tmp_path):
        ink = np.zeros((8, 8, 4), "uint8")
        ink[:4, :, 0] = 255
        ink[4:, :, 3] = 255
        for suffix in (".tif", ".jpg"):
            path = save(tmp_path / f"a{suffix}", cmyk(ink))
            image = read_image(path).astype(int)
            assert np.abs(image[0, 0] - [0, 255, 255]).max() <= 3
            assert np.abs(image[-1, 0]).max() <= 3

    def test_16_bit_png_loses_nothing(self, tmp_path):
        image = read_image(save(tmp_path / "a.png", DEEP))
        assert image.dtype == np.float32
        np.testing.assert_array_equal((image[..., 0] * 257).round().astype("uint16"), DEEP)
        assert image.max() <= 255

    def test_16_bit_color_and_alpha_png(self, tmp_path):
        for channels in (3, 4):
            pixels = np.dstack([DEEP_COLOR, DEEP])[..., :channels]
            path = tmp_path / f"{channels}.png"
            path.write_bytes(tf.io.encode_png(pixels).numpy())
            np.testing.assert_array_equal((read_image(path) * 257).round().astype("uint16"), DEEP_COLOR)

    def test_16_bit_tiff(self, tmp_path):
        for number, pixels in enumerate((DEEP, DEEP_COLOR, np.moveaxis(DEEP_COLOR, -1, 0))):
            path = tmp_path / f"{number}.tif"
            tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
            expected = DEEP[..., None] if pixels.ndim == 2 else DEEP_COLOR
            np.testing.assert_array_equal((read_image(path) * 257).round().astype("uint16"), expected)

    def test_float_tiff_is_taken_as_it_is(self, tmp_path):
        pixels = np.random.default_rng(5).uniform(0, 255, (12, 17)).astype("float32")
        tifffile.imwrite(tmp_path / "a.tif", pixels)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], pixels)

    def test_inverted_tiff_is_turned(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], 255 - GREY)

    def test_compressed_tiff(self, tmp_path):
        path = save(tmp_path / "a.tif", COLOR, compression="tiff_lzw")
        np.testing.assert_array_equal(read_image(path), COLOR)

    def test_orientation_of_photographs_is_applied(self, tmp_path):
        exif = Image.Exif()
        exif[274] = 6  # turned a quarter clockwise to be upright
        path = save(tmp_path / "a.png", COLOR, exif=exif)
        np.testing.assert_array_equal(read_image(path), np.rot90(COLOR, -1))
        assert read_header(path)[:2] == (17, 12)
        mask = save(tmp_path / "mask.png", GREY, exif=exif)
        np.testing.assert_array_equal(read_mask(mask), GREY)

    def test_channels_can_be_asked_for(self, tmp_path):
        grey = save(tmp_path / "grey.png", GREY)
        np.testing.assert_array_equal(read_image(grey, channels=3), np.repeat(GREY[..., None], 3, axis=-1))
        luma = read_image(save(tmp_path / "color.png", COLOR), channels=1)[..., 0]
        # Pillow rounds in 16-bit fixed point: at most half a grey value and its own rounding apart.
        assert np.abs(luma - COLOR @ [0.299, 0.587, 0.114]).max() <= 0.51
        with pytest.raises(ValueError, match="`channels` must be 1, 3 or None"):
            read_image(grey, channels=2)

    def test_bytes_are_decoded_alike(self):
        buffer = io.BytesIO()
        Image.fromarray(COLOR).save(buffer, "PNG")
        np.testing.assert_array_equal(decode_image(buffer.getvalue()), COLOR)

    @pytest.mark.parametrize(
        "name", ["grey.png", "color.png", "deep.png", "deep_color.tif", "float.tif", "one.png"]
    )
    def test_header_tells_what_reading_gives(self, tmp_path, name):
        path = tmp_path / name
        if name == "deep_color.tif":
            tifffile.imwrite(path, DEEP_COLOR, photometric="rgb")
        elif name == "float.tif":
            tifffile.imwrite(path, GREY.astype("float32"))
        else:
            save(path, {"grey.png": GREY, "color.png": COLOR, "deep.png": DEEP, "one.png": GREY > 9}[name])
        header, image = read_header(path), read_image(path)
        assert (*header[:3], header.dtype) == (*image.shape, str(image.dtype))


class TestMasks:
    def test_stored_integers_are_kept(self, tmp_path):
        ids = class_mask()
        for name, stored in (("grey", ids), ("palette", palette_image(ids)), ("deep", DEEP)):
            mask = read_mask(save(tmp_path / f"{name}.png", stored))
            np.testing.assert_array_equal(mask, DEEP if name == "deep" else ids)
            assert mask.dtype == ("uint16" if name == "deep" else "uint8")

    def test_one_bit_is_0_and_1(self, tmp_path):
        bits = GREY > 127
        for suffix in (".png", ".tif"):
            np.testing.assert_array_equal(read_mask(save(tmp_path / f"a{suffix}", bits)), bits)

    def test_tiff_of_any_integers(self, tmp_path):
        for dtype in ("uint8", "uint16", "int32", ">u2"):
            tifffile.imwrite(tmp_path / "a.tif", class_mask().astype(dtype))
            np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), class_mask())

    def test_colors_are_left_to_a_table(self, tmp_path):
        rgba = np.dstack([COLOR, GREY])
        np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", rgba)), COLOR)

    def test_floating_point_is_refused(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", GREY.astype("float32"))
        with pytest.raises(DataError, match="a.tif holds floating-point numbers. Save a mask's class ids"):
            read_mask(tmp_path / "a.tif")


def cmyk(ink):
    return Image.frombytes("CMYK", ink.shape[1::-1], ink.tobytes())
