"""Training into a run folder: what it writes, and that a killed run goes on as if nothing had happened."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_seg import unet
from keras_seg.data import Augmentation, DataError, open_source
from keras_seg.training import RunFolder, train_semantic

TRAIN = "shapes:count=6,size=24,num_classes=3,seed=0"
HELD_OUT = "shapes:count=2,size=24,num_classes=3,seed=1"


def small_unet(**options):
    keras.utils.set_random_seed(3)
    return unet(3, filters=2, depth=1, dropout=0.0, **options)


def train(folder, epochs, model=None, resume=False, **options):
    run = RunFolder(folder)
    run.start({}, resume)
    options = {"batch_size": 2, "augment": Augmentation(flip_horizontal=True), **options}
    model = train_semantic(
        model or small_unet(), TRAIN, HELD_OUT, run, epochs=epochs, resume=resume, **options
    )
    return run, model


def test_writes_everything(tmp_path):
    run, model = train(tmp_path, epochs=3)
    rows = run.read_history()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"loss", "mean_iou", "val_loss", "val_mean_iou", "val_pixel_accuracy"} <= set(rows[0])
    with Image.open(run.curves) as curves:
        assert curves.size[0] > 100
    pictures = sorted(path.name for path in run.pictures.iterdir())
    assert pictures == ["epoch-0001.png", "epoch-0002.png", "epoch-0003.png"]
    assert list(run.tensorboard.rglob("events*"))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    best = max(row["val_mean_iou"] for row in rows)
    source = open_source(HELD_OUT)
    images, masks = (np.stack(arrays) for arrays in zip(*(source.read(i) for i in range(2)), strict=True))
    scores = model.evaluate(images, masks.astype("int32"), verbose=0, return_dict=True)
    assert scores["mean_iou"] == pytest.approx(best, abs=1e-6)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    options = {"learning_rate": 0.01, "schedule": "constant"}
    whole, _ = train(tmp_path / "whole", epochs=4, **options)
    model = small_unet()
    original = model.fit
    model.fit = lambda *args, callbacks, **kwargs: original(*args, callbacks=[*callbacks, Kill()], **kwargs)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", epochs=4, model=model, **options)
    killed = RunFolder(tmp_path / "killed")
    assert len(killed.read_history()) == 2
    train(tmp_path / "killed", epochs=4, resume=True, **options)
    # The same data in the same order from the same state; sums on several threads round differently.
    for name in ("loss", "val_loss", "val_mean_iou"):
        expected = [row[name] for row in whole.read_history()]
        np.testing.assert_allclose([row[name] for row in killed.read_history()], expected, rtol=1e-3)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run, _ = train(tmp_path, epochs=1)
    before = run.history.read_text()
    train(tmp_path, epochs=1, resume=True)
    assert run.history.read_text() == before


def test_early_stop(tmp_path):
    run, _ = train(tmp_path, epochs=9, patience=1, learning_rate=0.0, schedule="constant")
    assert len(run.read_history()) == 2


def test_the_papers_unpadded_network_with_border_weights(tmp_path):
    run, _ = train(
        tmp_path,
        epochs=1,
        model=small_unet(padding="valid"),
        crop_size=(32, 32),
        pixel_weights="border",
        optimizer="sgd",
        momentum=0.99,
        learning_rate=1e-3,
    )
    assert np.isfinite(run.read_history()[0]["val_loss"])


@pytest.mark.parametrize("loss", ["dice", "focal"])
def test_other_losses(loss, tmp_path):
    run, _ = train(tmp_path, epochs=1, loss=loss)
    assert np.isfinite(run.read_history()[0]["loss"])


def test_a_bad_file_is_named_before_the_first_step(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for name in ("a", "b"):
            Image.fromarray(np.zeros((24, 24), "uint8")).save(tmp_path / "data" / part / f"{name}.png")
    (tmp_path / "data" / "images" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    run = RunFolder(tmp_path / "run")
    run.start({})
    with pytest.raises(DataError, match="b.png"):
        train_semantic(small_unet(), f"folder:{tmp_path / 'data'}", HELD_OUT, run, epochs=1)
    assert not run.checkpoint.exists()


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"`loss` must be one of"):
        train(tmp_path / "a", epochs=1, loss="hinge")
    with pytest.raises(ValueError, match=r"`monitor` must be one of"):
        train(tmp_path / "b", epochs=1, monitor="val_iou")
