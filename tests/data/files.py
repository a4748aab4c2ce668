"""Small data sets written to a temporary folder, for the tests of this package."""

import json

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


def write_coco(folder, annotations=(), images=2, size=(40, 60), categories=((3, "cat"), (7, "dog"))):
    """FOLDER/annotations.json and FOLDER/images; annotations are dicts, with ids and category 3 filled in."""
    listed = []
    for number in range(images):
        save(folder / "images" / f"a{number}.png", color_image(number, size))
        listed.append({"id": 10 + number, "file_name": f"a{number}.png", "height": size[0], "width": size[1]})
    filled = [
        {"id": 100 + number, "image_id": 10, "category_id": 3, "iscrowd": 0, **annotation}
        for number, annotation in enumerate(annotations)
    ]
    content = {
        "images": listed,
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": filled,
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return f"coco:{folder / 'annotations.json'},{folder / 'images'}"


def square(left, top, right, bottom):
    """COCO's polygons of a rectangle."""
    return [[left, top, right, top, right, bottom, left, bottom]]
