"""DeconvNet's training data: what the crops of both stages hold, over every kind of source, and bad files."""

import numpy as np
import pytest

from keras_seg.data import DataError, instance_crops, load, open_source, proposal_crops
from keras_seg.data.crop_sources import balanced
from keras_seg.data.proposals import instance_boxes
from tests.data.files import save, write_folder

pytestmark = pytest.mark.tf_only

SHAPES = "shapes:count=3,size=96,num_classes=3,seed=0"


def whole(image):
    """One proposal, the whole image."""
    return np.array([[0, 0, *image.shape[1::-1]]], "float32")


def test_instance_crops_hold_one_object_each():
    crops = instance_crops(open_source(SHAPES), size=64, balance=False)
    for index in range(len(crops)):
        image, mask = crops.read(index)
        assert image.shape == (64, 64, 3)
        assert len(set(np.unique(mask)) - {0}) == 1
        assert mask[8:-8, 8:-8].any()


@pytest.mark.data
def test_scenes_without_background_ignore_what_is_beside_the_object(real_data):
    source = open_source(f"camvid:{real_data / 'camvid' / 'train'}#0:2")
    crops = instance_crops(source, size=64, balance=False)
    kinds = set()
    for index in range(len(crops)):
        found = set(np.unique(crops.read(index)[1]).tolist()) - {source.ignore_class}
        assert len(found) <= 1
        kinds |= found
    # Class 0 is the sky, and as much an object as the others.
    assert 0 in kinds and len(kinds) > 5


def test_proposal_crops_overlap_objects_and_keep_all_labels():
    source = open_source(SHAPES)
    crops = proposal_crops(source, whole, threshold=0.01)
    _, mask = crops.read(0)
    assert len(np.unique(mask)) == len(np.unique(source.read(0)[1]))


def test_a_proposal_counts_from_the_threshold_on():
    """Boxes of an object's width and a multiple of its height: IoUs of a half and of a bit less."""
    source = open_source(SHAPES)[:1]
    x1, y1, x2, y2 = instance_boxes(source.read_instances(0))[1][0]
    double, larger = ([x1, y1, x2, y1 + part * (y2 - y1)] for part in (2, 2.01))
    boxes = {source.ids[0]: np.array([double, larger])}
    crops = proposal_crops(source, boxes, size=64, balance=False)
    assert len(crops) == 1
    assert [box.tolist() for _, box, _ in crops._crops] == [np.array(double).tolist()]


def test_rare_classes_are_repeated():
    items, classes = list(range(13)), [1] * 12 + [2]
    assert balanced(items, classes) == [*items, *[12] * 5]
    # At most ten times, for a handful would be learned by heart.
    assert balanced(list(range(101)), [1] * 100 + [2]).count(100) == 10


def test_each_crop_is_read_when_it_is_used_only():
    """One pass over the images finds the boxes and checks the files; there may be millions of crops."""
    source, reads = open_source(SHAPES), []
    read = source._read
    source._read = lambda row: reads.append(row) or read(row)
    source.drawn = False
    crops = proposal_crops(source, whole, threshold=0.01, balance=False)
    assert sorted(reads) == [0, 1, 2]
    batches = load(crops, batch_size=3)
    assert len(reads) == 3
    images, masks = next(iter(batches))
    assert images.shape == (3, 250, 250, 3)
    assert masks.shape == (3, 250, 250)


def test_all_bad_files_are_named_at_once(tmp_path):
    write_folder(tmp_path, count=4, size=(40, 50))
    for name in ("a1", "a3"):
        (tmp_path / "masks" / f"{name}.png").write_bytes(b"no picture")
    source = open_source(f"folder:{tmp_path}")
    for cut in (instance_crops, lambda source: proposal_crops(source, whole)):
        with pytest.raises(DataError, match=r"(?s)2 of 4 items cannot be used.*a1\.png.*a3\.png"):
            cut(source)


def test_nothing_to_cut():
    source = open_source(SHAPES)
    with pytest.raises(DataError, match="no proposal of its 3 images overlaps an object by an IoU of 0.5"):
        proposal_crops(source, lambda image: np.array([[0, 0, 2, 2]], "float32"))
    with pytest.raises(DataError, match="no object of a class but background that is at least 90 pixels"):
        instance_crops(source, min_side=90)


def test_instance_png(tmp_path):
    """A file of instance ids beside each image: touching objects are cut out one by one."""
    instances = np.zeros((40, 60), "uint16")
    instances[5:25, 5:25], instances[5:25, 25:45] = 7, 300
    save(tmp_path / "images" / "a.png", np.zeros((40, 60, 3), "uint8"))
    save(tmp_path / "instances" / "a.png", instances)
    crops = instance_crops(open_source(f"nuclei:{tmp_path},border=0"), size=60, balance=False)
    assert len(crops) == 2
    for index in range(2):
        _, mask = crops.read(index)
        # The object takes 1 / 1.2 of each side, in the middle; its neighbour is background.
        assert mask[6:54, 6:54].all()
        assert mask.sum() == pytest.approx((60 / 1.2) ** 2, rel=0.05)


@pytest.mark.data
@pytest.mark.parametrize(
    "spec",
    [
        "voc:voc_sample",
        "coco:coco_sample/annotations.json",
        "labelme:labelme_sample",
        "kaggle-nuclei:nuclei_kaggle_sample,border=0",
    ],
)
def test_real_objects(spec, real_data):
    name, folder = spec.split(":")
    source = open_source(f"{name}:{real_data / folder}")
    count = sum(len(np.setdiff1d(source.read_instances(i), 0)) for i in range(len(source)))
    crops = instance_crops(source, min_side=1, balance=False)
    assert len(crops) == count
    for images, masks in load(crops, batch_size=4, crop_size=224, augment="light").take(2):
        assert images.shape[1:] == (224, 224, 3)
        for mask in masks.numpy():
            assert len(set(np.unique(mask)) - {0, source.ignore_class}) == 1
    both = proposal_crops(source, whole, threshold=0.01)
    assert len(both) >= 1
