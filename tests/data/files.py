"""Small data sets written to a temporary folder, for the tests of this package."""

import numpy as np
from PIL import Image


def color_image(seed=0, size=(12, 17)):
    """Random uint8 (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), "uint8")


def class_mask(seed=0, size=(12, 17), num_classes=3):
    """Random class ids, uint8 (H, W), every class present."""
    mask = np.random.default_rng(seed).integers(0, num_classes, size, "uint8")
    mask.flat[:num_classes] = range(num_classes)
    return mask


def save(path, array, **options):
    """Write an array (or a Pillow image) as the suffix says; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **options)
    return path


def write_folder(folder, count=4, size=(12, 17), num_classes=3):
    """FOLDER/images and FOLDER/masks with `count` pairs a0.png, a1.png, ..."""
    for number in range(count):
        save(folder / "images" / f"a{number}.png", color_image(number, size))
        save(folder / "masks" / f"a{number}.png", class_mask(number, size, num_classes))
    return folder


def palette_image(indices):
    """A palette image of three colours with these indices."""
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    return image
