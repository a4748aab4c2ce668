"""Average precision in the logs of `fit`, of a detector that forgets as it trains."""

import keras
import numpy as np
import pytest

from keras_seg.data.objects import Objects
from keras_seg.inference import evaluate_instances
from keras_seg.training import AveragePrecision
from tests.inference.object_source import ObjectSource
from tests.inference.slot_detector import ReadSlots, draw_slots

SIZE = (32, 32)
SCENES = [
    [(1, 0.9, (2, 3, 14, 20)), (2, 0.8, (16, 3, 30, 20))],
    [(4, 0.7, (0, 0, 32, 12))],
    [(2, 0.6, (5, 5, 25, 25))],
]


@keras.saving.register_keras_serializable(package="keras_seg_tests")
class Dim(keras.layers.Layer):
    """Images times one trained factor, at first 1."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones")

    def call(self, images):
        return images * self.factor


def dimming_detector():
    """Trained towards scores of 0 it darkens its images, until it sees nothing in them any more."""
    images = keras.Input((*SIZE, 3))
    model = keras.Model(images, ReadSlots()(Dim()(images)))
    model.compile(keras.optimizers.SGD(0.8), loss={"scores": "mse"}, jit_compile=False)
    return model


def held_out():
    items = []
    for scene in SCENES:
        masks = []
        for _, _, (x1, y1, x2, y2) in scene:
            full = np.zeros(SIZE, bool)
            full[y1:y2, x1:x2] = True
            masks.append(full)
        objects = Objects.from_masks(masks, labels=[slot % 3 for slot, _, _ in scene])
        items.append((draw_slots(SIZE, scene), objects))
    return ObjectSource(items)


def fit(epochs, *callbacks):
    keras.utils.set_random_seed(0)
    model = dimming_detector()
    images = np.stack([draw_slots(SIZE, scene) for scene in SCENES]).astype("float32")
    targets = {"scores": np.zeros((3, 8), "float32")}
    history = model.fit(images, targets, epochs=epochs, batch_size=3, verbose=0, callbacks=list(callbacks))
    return model, history.history


class Seen(keras.callbacks.Callback):
    """What a callback behind it reads."""

    def on_epoch_end(self, epoch, logs=None):
        self.logs = dict(logs)


def test_each_epochs_weights_are_scored_for_the_callbacks_behind_and_the_history():
    seen = Seen()
    model, history = fit(8, AveragePrecision(held_out()), seen)
    names = ("val_box_ap", "val_box_ap50", "val_mask_ap", "val_mask_ap50")
    assert {name: seen.logs[name] for name in names} == {name: history[name][-1] for name in names}
    # All is found at first and nothing at last, and the scores are those of the model as it is then.
    for name in names:
        assert history[name][0] == pytest.approx(1, abs=1e-9)
        assert history[name][-1] == 0 == evaluate_instances(model, held_out(), progress=False)[name[4:]]
    # Training goes on as without it.
    _, alone = fit(8)
    assert history["loss"] == pytest.approx(alone["loss"], rel=1e-6)


@pytest.mark.tf_only
def test_between_scorings_the_last_one_stands(monkeypatch):
    scored = []

    def evaluate(model, data, **options):
        scored.append(data.ids)
        return {name: len(scored) / 10 for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap50")}

    monkeypatch.setattr("keras_seg.training.average_precision.evaluate_instances", evaluate)
    _, history = fit(5, AveragePrecision(held_out(), every=2, limit=2))
    assert history["val_mask_ap"] == [0, 0.1, 0.1, 0.2, 0.3]
    assert scored == [["item0", "item2"]] * 3
