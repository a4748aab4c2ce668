"""PNG files keep their values, their depth, and the old file when the new one fails."""

import numpy as np
import pytest
from PIL import Image

from keras_seg.viz import save_png

pytestmark = pytest.mark.tf_only


@pytest.mark.parametrize(("shape", "dtype"), [((5, 7), "uint8"), ((5, 7, 3), "uint8"), ((5, 7), "uint16")])
def test_values_and_depth_are_kept(tmp_path, shape, dtype):
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    path = tmp_path / "new" / "a.png"
    save_png(path, array)
    with Image.open(path) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), array)
    assert [item.name for item in path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("array", "name", "message"),
    [
        (np.zeros((5, 7)), "a.png", "`array` must be uint8"),
        (np.zeros((5, 7, 4), "uint8"), "a.png", "`array` must be uint8"),
        (np.zeros((5, 7, 3), "uint16"), "a.png", "`array` must be uint8"),
        (np.zeros((5, 7), "uint8"), "a.jpg", "`path` must be a name ending in .png"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, array, name, message):
    with pytest.raises(ValueError, match=message):
        save_png(tmp_path / name, array)
    assert not list(tmp_path.iterdir())
