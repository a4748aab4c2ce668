"""Sizes read from headers are those of the decoder; what is too large is refused undecoded."""

import struct

import numpy as np
import pytest

from keras_seg.serving import Limits
from keras_seg.serving.errors import RequestError
from keras_seg.serving.image_headers import check_image
from tests.serving.hostile_bodies import huge_bmp, huge_jpeg, huge_png
from tests.serving.toy_server import drawn, encoded

pytestmark = pytest.mark.tf_only

LIMITS = Limits()
SAMPLES = {
    "png": encoded(drawn(19, 27)),
    "grey png": encoded(drawn(19, 27)[..., 0]),
    "jpeg": encoded(drawn(19, 27), "JPEG"),
    "progressive": encoded(drawn(19, 27), "JPEG", progressive=True),
    "jpeg with comment": encoded(drawn(19, 27), "JPEG", comment=b"\xff\xda" * 20),
    "bmp": encoded(drawn(19, 27), "BMP"),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_size(kind):
    assert check_image(SAMPLES[kind], LIMITS) == (19, 27)


def test_jpeg_with_fill_bytes_before_a_marker():
    file = SAMPLES["jpeg"]
    assert check_image(file[:2] + b"\xff\xff\xff" + file[2:], LIMITS) == (19, 27)


@pytest.mark.parametrize("make", [huge_png, huge_jpeg, huge_bmp])
def test_a_header_of_a_huge_image(make):
    with pytest.raises(RequestError, match="is larger than the 4194304"):
        check_image(make(60_000, 60_000), LIMITS)
    assert check_image(make(2048, 2048), LIMITS) == (2048, 2048)


def test_a_hundred_thousand_on_each_side():
    with pytest.raises(RequestError, match="100000x100000 pixels"):
        check_image(huge_png(100_000, 100_000), LIMITS)


@pytest.mark.parametrize("make", [huge_png, huge_jpeg, huge_bmp])
def test_no_pixels(make):
    with pytest.raises(RequestError, match="not positive"):
        check_image(make(0, 5), LIMITS)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_truncated_header(kind):
    for length in (0, 1, 3, 8, 15, 20):
        with pytest.raises(RequestError) as error:
            check_image(SAMPLES[kind][:length], LIMITS)
        assert error.value.status == 400


def test_a_jpeg_of_thousands_of_scans():
    file = SAMPLES["progressive"]
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x01\x00"
    with pytest.raises(RequestError, match="more than 64 scans"):
        check_image(file[:-2] + scan * 10_000 + file[-2:], LIMITS)


def test_other_formats():
    for file in (encoded(drawn(5, 5), "GIF"), encoded(drawn(5, 5), "TIFF"), b"%PDF-1.4", b"<svg/>"):
        with pytest.raises(RequestError, match="PNG, JPEG or BMP"):
            check_image(file, LIMITS)


def test_random_bytes_never_raise_anything_else():
    rng = np.random.default_rng(0)
    starts = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", struct.pack(">I", 0))
    for i in range(500):
        file = starts[i % 4] + rng.bytes(int(rng.integers(0, 100)))
        try:
            height, width = check_image(file, LIMITS)
        except RequestError as error:
            assert error.status == 400
        else:
            assert 0 < height * width <= LIMITS.image_pixels
