"""Bad files of every kind: one error that names the file and says what to do, before any training step."""

import importlib.util
import io

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_seg.data import DataError, check, load, open_source
from keras_seg.data.image_files import decode_image, read_image, read_mask

from .files import class_mask, color_image, save, write_folder

pytestmark = pytest.mark.tf_only


@pytest.fixture
def folder(tmp_path):
    """A good folder, to be spoilt."""
    write_folder(tmp_path / "set")
    (tmp_path / "set" / "classes.json").write_text('["a", "b", "c"]')
    return tmp_path / "set"


def spoil_missing_mask(folder):
    (folder / "masks" / "a1.png").unlink()


def spoil_size(folder):
    save(folder / "masks" / "a1.png", class_mask(size=(12, 16)))


def spoil_class_id(folder):
    mask = class_mask()
    mask[3, 5] = 7
    save(folder / "masks" / "a1.png", mask)


def spoil_truncated(folder):
    path = folder / "images" / "a1.png"
    path.write_bytes(path.read_bytes()[:200])


def spoil_truncated_mask(folder):
    path = folder / "masks" / "a1.png"
    path.write_bytes(path.read_bytes()[:60])


def spoil_not_an_image(folder):
    (folder / "images" / "a1.png").write_text("this is a letter, not an image")


def spoil_zero_bytes(folder):
    (folder / "images" / "a1.png").write_bytes(b"")


def spoil_nan(folder):
    (folder / "images" / "a1.png").unlink()
    pixels = np.full((12, 17), 7, "float32")
    pixels[2, 4] = np.nan
    tifffile.imwrite(folder / "images" / "a1.tif", pixels)


def spoil_colors(folder):
    save(folder / "masks" / "a1.png", color_image())


SPOILS = [
    (spoil_missing_mask, r"images/a1\.png has no mask\. Add one of the same name"),
    (spoil_size, r"masks/a1\.png is 12 x 16 pixels .* its image .*a1\.png is 12 x 17\. Export the mask"),
    (spoil_class_id, r"masks/a1\.png has the unknown class id 7 at row 3, column 5\. Known are 0 to 2\. Add"),
    (spoil_truncated, r"images/a1\.png is truncated or damaged: .*Copy or export it again"),
    (spoil_truncated_mask, r"masks/a1\.png is truncated or damaged: .*Copy or export it again"),
    (spoil_not_an_image, r"images/a1\.png is not an image that can be read\. Use PNG"),
    (spoil_zero_bytes, r"images/a1\.png is empty \(0 bytes\)\. Copy it again"),
    (spoil_nan, r"a1\.tif has NaN or infinite values \(1 of 204, the first at row 2, column 4\)\. Replace"),
    (spoil_colors, r"masks/a1\.png is a mask of colours\. List them in classes\.json"),
]


@pytest.mark.parametrize("spoil, message", SPOILS, ids=[spoil.__name__[6:] for spoil, _ in SPOILS])
def test_one_clear_error_before_the_first_batch(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message):
        load(f"folder:{folder}", batch_size=2)
    report = check(f"folder:{folder}", progress=False)
    assert len(report.problems) == 1
    assert report.problems[0] in str(report)
    assert sum(report.sizes.values()) == 3


def test_all_problems_are_listed_at_once(folder):
    spoil_missing_mask(folder)
    (folder / "images" / "a2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 4 items cannot be used:\n- .*a1\.png.*\n- .*a2\.png"):
        load(f"folder:{folder}")


@pytest.mark.parametrize("name", ["images", "masks"])
def test_empty_folder(folder, name):
    for path in (folder / name).iterdir():
        path.unlink()
    (folder / name / "readme.txt").write_text("nothing here")
    with pytest.raises(DataError, match=rf"{name} is empty: it has no file that ends in .*\.png"):
        open_source(f"folder:{folder}")


def test_absent_folder(tmp_path):
    for name in ("folder", "camvid", "isbi", "nuclei", "kaggle-nuclei"):
        with pytest.raises(DataError, match=r"There is no folder .*nowhere.*Check the path"):
            open_source(f"{name}:{tmp_path}/nowhere")


def test_two_images_of_one_name(folder):
    save(folder / "images" / "a1.bmp", color_image())
    with pytest.raises(DataError, match=r"a1\.bmp and .*a1\.png have one name"):
        open_source(f"folder:{folder}")


def test_absent_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.png cannot be opened: No such file.*Check the path"):
        read_image(tmp_path / "a.png")


def test_values_out_of_range(tmp_path):
    for pixels, values in ((np.linspace(0, 1, 50), "0 to 1"), (np.linspace(-3, 9, 50), "-3 to 9")):
        tifffile.imwrite(tmp_path / "a.tif", pixels.reshape(5, 10).astype("float32"))
        with pytest.raises(DataError, match=rf"values from {values}\. Images are 0\.\.255 here: scale"):
            read_image(tmp_path / "a.tif")


def test_stack_of_pages_is_not_one_image(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 12, 17), "uint8"), photometric="minisblack")
    with pytest.raises(DataError, match=r"a\.tif is a stack of 5 pages .*Save every page as its own file"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype, options", [("uint16", {"compression": "zlib"}), ("uint8", {})])
def test_damaged_size_of_a_tiff_fails_at_once(tmp_path, dtype, options):
    """The length says 80 million rows in strips of nine; decoding as many would take minutes."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 11), dtype), **options)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(83886089)
    with pytest.raises(DataError, match=r"a\.tif is truncated or damaged: its pixels lie beyond"):
        read_image(tmp_path / "a.tif")


@pytest.mark.skipif(importlib.util.find_spec("imagecodecs"), reason="imagecodecs unpacks it")
def test_packing_that_needs_another_package(tmp_path):
    image = Image.fromarray(np.zeros((9, 11), "uint16"))
    image.save(tmp_path / "a.tif", compression="tiff_lzw")
    with pytest.raises(DataError, match=r"a\.tif is packed by LZW.*pip install imagecodecs"):
        read_image(tmp_path / "a.tif")


def test_32_bit_integers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((12, 17), "int32"))
    with pytest.raises(DataError, match=r"a\.tif has pixels of type int32\. Save it with 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_decompression_bomb(tmp_path, monkeypatch, dtype):
    save(tmp_path / "a.png", np.zeros((40, 40), dtype))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"a\.png is too large to be decoded safely: .*Cut it into tiles"):
        read_image(tmp_path / "a.png")


def test_jpeg_mask_is_told_what_jpeg_does(folder):
    (folder / "masks" / "a1.png").unlink()
    save(folder / "masks" / "a1.jpg", np.full((12, 17), 90, "uint8"))
    with pytest.raises(
        DataError, match=r"a1\.jpg has the unknown class id 90 .*save it as PNG: JPEG changes"
    ):
        load(f"folder:{folder}")


def _encoded():
    image, mask = color_image(0, (9, 11)), class_mask(0, (9, 11))
    for array, kind in ((image, "PNG"), (mask, "PNG"), (image, "JPEG"), (image, "TIFF"), (mask > 0, "TIFF")):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind)
        yield buffer.getvalue()
    for dtype in ("uint16", "float32"):
        for options in ({}, {"compression": "zlib"}):
            buffer = io.BytesIO()
            tifffile.imwrite(buffer, (mask * 50).astype(dtype), **options)
            yield buffer.getvalue()
    buffer = io.BytesIO()
    Image.fromarray(mask.astype("uint16") * 9000).save(buffer, "PNG")
    yield buffer.getvalue()


FILES = list(_encoded())


@pytest.mark.filterwarnings("ignore")  # decoders warn about much of what is wrong before they give up
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(range(len(FILES))), st.data())
def test_damaged_bytes_give_an_image_or_a_data_error(tmp_path_factory, number, data):
    content = bytearray(FILES[number])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    try:
        image = decode_image(content)
        assert image.ndim == 3 and image.shape[-1] in (1, 3) and image.dtype in (np.uint8, np.float32)
        assert np.isfinite(image).all()
    except DataError as error:
        assert "the image" in str(error)
    try:
        mask = read_mask(path)
        assert mask.dtype.kind in "ui" and mask.ndim in (2, 3)
    except DataError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("number", range(len(FILES)))
def test_truncated_files_are_never_read_as_whole(number):
    """Half of a file must not pass, whatever the format."""
    whole = decode_image(FILES[number])
    assert whole.shape[:2] == (9, 11)
    with pytest.raises(DataError, match="truncated|not an image|too large"):
        decode_image(FILES[number][: len(FILES[number]) // 2])
