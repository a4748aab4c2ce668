"""COCO data: polygons, both run-length encodings, crowds, ids there and back, and every kind of bad entry."""

import json

import numpy as np
import pytest

from keras_seg.data import DataError, check_objects, instance_crops, load, open_source

from .files import color_image, save, square, write_coco

pytestmark = pytest.mark.tf_only
coco_mask = pytest.importorskip("pycocotools.mask")


def test_polygons_equal_pycocotools(tmp_path):
    random = np.random.default_rng(0)
    annotations = []
    for _ in range(40):
        middle, radius = random.uniform(0, [60, 40]), random.uniform(5, 25)
        corners = random.integers(3, 9)
        angles = (np.arange(corners) + random.uniform(0, 0.6, corners)) * (2 * np.pi / corners)
        points = middle + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        annotations.append({"segmentation": [points.ravel().tolist(), (points * 0.3 + 9).ravel().tolist()]})
    source = open_source(write_coco(tmp_path, annotations))
    image, objects = source.read_objects(0, problems := [])
    assert not problems and len(objects) == 40
    for row, annotation in enumerate(annotations):
        encodings = coco_mask.frPyObjects(annotation["segmentation"], 40, 60)
        expected = coco_mask.decode(coco_mask.merge(encodings))
        np.testing.assert_array_equal(objects.full_mask(row, (40, 60)), expected)
    np.testing.assert_array_equal(image, color_image(0, (40, 60)))


def test_labels_by_ids_need_small_ids(tmp_path):
    spec = write_coco(tmp_path, [{"segmentation": square(25, 10, 50, 30)}])
    file = tmp_path / "annotations.json"
    content = json.loads(file.read_text())
    for number in (0, 10_001):
        content["categories"][-1]["id"] = number
        file.write_text(json.dumps(content))
        with pytest.raises(
            DataError, match=r"within 1\.\.10000, and it has ids from .* Leave labels=ids out"
        ):
            open_source(f"{spec},labels=ids")


def test_encodings_crowds_and_classes(tmp_path):
    mask = np.zeros((40, 60), "uint8")
    mask[5:20, 7:30] = 1
    packed = coco_mask.encode(np.asfortranarray(mask))
    runs = np.diff(np.r_[0, np.nonzero(np.diff(mask.T.ravel()))[0] + 1, 2400]).tolist()
    annotations = [
        {"segmentation": {"size": [40, 60], "counts": packed["counts"].decode()}, "category_id": 7},
        {"segmentation": {"size": [40, 60], "counts": runs}, "iscrowd": 1, "bbox": [7, 5, 23, 15]},
        {"segmentation": square(25, 10, 50, 30)},
    ]
    source = open_source(write_coco(tmp_path, annotations))
    assert source.object_names == ("cat", "dog") and source.has_objects and source.has_crowds
    assert source.category_ids == (3, 7) and source.image_ids == [10, 11] and source[1:].image_ids == [11]
    objects = source.read_objects(0)[1]
    np.testing.assert_array_equal(objects.full_mask(0, (40, 60)), mask)
    np.testing.assert_array_equal(objects.full_mask(1, (40, 60)), mask)
    assert objects.labels.tolist() == [1, 0, 0] and objects.crowd.tolist() == [False, True, False]
    assert len(source.read_objects(1)[1]) == 0

    by_id = open_source(f"{write_coco(tmp_path, annotations)},labels=ids")
    assert by_id.category_ids == tuple(range(1, 8)) and by_id.object_names[2::4] == ("cat", "dog")
    assert by_id.object_names[:2] == ("no category 1", "no category 2")
    assert by_id.read_objects(0)[1].labels.tolist() == [6, 2, 2]

    image, classes = source.read(0)
    assert source.class_names == ("background", "cat", "dog") and image.shape == (40, 60, 3)
    assert classes[6, 8] == 1 and classes[25, 40] == 1 and classes[0, 0] == 0
    instances = source.read_instances(0)
    assert instances[6, 8] == 1 and instances[25, 40] == 3 and instances[12, 28] == 3
    assert source.read_instances(1).max() == 0 and source.size(0) == (40, 60)


def test_serves_semantic_training_and_crops_of_objects(tmp_path):
    spec = write_coco(tmp_path, [{"segmentation": square(5, 5, 40, 30), "category_id": 7}])
    image, mask = next(iter(load(spec, batch_size=2)))
    assert image.shape == (2, 40, 60, 3) and mask.numpy()[0].max() == 2 and mask.numpy()[1].max() == 0
    crop = instance_crops(open_source(spec), size=32)
    assert len(crop) == 1 and set(np.unique(crop.read(0)[1])) == {0, 2}


def test_where_images_are_found(tmp_path):
    """With folders in the file's names, beside the JSON, and under their last part."""
    write_coco(tmp_path, [], images=1)
    file = tmp_path / "annotations.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = "images/a0.png"
    file.write_text(json.dumps(content))
    for spec in (f"coco:{file}", f"coco:{file},{tmp_path}", f"coco:{file},{tmp_path / 'images'}"):
        assert open_source(spec).read(0)[0].shape == (40, 60, 3)


def test_background_is_no_class_and_sizes_may_be_left_out(tmp_path):
    spec = write_coco(
        tmp_path, [{"segmentation": square(5, 5, 9, 9)}], categories=[(0, "_background_"), (3, "x")]
    )
    source = open_source(spec)
    assert source.object_names == ("x",) and source.category_ids == (3,)
    file = tmp_path / "annotations.json"
    content = json.loads(file.read_text())
    for image in content["images"]:
        del image["height"], image["width"]
    file.write_text(json.dumps(content))
    source = open_source(spec)
    assert source.size(0) is None and len(source.read_objects(0)[1]) == 1
    assert source.read_instances(0).shape == (40, 60)


BAD = {
    "x2 < x1": ({"bbox": [20, 5, -3, 9]}, r"bbox without area, x2 <= x1: \[20, 5, -3, 9\]"),
    "y2 < y1": ({"bbox": [20, 5, 3, 0]}, "bbox without area, y2 <= y1"),
    "box outside": ({"bbox": [60, 5, 9, 9]}, "bbox outside its image of 40 x 60 pixels"),
    "box of NaN": ({"bbox": [float("nan"), 5, 9, 9]}, "bbox with NaN or infinite"),
    "box of text": ({"bbox": "5, 5"}, "not four numbers"),
    "outside": ({"segmentation": square(70, 5, 90, 9)}, "lies outside its image of 40 x 60 pixels"),
    "far outside": ({"segmentation": square(5, 5, 1e12, 9)}, "points far outside its image"),
    "NaN": ({"segmentation": square(float("nan"), 5, 9, 9)}, "polygon with NaN or infinite points"),
    "two points": ({"segmentation": [[5, 5, 9, 9]]}, "polygon of 2 points, which has no area"),
    "odd numbers": ({"segmentation": [[5, 5, 9, 9, 3, 4, 5]]}, "polygon that is no list of x and y"),
    "text": ({"segmentation": [["a"] * 6]}, "points are no numbers"),
    "no mask": ({"segmentation": []}, 'no "segmentation"'),
    "no pixel": ({"segmentation": square(5.1, 5.1, 5.2, 5.2)}, "covers no pixel"),
    "size of the RLE": (
        {"segmentation": {"size": [60, 40], "counts": [2400]}},
        r"RLE of the size \[60, 40\], its image is \[40, 60\]",
    ),
    "runs of the RLE": ({"segmentation": {"size": [40, 60], "counts": [5, 6]}}, "they span 11 of 2400"),
    "runs that wrap": (
        {"segmentation": {"size": [40, 60], "counts": [2**62] * 4 + [2400]}},
        "runs do not add up to its size",
    ),
    "runs of 400 digits": ({"segmentation": {"size": [40, 60], "counts": [10**400]}}, "no whole numbers"),
    "box of 400 digits": ({"bbox": [5, 5, 10**400, 9]}, "not four numbers"),
    "polygon of 400 digits": ({"segmentation": square(5, 5, 10**400, 9)}, "points are no numbers"),
    "crowd by text": ({"iscrowd": "0"}, "\"iscrowd\" '0', which must be 0 or 1"),
    "category": ({"category_id": 99}, "category 99, which does not exist; known are 3, 7"),
    "no category": ({"category_id": [1]}, r"category \[1\], which does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_annotations_are_named(tmp_path, name):
    change, message = BAD[name]
    good = {"segmentation": square(5, 5, 20, 20)}
    spec = write_coco(tmp_path, [good, {**good, **change}, good])
    report = check_objects(spec, progress=False)
    assert len(report.problems) == 1 and report.class_objects.sum() == 2 and not report.unreadable
    problem = report.problems[0]
    for part in ("annotations.json: annotation 101 of image 10 (a0.png)", "Correct it, or remove it"):
        assert part in problem
    with pytest.raises(DataError, match=message):
        open_source(spec).read_objects(0)
    with pytest.raises(DataError, match=message):
        open_source(spec).read(0)


def test_bad_images_are_named(tmp_path):
    spec = write_coco(tmp_path, [{"segmentation": square(5, 5, 20, 20), "image_id": 12}], images=4)
    (tmp_path / "images" / "a0.png").unlink()
    (tmp_path / "images" / "a1.png").write_bytes(b"no image")
    save(tmp_path / "images" / "a2.png", color_image(2, (60, 40)))
    report = check_objects(spec, progress=False)
    assert sorted(report.unreadable) == [0, 1, 2] and len(report.problems) == 3
    assert "a0.png cannot be opened" in report.problems[0]
    assert "a1.png is not an image that can be read" in report.problems[1]
    assert "a2.png is 60 x 40 pixels (height x width), its annotations are for 40 x 60" in report.problems[2]


def test_annotations_of_no_image_are_named(tmp_path):
    spec = write_coco(tmp_path, [{"image_id": 77}, {"image_id": 77}, {"image_id": [1]}])
    problems = check_objects(spec, progress=False).problems
    assert len(problems) == 2 and "2 annotations are of image 77, which it does not list" in problems[0]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"images": None}, '"images" is no list of entries'),
        ({"annotations": [3]}, '"annotations" is no list'),
        ({"categories": []}, "no category but background"),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
            '"categories" has the id 1, twice',
        ),
        ({"images": [{"id": None, "file_name": "a.png"}]}, '"images" has the id None'),
        ({"images": [{"id": 1}]}, 'image 1 has no "file_name"'),
        ({"images": [{"id": 1, "file_name": "a\0.png"}]}, '"file_name" that no file can have'),
        ({"images": [{"id": 1, "file_name": "a" * 300}]}, '"file_name" that no file can have'),
        ({"images": [{"id": 1, "file_name": "\ud800.png"}]}, '"file_name" that no file can have'),
    ],
)
def test_files_that_are_none(tmp_path, change, message):
    spec = write_coco(tmp_path)
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError, match=message):
        open_source(spec)


def test_paths_that_are_none(tmp_path):
    spec = write_coco(tmp_path)
    with pytest.raises(DataError, match="There is no file"):
        open_source("coco:absent.json")
    with pytest.raises(DataError, match="There is no folder"):
        open_source(spec + "_absent")
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        open_source(spec)


def test_more_classes_than_a_mask_holds(tmp_path):
    categories = [(number, f"class {number}") for number in range(300)]
    spec = write_coco(
        tmp_path, [{"segmentation": square(5, 5, 9, 9), "category_id": 299}], categories=categories
    )
    source = open_source(spec)
    assert source.read_objects(0)[1].labels.tolist() == [299]
    with pytest.raises(DataError, match="300 classes make no mask of 8 bits"):
        source.read(0)


@pytest.mark.data
def test_real_data(real_data):
    from pycocotools.coco import COCO

    file = real_data / "coco_sample" / "annotations.json"
    source, api = open_source(f"coco:{file}"), COCO(file)
    for index, image_id in enumerate(source.image_ids):
        image, objects = source.read_objects(index)
        annotations = api.loadAnns(api.getAnnIds(image_id))
        assert len(objects) == len(annotations)
        for row, annotation in enumerate(annotations):
            np.testing.assert_array_equal(objects.full_mask(row, image.shape[:2]), api.annToMask(annotation))
            assert source.category_ids[objects.labels[row]] == annotation["category_id"]
            x, y, width, height = annotation["bbox"]
            np.testing.assert_allclose(objects.boxes[row], [x, y, x + width, y + height], atol=1)
