"""DeconvNet's two stages on drawn shapes: a training runs through both."""

import keras
import numpy as np
from keras import layers

from keras_seg.training import RunFolder, train_two_stage

TRAIN = "shapes:count=3,size=96,num_classes=3,seed=0"


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
