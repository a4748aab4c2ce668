"""FCN's staged training: what a stage takes over, that it loses nothing, and that it goes on after a kill."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg import fcn
from keras_seg.training import RunFolder, train_semantic, train_staged_fcn
from keras_seg.training.recipes import recipe

TRAIN = "shapes:count=6,size=48,num_classes=3,seed=0"
HELD_OUT = "shapes:count=2,size=48,num_classes=3,seed=1"


def build(variant):
    keras.utils.set_random_seed(3)
    x = images = keras.Input((None, None, 3))
    for level in range(1, 6):
        x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name=f"level{level}")(x)
    return fcn(3, variant=variant, backbone=keras.Model(images, x, name="small"))


def train(folder, epochs, resume=False, **options):
    run = RunFolder(folder)
    run.start({}, resume)
    # The loss tells the epochs of so short a training apart; the mean IoU stays where it began.
    options = {"batch_size": 2, "learning_rate": 0.02, "monitor": "val_loss", **options}
    return run, train_staged_fcn(build, TRAIN, HELD_OUT, run, epochs=epochs, resume=resume, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    keras.config.set_dtype_policy("float32")
    return train(tmp_path_factory.mktemp("staged"), (3, 1, 2))


def best(stage):
    return min(row["val_loss"] for row in stage.read_history())


def test_each_stage_starts_where_the_one_before_ended(finished):
    run, model = finished
    stages = [RunFolder(run.path / variant) for variant in ("32s", "16s", "8s")]
    first_rows = [stage.read_history()[0] for stage in stages]
    assert [row["epoch"] for row in first_rows] == [1, 0, 0]
    for before, stage in zip(stages, stages[1:], strict=False):
        source, target = (keras.saving.load_model(folder.model) for folder in (before, stage))
        # On the held-out images the start is the coarser network's best, up to the interpolation in steps.
        assert abs(stage.read_history()[0]["val_loss"] - best(before)) < 0.02
        assert best(stage) <= stage.read_history()[0]["val_loss"]
        assert len(target.trainable_weights) == len(source.trainable_weights) + 2
    assert model.get_layer("score_pool3").get_weights()[0].any(), "the last stage's own scores were trained"


def test_what_the_run_folder_holds(finished):
    run, model = finished
    final = keras.saving.load_model(run.model)
    expected = keras.saving.load_model(run.path / "8s" / "model.keras")
    for ours, theirs, returned in zip(final.weights, expected.weights, model.weights, strict=True):
        np.testing.assert_array_equal(np.array(ours), np.array(theirs))
        np.testing.assert_array_equal(np.array(ours), np.array(returned))
    # Two stages have a row for their start.
    assert [row["epoch"] for row in run.read_history()] == list(range(1, 3 + 1 + 2 + 2 + 1))
    assert run.curves.is_file()
    assert RunFolder(run.path / "16s").read_config()["stage"] == "16s"


def test_a_killed_run_goes_on_with_its_stage(finished, tmp_path, monkeypatch):
    """Stopped before the last stage: the first two are not trained again, and the end is the same."""

    def stop_at_8s(model, train_data, val_data, run, **options):
        if run.path.name == "8s":
            raise KeyboardInterrupt
        return train_semantic(model, train_data, val_data, run, **options)

    with monkeypatch.context() as patch:
        patch.setattr("keras_seg.training.staged.train_semantic", stop_at_8s)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, (3, 1, 2))
    written = (tmp_path / "32s" / "model.keras").stat().st_mtime_ns
    run, _ = train(tmp_path, (3, 1, 2), resume=True)
    assert (tmp_path / "32s" / "model.keras").stat().st_mtime_ns == written
    whole, _ = finished
    for row, expected in zip(run.read_history(), whole.read_history(), strict=True):
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_heavy_recipe(tmp_path, monkeypatch):
    """Its settings reach every stage, at the stage's own rate."""
    seen = []

    def note(model, train_data, val_data, run, **options):
        seen.append((run.path.name, options))
        run.save_model(model, run.model)
        run.write_history([{"epoch": 1, "val_mean_iou": 0.0}])
        return model

    monkeypatch.setattr("keras_seg.training.staged.train_semantic", note)
    train(tmp_path, 1, recipe="fcn-heavy")
    assert [(name, options["learning_rate"]) for name, options in seen] == [
        ("32s", 1e-10),
        ("16s", 1e-12),
        ("8s", 1e-14),
    ]
    for _, options in seen:
        assert options["batch_size"] == 1
        assert options["momentum"] == 0.99
        assert options["optimizer"] == "sgd"
        assert options["loss"] == "cross_entropy_sum"
    assert recipe("fcn-heavy", "8s", at_once=True)["learning_rate"] == 1e-10


def test_the_heavy_recipe_trains(tmp_path):
    """One step of it on whole images is finite and moves the scores by rate times the summed gradient."""
    run = RunFolder(tmp_path)
    run.start({})
    model = train_semantic(build("32s"), TRAIN, HELD_OUT, run, epochs=1, **recipe("fcn-heavy"))
    bias = model.get_layer("score_fr").get_weights()[1]
    # Six steps from logits of zero: each adds about rate * pixels * (share of the class - 1/3).
    assert 0 < np.abs(bias).max() < 1e-10 * 48 * 48 * 6 / (1 - 0.99)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"epochs": (1, 2)},
            r"`epochs` must be one value, or 3, for 32s, 16s, 8s. Received: epochs=\(1, 2\)",
        ),
        ({"epochs": 1, "rate_factors": (1.0,)}, "`rate_factors` must be one value, or 3"),
        ({"epochs": 1, "recipe": "light"}, "`name` must be one of 'fcn-heavy'"),
    ],
)
def test_errors(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(tmp_path, **options)
