"""labelme data: every shape with an area, groups, ignored regions, and every kind of bad file."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from keras_seg.data import DataError, check_objects, open_source

from .files import color_image, save

pytestmark = pytest.mark.tf_only
pytest.importorskip("pycocotools")

SQUARE = [[5, 5], [20, 5], [20, 15], [5, 15]]


def shape(label="cat", points=SQUARE, kind="polygon", group=None, **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": group, **more}


def write_labelme(folder, *shapes, name="a", size=(30, 50), image=True, **content):
    """One image with its JSON."""
    if image:
        save(folder / f"{name}.png", color_image(0, size))
    content = {
        "shapes": list(shapes), "imagePath": f"{name}.png", "imageData": None,
        "imageHeight": size[0], "imageWidth": size[1], **content,
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(content))
    return f"labelme:{folder}"


def objects_of(folder, *shapes):
    return open_source(write_labelme(folder, *shapes)).read_objects(0)[1]


def test_shapes_with_an_area(tmp_path):
    pixels = np.zeros((9, 12), "uint8")
    pixels[2:7, 3:10] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    stored = base64.b64encode(buffer.getvalue()).decode()
    objects = objects_of(
        tmp_path,
        shape(),
        shape(points=[[40, 20], [30, 10]], kind="rectangle"),
        shape(points=[[25, 15], [25, 8]], kind="circle"),
        shape(points=[[4, 6], [15, 14]], kind="mask", mask=stored),
        shape(points=[[45, 25], [56, 33]], kind="mask", mask=stored),
    )
    np.testing.assert_array_equal(objects.boxes[0], [5, 5, 20, 15])
    np.testing.assert_array_equal(objects.boxes[1], [30, 10, 40, 20])
    assert objects.masks[0].all() and objects.masks[1].all()
    assert objects.areas[2] == pytest.approx(np.pi * 49, rel=0.05)
    np.testing.assert_allclose(objects.boxes[2], [18, 8, 32, 22], atol=1)
    np.testing.assert_array_equal(objects.boxes[3], [7, 8, 14, 13])
    np.testing.assert_array_equal(objects.boxes[4], [48, 27, 50, 30])


def test_groups_are_one_object_of_one_label(tmp_path):
    far = [[30, 20], [40, 20], [40, 28]]
    objects = objects_of(
        tmp_path,
        shape("dog", group=1),
        shape("cat", points=far, group=1),
        shape("dog", points=far, group=1),
        shape("dog", points=far),
    )
    assert objects.labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(objects.boxes[0], [5, 5, 40, 28])
    assert objects.areas[0] == 150 + objects.areas[2]


def test_masks_of_classes(tmp_path):
    spec = write_labelme(
        tmp_path, shape("dog"), shape("cat", [[15, 0], [30, 0], [30, 30], [15, 30]]),
        shape("__ignore__", [[40, 20], [50, 20], [50, 30], [40, 30]]), shape("_background_"),
    )  # fmt: skip
    source = open_source(spec)
    assert source.class_names == ("background", "cat", "dog") and source.ignore_class == 255
    problems = []
    assert len(source.read_objects(0, problems)[1]) == 2
    assert len(problems) == 1 and "'_background_'" in problems[0]

    spec = write_labelme(tmp_path, *json.loads((tmp_path / "a.json").read_text())["shapes"][:3])
    image, mask = open_source(spec).read(0)
    assert mask[7, 7] == 2 and mask[7, 18] == 1 and mask[25, 45] == 255 and mask[20, 5] == 0
    assert open_source(spec).read_instances(0).max() == 2
    np.testing.assert_array_equal(image, color_image(0, (30, 50)))


def test_names_from_a_file(tmp_path):
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nzebra\ncat\n")
    spec = write_labelme(tmp_path, shape("cat"), shape("dog"))
    source = open_source(spec)
    assert source.object_names == ("zebra", "cat")
    problems = check_objects(source, progress=False).problems
    assert len(problems) == 1
    assert "shape 1 ('dog') of the image a.png has a label that is not among the classes" in problems[0]


def test_where_the_image_is_found(tmp_path):
    save(tmp_path / "images" / "b.png", color_image(0, (30, 50)))
    (tmp_path / "notes").mkdir()
    spec = write_labelme(tmp_path / "notes", shape(), image=False, imagePath="..\\images\\b.png")
    assert open_source(spec).image_paths[0].samefile(tmp_path / "images" / "b.png")
    write_labelme(tmp_path / "notes", shape(), imagePath="C:/elsewhere.jpg")
    source = open_source(f"labelme:{tmp_path}")
    assert source.ids == ["a"] and source.image_paths[0] == tmp_path / "notes" / "a.png"


BAD = {
    "two points": (shape(points=[[5, 5], [9, 9]]), "polygon of 2 points"),
    "no points": (shape(points=None), "points are no numbers|no list of x and y"),
    "NaN": (shape(points=[[5, 5], [9, float("nan")], [3, 4]]), "NaN or infinite"),
    "outside": (shape(points=[[65, 5], [69, 5], [66, 9]]), "lies outside its image"),
    "a line": (shape(kind="linestrip"), "is a linestrip, which has no area"),
    "a circle of three points": (shape(kind="circle"), "is a circle whose points are not two pairs"),
    "NaN of a rectangle": (shape(points=[[5, float("inf")], [9, 9]], kind="rectangle"), "with NaN or inf"),
    "no mask": (shape(points=[[4, 6], [15, 14]], kind="mask", mask="AAAA"), "PNG cannot be read"),
    "mask outside": (shape(points=[[4, 6], [15, 14]], kind="mask"), "PNG cannot be read"),
    "a group that is a list": (shape(group=[1]), "has a group_id that is no number"),
    "no area": (shape(points=[[5.1, 5.1], [5.2, 5.2]], kind="rectangle"), "covers no pixel"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_shapes_are_named(tmp_path, name):
    bad, message = BAD[name]
    report = check_objects(write_labelme(tmp_path, shape(), bad), progress=False)
    assert len(report.problems) == 1 and report.class_objects.sum() == 1
    assert "a.json: shape 1 ('cat') of the image a.png" in report.problems[0]
    with pytest.raises(DataError, match=message):
        report.raise_if_bad()


def test_bad_files_are_named(tmp_path):
    write_labelme(tmp_path, shape())
    write_labelme(tmp_path, shape(), name="b", image=False)
    write_labelme(tmp_path, name="c", shapes=3)
    write_labelme(tmp_path, shape(), name="d", imageHeight=31)
    (tmp_path / "e.json").write_text("{")
    report = check_objects(f"labelme:{tmp_path}", progress=False)
    assert sorted(report.unreadable) == [1, 2, 3, 4]
    for problem, part in zip(
        report.problems,
        (
            "b.json has no image: there is no file",
            'c.json is no labelme file: it has no "shapes"',
            "d.png is 30 x 50 pixels (height x width), its annotations are for 31 x 50",
            "e.json cannot be read as JSON",
        ),
        strict=True,
    ):
        assert part in problem


def test_folders_that_are_none(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        open_source("labelme:absent")
    with pytest.raises(DataError, match=r"it has no labelme file, \*\.json"):
        open_source(f"labelme:{tmp_path}")
    with pytest.raises(DataError, match="no shape with a label"):
        open_source(write_labelme(tmp_path))


@pytest.mark.data
def test_real_data_agree_with_coco(real_data):
    """The same photographs, exported by labelme to both formats."""
    source = open_source(f"labelme:{real_data / 'labelme_sample'}")
    coco = open_source(f"coco:{real_data / 'coco_sample' / 'annotations.json'}")
    for index, name in enumerate(source.ids):
        objects = source.read_objects(index)[1]
        same = coco.read_objects(coco.ids.index(name))[1]
        np.testing.assert_array_equal(objects.boxes, same.boxes)
        names = [source.object_names[label] for label in objects.labels]
        assert names == [coco.object_names[label] for label in same.labels]
        assert all((a == b).all() for a, b in zip(objects.masks, same.masks, strict=True))
