"""DeconvNet's two stages on drawn shapes: what the crops hold, and that a training runs through both."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.data import instance_crops, open_source, proposal_crops
from keras_seg.data.crop_sources import balanced
from keras_seg.training import RunFolder, train_two_stage

TRAIN = "shapes:count=3,size=96,num_classes=3,seed=0"


@pytest.mark.tf_only
def test_instance_crops_hold_one_object_each():
    source = open_source(TRAIN)
    crops = instance_crops(source, size=64, balance=False)
    for index in range(len(crops)):
        image, mask = crops.read(index)
        assert image.shape == (64, 64, 3)
        assert len(set(np.unique(mask)) - {0}) == 1
        assert mask[8:-8, 8:-8].any()


@pytest.mark.tf_only
def test_proposal_crops_overlap_objects_and_keep_all_labels():
    source = open_source(TRAIN)
    whole = proposal_crops(source, lambda image: np.array([[0, 0, 96, 96]], "float32"), threshold=0.01)
    image, mask = whole.read(0)
    assert len(np.unique(mask)) == len(np.unique(source.read(0)[1]))
    with pytest.raises(ValueError, match="No crop could be cut"):
        proposal_crops(source, lambda image: np.array([[0, 0, 2, 2]], "float32"))


@pytest.mark.tf_only
def test_rare_classes_are_repeated():
    items, classes = list(range(13)), [1] * 12 + [2]
    assert balanced(items, classes) == [*items, *[12] * 5]


def test_trains_both_stages(tmp_path):
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(images))
    model = keras.Model(images, layers.Conv2D(3, 1, dtype="float32")(x))
    run = RunFolder(tmp_path)
    run.start({}, False)
    places = range(0, 72, 8)
    windows = [[x, y, x + side, y + side] for side in (24, 40, 60) for x in places for y in places]
    windows = np.array(windows, "float32")
    best = train_two_stage(
        model,
        TRAIN,
        "shapes:count=2,size=96,num_classes=3,seed=1",
        run,
        epochs=(1, 1),
        steps_per_epoch=2,
        crop_size=(32, 32),
        proposals=lambda image: windows,
        batch_size=2,
        statistics_steps=2,
        learning_rate=0.01,
    )
    assert [row["epoch"] for row in run.read_history()] == [1, 2, 3]
    saved = keras.saving.load_model(run.model)
    for ours, theirs in zip(best.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))
