"""Mask R-CNN into a run folder: what it writes, how a killed run goes on, and what bad data do to it."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_seg import mask_rcnn
from keras_seg.data import DataError, open_source
from keras_seg.inference import evaluate_instances
from keras_seg.training import RunFolder, train_instances

from ..data.files import square, write_coco, write_folder

pytest.importorskip("pycocotools")

TRAIN = "shapes:count=6,size=64,num_classes=3,seed=0"
HELD_OUT = "shapes:count=2,size=64,num_classes=3,seed=1"


def tiny_backbone():
    """Five convolutions of stride 2: maps of stride 4 to 32."""
    x = inputs = keras.Input((64, 64, 3))
    x = layers.Rescaling(1 / 255)(x)
    for level in range(5):
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name=f"stage{level}")(x)
    return keras.Model(inputs, x)


def small_detector(num_classes=2):
    keras.utils.set_random_seed(3)
    return mask_rcnn(
        num_classes, (64, 64, 3), backbone=tiny_backbone(), pyramid_filters=8, head_units=16, mask_filters=8,
        anchor_sizes=(8, 16, 32, 48, 64), pre_nms=(30, 30), max_proposals=(30, 20), rpn_samples=16,
        roi_samples=8, max_detections=8, canonical_size=56,
    )  # fmt: skip


def train(folder, epochs, model=None, resume=False, data=TRAIN, val=HELD_OUT, **options):
    run = RunFolder(folder)
    run.start({}, resume)
    options = {"batch_size": 2, "max_objects": 9, "augment": "light", **options}
    model = train_instances(
        model or small_detector(), data, val, run, epochs=epochs, resume=resume, **options
    )
    return run, model


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_writes_everything(tmp_path):
    run, model = train(tmp_path, epochs=2)
    rows = run.read_history()
    assert [row["epoch"] for row in rows] == [1, 2]
    losses = {"loss", "objectness_loss", "rpn_box_loss", "class_loss", "box_loss", "mask_loss"}
    logs = losses | {f"val_{name}" for name in losses} | {"val_mask_ap", "val_mask_ap50", "val_box_ap"}
    assert logs <= set(rows[0]) and np.isfinite([row[name] for row in rows for name in logs]).all()
    assert sorted(path.name for path in run.pictures.iterdir()) == ["epoch-0001.png", "epoch-0002.png"]
    with Image.open(run.pictures / "epoch-0002.png") as picture:
        assert picture.size[0] > 200
    assert run.curves.is_file() and list(run.tensorboard.rglob("events*"))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    best = max(row["val_mask_ap"] for row in rows)
    scores = evaluate_instances(model, open_source(HELD_OUT), progress=False)
    assert scores["mask_ap"] == pytest.approx(best, abs=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    # Detections are traced by themselves, which takes most of the time and is not what is looked at here.
    for name in ("AveragePrecision", "InstancePictures"):
        monkeypatch.setattr(f"keras_seg.training.instances.{name}", lambda *args: keras.callbacks.Callback())

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    options = {"monitor": "val_loss", "learning_rate": 1e-3}
    whole, _ = train(tmp_path / "whole", epochs=2, **options)
    model = small_detector()
    original = model.fit
    model.fit = lambda *args, callbacks, **kwargs: original(*args, callbacks=[*callbacks, Kill()], **kwargs)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", epochs=2, model=model, **options)
    killed = RunFolder(tmp_path / "killed")
    assert len(killed.read_history()) == 1
    train(tmp_path / "killed", epochs=2, resume=True, **options)
    # The same data in the same order, and the same draws of samples, which are part of the model's state.
    for name in ("loss", "val_loss"):
        expected = [row[name] for row in whole.read_history()]
        np.testing.assert_allclose([row[name] for row in killed.read_history()], expected, rtol=2e-3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.tf_only
def test_bad_annotations_are_refused_or_skipped_in_both_sets(tmp_path, capsys):
    annotations = [
        {"segmentation": square(5, 5, 40, 30)},
        {"segmentation": [[5, 5, 9, 9]]},
        {"segmentation": square(5, 5, 40, 30), "image_id": 11, "iscrowd": 1},
        {"segmentation": square(5, 5, 40, 30), "image_id": 12},
    ]
    spec = write_coco(tmp_path, annotations, images=4)
    (tmp_path / "images" / "a3.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"polygon of 2 points[^$]*a3.png is empty"):
        train(tmp_path / "refused", 1, data=spec, val=spec)
    run, _ = train(tmp_path / "skipped", 1, data=spec, val=spec, bad="skip")
    assert capsys.readouterr().out.count("1 annotations and 1 of 4 images left out") == 2
    row = run.read_history()[0]
    assert np.isfinite(row["loss"]) and np.isfinite(row["val_loss"])


@pytest.mark.tf_only
def test_data_of_other_classes_are_refused_before_the_first_step(tmp_path):
    with pytest.raises(
        DataError, match=r"has 2 classes of objects \(circle, rectangle\), the model 1. Build it"
    ):
        train(tmp_path, 1, model=small_detector(1))
    with pytest.raises(DataError, match="`folder` have no objects"):
        train(tmp_path / "b", 1, data=f"folder:{write_folder(tmp_path / 'data')}")
    assert json.loads((tmp_path / "config.json").read_text()) == {}
