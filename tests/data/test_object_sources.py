"""The objects of data sets that have maps of them: nuclei, VOC, drawn shapes; and the report on objects."""

import numpy as np
import pytest

from keras_seg.data import DataError, check_objects, open_source
from keras_seg.data.instance_classes import instance_class_shares

from .files import color_image, save, square, write_coco

pytestmark = pytest.mark.tf_only


def write_nuclei(folder):
    ids = np.zeros((12, 17), "uint16")
    ids[1:4, 2:6], ids[6:11, 8:15] = 5, 300
    save(folder / "images" / "a.png", color_image())
    save(folder / "instances" / "a.png", ids)
    return ids


def test_nuclei(tmp_path):
    ids = write_nuclei(tmp_path)
    source = open_source(f"nuclei:{tmp_path}")
    assert source.object_names == ("nucleus",) and source.has_objects and not source.has_crowds
    image, objects = source.read_objects(0)
    np.testing.assert_array_equal(image, color_image())
    np.testing.assert_array_equal(objects.boxes, [[2, 1, 6, 4], [8, 6, 15, 11]])
    np.testing.assert_array_equal(objects.full_mask(1, (12, 17)), ids == 300)
    save(tmp_path / "instances" / "a.png", ids.T.copy())
    with pytest.raises(DataError, match=r"a.png is 17 x 12 pixels .* image .* is 12 x 17"):
        source.read_objects(0)
    save(tmp_path / "instances" / "a.png", color_image())
    with pytest.raises(DataError, match="is not a map of instances"):
        source.read_objects(0)


def test_kaggle_nuclei(tmp_path):
    save(tmp_path / "x" / "images" / "x.png", color_image())
    for number, part in enumerate((np.s_[1:4, 2:6], np.s_[3:11, 5:15])):
        mask = np.zeros((12, 17), "uint8")
        mask[part] = 255
        save(tmp_path / "x" / "masks" / f"{number}.png", mask)
    source = open_source(f"kaggle-nuclei:{tmp_path}")
    objects = source.read_objects(0)[1]
    np.testing.assert_array_equal(objects.boxes, [[2, 1, 6, 4], [5, 3, 15, 11]])
    # The pixel where they overlap belongs to both, and in a map of instances to the first.
    assert objects.full_mask(1, (12, 17)).sum() == 80 and objects.full_mask(0, (12, 17))[3, 5]
    assert (source.read_instances(0) == 2).sum() == 79 and source.read_instances(0)[3, 5] == 1

    save(tmp_path / "x" / "masks" / "2.png", np.zeros((12, 17), "uint8"))
    report = check_objects(source, progress=False)
    assert len(report.problems) == 1 and "2.png has no nucleus, only zeros" in report.problems[0]
    assert report.class_objects.sum() == 2
    save(tmp_path / "x" / "masks" / "2.png", np.ones((17, 12), "uint8"))
    with pytest.raises(DataError, match=r"2.png is 17 x 12 pixels .* All must have one size"):
        source.read_objects(0)


class TestVoc:
    def write(self, folder, classes, objects=None):
        save(folder / "JPEGImages" / "a.jpg", color_image())
        save(folder / "SegmentationClass" / "a.png", classes)
        if objects is not None:
            save(folder / "SegmentationObject" / "a.png", objects)
        return open_source(f"voc:{folder}")

    def maps(self):
        classes, objects = np.zeros((2, 12, 17), "uint8")
        classes[1:5, 1:5], objects[1:5, 1:5] = 3, 1
        classes[6:10, 6:12], objects[6:10, 6:12] = 15, 2
        classes[6, 6:12], objects[6, 6:12] = 255, 255
        return classes, objects

    def test_objects(self, tmp_path):
        source = self.write(tmp_path, *self.maps())
        assert source.object_names == source.class_names[1:] and source.has_objects
        objects = source.read_objects(0)[1]
        np.testing.assert_array_equal(objects.boxes, [[1, 1, 5, 5], [6, 7, 12, 10]])
        assert objects.labels.tolist() == [2, 14]

    def test_maps_that_do_not_fit_one_another(self, tmp_path):
        classes, objects = self.maps()
        classes[1:3, 1:5] = 4
        classes[7:10, 6:12] = 0
        report = check_objects(self.write(tmp_path, classes, objects), progress=False)
        assert len(report.problems) == 2 and not report.unreadable and not report.class_objects.sum()
        assert "object 1 of the image a.jpg does not fit its map of classes" in report.problems[0]
        assert "which says bird for 50 % of" in report.problems[0]
        assert "which says background for 100 % of" in report.problems[1]

    def test_no_maps_of_objects(self, tmp_path):
        source = self.write(tmp_path, self.maps()[0])
        assert not source.has_objects
        with pytest.raises(DataError, match="`voc` have no objects"):
            source.read_objects(0)

    @pytest.mark.data
    def test_real_data(self, real_data):
        """VOC's maps hold what the COCO file's polygons outline, but for the rims that are void there."""
        source = open_source(f"voc:{real_data / 'voc_sample'}")
        coco = open_source(f"coco:{real_data / 'coco_sample' / 'annotations.json'}")
        for index, name in enumerate(source.ids):
            objects = source.read_objects(index)[1]
            same = coco.read_objects(coco.ids.index(name))[1]
            np.testing.assert_allclose(objects.boxes, same.boxes, atol=5)
            assert objects.labels.tolist() == same.labels.tolist()


def test_shares_of_classes():
    mask, ids = np.array([[0, 2, 2, 1, 9, 9]]), np.array([[0, 7, 7, 7, 7, 8]])
    assert instance_class_shares(mask, ids, 9) == {7: (2, pytest.approx(2 / 3))}


def test_shapes_overlap_and_their_masks_are_what_is_seen():
    source = open_source("shapes:count=12,size=64,num_classes=5")
    overlaps = 0
    for index in range(12):
        image, mask = source.read(index)
        same, objects = source.read_objects(index)
        np.testing.assert_array_equal(image, same)
        np.testing.assert_array_equal(objects.class_map((64, 64)), mask)
        np.testing.assert_array_equal(objects.id_map((64, 64)), source.read_instances(index))
        boxes = objects.boxes
        for one in range(len(boxes)):
            for other in range(one):
                low = np.maximum(boxes[one, :2], boxes[other, :2])
                overlaps += (np.minimum(boxes[one, 2:], boxes[other, 2:]) > low).all()
    assert overlaps > 12
    assert source.object_names == source.class_names[1:]


def test_report_counts(tmp_path):
    annotations = [
        {"segmentation": square(0, 0, 31, 32)},
        {"segmentation": square(0, 0, 32, 32), "category_id": 7},
        {"segmentation": square(50, 50, 146, 146)},
        {"segmentation": square(9, 9, 19, 19), "iscrowd": 1},
        {"segmentation": square(9, 9, 19, 19), "image_id": 11},
    ]
    report = check_objects(write_coco(tmp_path, annotations, images=3, size=(150, 200)), progress=False)
    np.testing.assert_array_equal(report.class_objects, [[2, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(report.class_images, [2, 1])
    np.testing.assert_array_equal(report.objects_per_image, [3, 1, 0])
    assert report.crowds == 1 and report.sizes == {(150, 200): 3} and report.count == 3
    assert "objects: 4, per image 0 to 3, median 1; 1 images without; 1 crowd regions" in str(report)
    assert "  cat          3       2        2        0        1\n" in str(report)
    assert str(report).endswith("No problems found.")
    assert report.raise_if_bad() is None
