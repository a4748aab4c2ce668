"""Rows of files larger than memory: every layout of TIFF gives the pixels that were written."""

import numpy as np
import pytest
import tifffile

from keras_seg.inference.image_files import open_image, open_output, read_output, release_pages

pytestmark = pytest.mark.tf_only


def noise(*shape, dtype="uint8"):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("shape", [(75, 53), (75, 53, 3)])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"compression": "zlib", "rowsperstrip": 16},
        {"compression": "zlib", "tile": (32, 16)},
        {"tile": (16, 32)},
        {"compression": "zlib"},
        {"byteorder": ">"},
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_rows_of_a_tiff(tmp_path, shape, layout, dtype):
    image, path = noise(*shape, dtype=dtype), tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb" if len(shape) == 3 else "minisblack", **layout)
    with open_image(path) as (source, divisor):
        assert source.shape == shape and divisor == (257 if dtype == "uint16" else 1)
        for first, last in ((0, 20), (10, 40), (33, 34), (60, 75), (0, 75)):
            np.testing.assert_array_equal(source[first:last], image[first:last])


def test_planes_of_a_tiff(tmp_path):
    planes = noise(3, 40, 30)
    tifffile.imwrite(
        tmp_path / "a.tif",
        planes,
        photometric="rgb",
        planarconfig="separate",
        compression="zlib",
        rowsperstrip=8,
    )
    with open_image(tmp_path / "a.tif") as (source, _):
        np.testing.assert_array_equal(source[5:33], np.moveaxis(planes, 0, -1)[5:33])


def test_one_bit_tiff_becomes_0_and_255(tmp_path):
    bits = noise(20, 24) > 127
    tifffile.imwrite(tmp_path / "a.tif", bits)
    with open_image(tmp_path / "a.tif") as (source, divisor):
        np.testing.assert_allclose(source[0:20].astype("float32") / divisor, bits * 255.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tif", b"", "not a TIFF file"),
        ("a.tif", b"II*\0" + bytes(4), "TIFF"),
        ("a.png", b"x", r"`image` must be an array, or the path of a \.npy or TIFF"),
        ("a.npy", b"x", r"not a \.npy file"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised, open_image(tmp_path / name):
        pass
    assert name in str(raised.value)


def test_an_absent_file_and_a_stack(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.tif"), open_image(tmp_path / "none.tif"):
        pass
    tifffile.imwrite(tmp_path / "stack.tif", noise(4, 20, 20), photometric="minisblack")
    with pytest.raises(ValueError, match="TIFF file of one page"), open_image(tmp_path / "stack.tif"):
        pass


def test_a_truncated_strip_is_an_error(tmp_path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, noise(200, 200), compression="zlib", rowsperstrip=50)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[2]
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = bytes(40)
    path.write_bytes(data)
    with open_image(path) as (source, _):
        assert source[0:100].shape == (100, 200)
        with pytest.raises(ValueError, match=r"image\.tif cannot be decoded"):
            source[100:150]


@pytest.mark.parametrize("name", ["a.npy", "a.tif"])
@pytest.mark.parametrize("shape", [(30, 20), (30, 20, 1), (30, 20, 2), (30, 20, 3), (30, 20, 5)])
def test_what_is_written_is_read(tmp_path, name, shape):
    values = noise(*shape, dtype="float32")
    with open_output(tmp_path / name, shape, "float32") as target:
        for row in range(0, 30, 7):
            target[row : row + 7] = values[row : row + 7]
            release_pages(target)
        assert not (tmp_path / name).exists()
    result = read_output(tmp_path / name, shape)
    assert not result.flags.writeable
    np.testing.assert_array_equal(result, values)


def test_pages_of_a_copy_on_write_map_are_kept(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((50, 50)))
    private = np.load(tmp_path / "a.npy", mmap_mode="c")
    private[:] = 7
    release_pages(private)
    release_pages(np.asarray(private))
    assert (private == 7).all()
