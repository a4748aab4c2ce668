"""PASCAL VOC's and SBD's layouts, written here, and the real sample."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from keras_seg.data import DataError, check, open_source
from keras_seg.utils.palette import class_colors

pytestmark = pytest.mark.tf_only

NAMES = [f"2008_{number:06d}" for number in range(6)]


def palette_png(path, ids):
    """As VOC's files are: 8-bit palette PNG, index 255 for void."""
    image = Image.fromarray(ids.astype("uint8"), "P")
    palette = np.zeros((256, 3), "uint8")
    palette[:21], palette[255] = class_colors(21), (224, 224, 192)
    image.putpalette(palette.ravel().tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def maps(number):
    """Classes and objects of one photograph: two objects of one class, with a void rim between them."""
    classes, objects = np.zeros((2, 12, 16 + number), "uint8")
    classes[2:8, 2:14] = 15
    objects[2:8, 2:7], objects[2:8, 9:14] = 1, 2
    classes[2:8, 7:9] = objects[2:8, 7:9] = 255
    return classes, objects


def photo(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (12, 16 + number, 3), dtype="uint8")
    Image.fromarray(pixels).save(path)


@pytest.fixture
def voc(tmp_path):
    """VOC2012 with three masks: two of train, one of val."""
    folder = tmp_path / "VOC2012"
    for number, name in enumerate(NAMES):
        photo(folder / "JPEGImages" / f"{name}.jpg", number)
        if number < 3:
            classes, objects = maps(number)
            palette_png(folder / "SegmentationClass" / f"{name}.png", classes)
            palette_png(folder / "SegmentationObject" / f"{name}.png", objects)
    sets = folder / "ImageSets" / "Segmentation"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("\n".join(NAMES[:2]) + "\n")
    (sets / "val.txt").write_text(NAMES[2] + "\n")
    return folder


@pytest.fixture
def sbd(tmp_path):
    """SBD with masks of the photographs 1 to 5, of which VOC has 1 and 2 itself."""
    folder = tmp_path / "benchmark_RELEASE" / "dataset"
    for number, name in list(enumerate(NAMES))[1:]:
        photo(folder / "img" / f"{name}.jpg", number)
        classes, objects = (np.where(m == 255, 0, m) for m in maps(number))
        for part, field, values in (("cls", "GTcls", classes), ("inst", "GTinst", objects)):
            (folder / part).mkdir(exist_ok=True)
            savemat(folder / part / f"{name}.mat", {field: {"Segmentation": values}})
    (folder / "train.txt").write_text("\n".join(NAMES[3:5]))
    return folder


def test_classes_objects_and_void(voc):
    source = open_source(f"voc:{voc}")
    assert source.ids == NAMES[:3]
    assert (source.num_classes, source.ignore_class, source.class_names[15]) == (21, 255, "person")
    image, mask = source.read(1)
    classes, objects = maps(1)
    assert image.shape == (12, 17, 3)
    np.testing.assert_array_equal(mask, classes)
    np.testing.assert_array_equal(source.read_instances(1), np.where(objects == 255, 0, objects))
    assert source.colors[15].tolist() == [192, 128, 128]


def test_sets(voc):
    assert open_source(f"voc:{voc},set=train").ids == NAMES[:2]
    assert open_source(f"voc:{voc},set=val").ids == NAMES[2:3]
    with pytest.raises(DataError, match=r"no set .*test\.txt. Sets there: train, val"):
        open_source(f"voc:{voc},set=test")


def test_sbd_adds_what_voc_has_no_mask_for(voc, sbd):
    source = open_source(f"voc:{voc},set=train,sbd={sbd}")
    assert source.ids == [*NAMES[:2], *NAMES[3:]]  # not NAMES[2], which is in VOC's val
    classes, objects = (np.where(m == 255, 0, m) for m in maps(4))
    np.testing.assert_array_equal(source.read(3)[1], classes)
    np.testing.assert_array_equal(source.read_instances(3), objects)


def test_sbd_alone(sbd):
    assert open_source(f"voc:{sbd}").ids == NAMES[1:]
    source = open_source(f"voc:{sbd},set=train")
    assert source.ids == NAMES[3:5]
    assert set(np.unique(source.read_instances(0))) == {0, 1, 2}


def test_masks_saved_as_colours(voc):
    classes, objects = maps(0)
    table = np.zeros((256, 3), "uint8")
    table[:21], table[255] = class_colors(21), (224, 224, 192)
    Image.fromarray(table[classes]).save(voc / "SegmentationClass" / f"{NAMES[0]}.png")
    Image.fromarray(table[objects]).save(voc / "SegmentationObject" / f"{NAMES[0]}.png")
    source = open_source(f"voc:{voc}")
    np.testing.assert_array_equal(source.read(0)[1], classes)
    np.testing.assert_array_equal(source.read_instances(0), np.where(objects == 255, 0, objects))


def test_bad_folders_and_files(voc, sbd, tmp_path):
    with pytest.raises(DataError, match="There is no folder .*absent"):
        open_source(f"voc:{tmp_path / 'absent'}")
    with pytest.raises(DataError, match=r"neither SegmentationClass \(VOC\) nor cls \(SBD\)"):
        open_source(f"voc:{tmp_path}")
    with pytest.raises(DataError, match="`split=val` is no option of voc.*set, sbd"):
        open_source(f"voc:{voc},split=val")
    with pytest.raises(DataError, match="has no folder cls"):
        open_source(f"voc:{voc},sbd={voc}")
    (sbd / "cls" / f"{NAMES[1]}.mat").write_bytes(b"no matrix")
    with pytest.raises(DataError, match=r"2008_000001\.mat cannot be read as one of SBD's masks \(GTcls"):
        open_source(f"voc:{sbd}").read(0)
    (voc / "JPEGImages" / f"{NAMES[0]}.jpg").unlink()
    (voc / "SegmentationObject" / f"{NAMES[1]}.png").unlink()
    assert "2008_000000.jpg" in check(open_source(f"voc:{voc}")).problems[0]
    with pytest.raises(DataError, match="2008_000001.jpg has no mask.*SegmentationObject"):
        open_source(f"voc:{voc}").read_instances(1)


def test_the_real_sample(real_data):
    folder = real_data / "voc_sample"
    source = open_source(f"voc:{folder}")
    assert (len(source), source.num_classes) == (3, 21)
    assert source.class_names[20] == "tv/monitor"  # of class_names.txt
    image, mask = source.read(0)
    assert image.shape == (338, 500, 3)
    assert set(np.unique(mask)) == {0, 5, 15, 255}
    assert set(np.unique(source.read_instances(0))) == {0, 1, 2, 3}
