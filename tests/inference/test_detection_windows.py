"""Large images through overlapping windows: every object once, whole, and where it is."""

import numpy as np
import pytest

from keras_seg.inference import predict_instances
from keras_seg.inference.detection_windows import merged, windows_of
from tests.inference.slot_detector import slot_detector

pytestmark = pytest.mark.tf_only


class TestWindows:
    def test_one_window_where_the_image_fits(self):
        whole = [[0, 0, 60, 70]]
        assert windows_of((60, 70), (64, 64), None, 0.25).tolist() == whole
        assert windows_of((60, 70), (64, 64), 0.9, 0.25).tolist() == whole
        assert len(windows_of((60, 70), (64, 64), 1.0, 0.25)) == 2

    @pytest.mark.parametrize("size", [(64, 65), (200, 130), (333, 64), (10, 500)])
    @pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
    def test_they_cover_the_image_and_share_what_was_asked(self, size, scale):
        overlap = 0.25
        windows = windows_of(size, (64, 64), scale, overlap)
        seen = np.zeros(size, int)
        for top, left, bottom, right in windows:
            assert 0 <= top < bottom <= size[0] and 0 <= left < right <= size[1]
            assert (bottom - top) * scale <= 64 and (right - left) * scale <= 64
            seen[top:bottom, left:right] += 1
        assert seen.min() >= 1
        for low, high in ((0, 2), (1, 3)):
            starts, stops = np.unique(windows[:, low]), np.unique(windows[:, high])
            if len(starts) > 1:
                assert (stops[:-1] - starts[1:]).min() >= int(overlap * 64 / scale)


def drawn(places, side, size):
    """A black image with squares of `side` pixels, each in the colour of its own slot."""
    image = np.zeros((*size, 3), "uint8")
    for number, (top, left) in enumerate(places, 1):
        image[top : top + side, left : left + side] = (240, 240 * number / 8, 250 - 10 * number)
    return image


def boxes_in_order(found):
    return found.boxes[np.lexsort(found.boxes.T[:2])].round().astype(int).tolist()


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_each_object_is_found_once_and_whole(scale):
    # Some lie in one window, some across borders, some where four windows meet.
    places = [(3, 3), (40, 44), (58, 10), (100, 60), (75, 90), (130, 118), (10, 100)]
    image = drawn(places, 9, (144, 132))
    found = predict_instances(slot_detector((64, 64)), [image], batch_size=4, min_scale=scale)[0]
    expected = sorted([left, top, left + 9, top + 9] for top, left in places)
    assert sorted(found.boxes.round().astype(int).tolist()) == expected
    assert (np.diff(found.scores) <= 0).all()
    for index, box in enumerate(found.boxes.round().astype(int)):
        mask = found.full_mask(index)
        assert mask[box[1] : box[3], box[0] : box[2]].all() and mask.sum() == 81


def test_without_a_least_scale_small_objects_are_lost():
    image = drawn([(100, 200)], 3, (640, 640))
    detector = slot_detector((64, 64))
    assert len(predict_instances(detector, [image])[0]) == 0
    assert len(predict_instances(detector, [image], min_scale=1.0, batch_size=8)[0]) == 1


def test_images_of_one_and_of_many_windows_in_one_call():
    images = [drawn([(5, 6)], 9, size) for size in ((64, 64), (150, 100), (40, 64))]
    for found in predict_instances(slot_detector((64, 64)), images, batch_size=3, min_scale=1.0):
        assert boxes_in_order(found) == [[6, 5, 15, 14]]


def test_an_object_larger_than_the_overlap_is_kept():
    windows = windows_of((64, 110), (64, 64), 1.0, 0.25)
    assert windows.tolist() == [[0, 0, 64, 64], [0, 46, 64, 110]]
    mask = np.ones((1, 2, 2), "float32")
    # 60 pixels wide, cut by both windows: neither shows it whole, both parts stay.
    left = {"boxes": [[25.0, 5, 64, 20]], "labels": [0], "scores": [0.9], "masks": mask}
    right = {"boxes": [[46.0, 5, 85, 20]], "labels": [0], "scores": [0.8], "masks": mask}
    # 10 pixels of an object that ends at 70: the right window shows it whole.
    small = {"boxes": [[58.0, 30, 64, 40]], "labels": [0], "scores": [0.99], "masks": mask}
    arrays = [{name: np.asarray(values) for name, values in rows.items()} for rows in (left, right, small)]
    both = {name: np.concatenate([arrays[0][name], arrays[2][name]]) for name in left}
    kept = merged([both, arrays[1]], windows, (64, 110), 1.0, 0.5)
    assert kept["scores"].tolist() == [0.9, 0.8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_scale": 0.0}, "`min_scale`"),
        ({"overlap": 0.95}, "`overlap`"),
        ({"window_threshold": 2}, "`window"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        predict_instances(slot_detector((64, 64)), [np.zeros((8, 8, 3), "uint8")], **options)
