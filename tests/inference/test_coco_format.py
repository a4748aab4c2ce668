"""COCO's results: what pycocotools reads of the file is what was detected."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from keras_seg.inference import coco_results, predict_instances, write_coco_results
from tests.inference.slot_detector import draw_slots, slot_detector

pytestmark = pytest.mark.tf_only

SIZES = [(64, 64), (50, 90)]


@pytest.fixture(scope="module")
def detections():
    objects = [(1, 0.9, (4, 6, 30, 40)), (2, 0.8, (30, 6, 60, 40))]
    return predict_instances(slot_detector(), [draw_slots(size, objects) for size in SIZES])


def test_the_file_is_read_by_pycocotools(detections, tmp_path, capsys):
    path = tmp_path / "out" / "results.json"
    write_coco_results(path, detections, [7, 139], [1, 18, 44])
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    annotations = COCO()
    annotations.dataset = {
        "images": [
            {"id": number, "height": height, "width": width}
            for number, (height, width) in zip((7, 139), SIZES, strict=True)
        ],
        "categories": [{"id": number, "name": str(number)} for number in (1, 18, 44)],
        "annotations": [],
    }
    annotations.createIndex()
    loaded = annotations.loadRes(str(path))
    for number, found in zip((7, 139), detections, strict=True):
        rows = loaded.imgToAnns[number]
        # Labels 1 and 2.
        assert [row["category_id"] for row in rows] == [18, 44]
        assert [row["score"] for row in rows] == pytest.approx(found.scores.tolist())
        for index, row in enumerate(rows):
            np.testing.assert_array_equal(coco_masks.decode(row["segmentation"]), found.full_mask(index))
            x1, y1, x2, y2 = found.boxes[index].tolist()
            assert row["bbox"] == [x1, y1, x2 - x1, y2 - y1]


def test_nothing_found_is_an_empty_list(tmp_path):
    write_coco_results(tmp_path / "none.json", [], [], [1])
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_ids_that_do_not_fit_are_refused_and_leave_no_file(detections, tmp_path):
    with pytest.raises(ValueError, match="`image_ids` must be 2 ids"):
        coco_results(detections, [1], [1, 2, 3])
    with pytest.raises(ValueError, match="`category_ids` must be ids for all labels, 2 too"):
        write_coco_results(tmp_path / "results.json", detections, [1, 2], [1, 2])
    assert list(tmp_path.iterdir()) == []
