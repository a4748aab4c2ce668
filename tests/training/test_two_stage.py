"""DeconvNet's two stages on drawn shapes: a training runs through both."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg.data import instance_crops, open_source, proposal_crops
from keras_seg.training import RunFolder, train_two_stage

TRAIN = "shapes:count=3,size=96,num_classes=3,seed=0"


VAL = "shapes:count=2,size=96,num_classes=3,seed=1"


def little_network():
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(images))
    return keras.Model(images, layers.Conv2D(3, 1, dtype="float32")(x))


def windows(image):
    """Of three sizes everywhere, so that each object has one that overlaps it."""
    places = range(0, 72, 8)
    boxes = [[x, y, x + side, y + side] for side in (24, 40, 60) for x in places for y in places]
    return np.array(boxes, "float32")


def train(run, **changes):
    options = {
        "epochs": (1, 1),
        "steps_per_epoch": 2,
        "crop_size": (32, 32),
        "proposals": windows,
        "batch_size": 2,
        "statistics_steps": 2,
    }
    return train_two_stage(little_network(), TRAIN, VAL, run, **{**options, **changes})


def test_trains_both_stages(tmp_path):
    run = RunFolder(tmp_path)
    run.start({}, False)
    best = train(run)
    # Two epochs and the start of the second stage.
    assert [row["epoch"] for row in run.read_history()] == [1, 2, 3]
    stages = [RunFolder(tmp_path / name) for name in ("instances", "proposals")]
    assert [len(stage.read_history()) for stage in stages] == [1, 2]
    before = keras.saving.load_model(stages[1].model)
    for old, new in zip(before.weights, best.weights, strict=True):
        same = np.array_equal(keras.ops.convert_to_numpy(old), keras.ops.convert_to_numpy(new))
        # Measured anew, the statistics of the batches are others; nothing else is.
        assert same != ("moving" in new.path)
    saved = keras.saving.load_model(run.model)
    for ours, theirs in zip(best.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))


@pytest.mark.tf_only
def test_each_stage_sees_its_own_crops(tmp_path, monkeypatch):
    run, seen = RunFolder(tmp_path), []
    run.start({}, False)

    def spy(model, crops, val_crops, stage, **options):
        seen.append((stage.path.name, crops, val_crops))
        stage.save_model(model, stage.model)
        stage.write_history([{"epoch": 1, "val_mean_iou": 0.5}])
        return model

    monkeypatch.setattr("keras_seg.training.two_stage.train_semantic", spy)
    train(run, statistics_steps=0)
    assert [name for name, *_ in seen] == ["instances", "proposals"]
    for position, spec in ((1, TRAIN), (2, VAL)):
        source = open_source(spec)
        balance = position == 1
        expected = (
            instance_crops(source, size=36, balance=balance),
            proposal_crops(source, windows, size=36, balance=balance),
        )
        for stage, crops in zip(seen, expected, strict=True):
            assert len(stage[position]) == len(crops)
            for ours, theirs in zip(stage[position].read(0), crops.read(0), strict=True):
                assert ours.shape[:2] == (36, 36)  # 250 / 224 of 32
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.tf_only
def test_a_resumed_run_does_not_search_again(tmp_path):
    """Selective search takes a third of a second for each image."""
    run, searched = RunFolder(tmp_path), []
    run.start({}, False)

    def search(image):
        searched.append(image)
        return windows(image)

    train(run, proposals=search, epochs=(0, 1), statistics_steps=0)
    assert len(searched) == 5
    train(run, proposals=search, epochs=(0, 2), statistics_steps=0, resume=True)
    assert len(searched) == 5
    assert [row["epoch"] for row in run.read_history()] == [1, 2]


@pytest.mark.tf_only
def test_boxes_of_the_held_out_images_alone(tmp_path):
    """Both data sets have an image shapes_00000: each has its own boxes."""
    run = RunFolder(tmp_path)
    run.start({}, False)
    ids = [open_source(spec).ids for spec in (TRAIN, VAL)]
    boxes, val_boxes = (dict.fromkeys(names, windows(None)) for names in ids)
    seen = []

    class Boxes(dict):
        def __getitem__(self, name):
            seen.append(name)
            return super().__getitem__(name)

    train(run, proposals=boxes, val_proposals=Boxes(val_boxes), epochs=(0, 1), statistics_steps=0)
    assert seen == ids[1]


@pytest.mark.tf_only
@pytest.mark.parametrize("epochs", [(1, 0), (1, 1, 1)])
def test_epochs(epochs, tmp_path):
    with pytest.raises(ValueError, match="`epochs` must be one number of epochs, or two"):
        train(RunFolder(tmp_path), epochs=epochs)
