"""FCN's staged training: what a stage takes over, that it loses nothing, and that it goes on after a kill."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from keras_seg import fcn
from keras_seg.data import load, open_source
from keras_seg.training import RunFolder, train_semantic, train_staged_fcn
from keras_seg.training.recipes import recipe
from keras_seg.training.staged import STAGES, _take_over
from tests.harness import pixels

TRAIN = "shapes:count=6,size=48,num_classes=3,seed=0"
HELD_OUT = "shapes:count=2,size=48,num_classes=3,seed=1"


def build(variant, named=True, **options):
    keras.utils.set_random_seed(3)
    x = images = keras.Input((None, None, 3))
    for level in range(1, 6):
        name = f"level{level}" if named else None
        x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name=name)(x)
    return fcn(3, variant=variant, backbone=keras.Model(images, x, name="small"), **options)


def train(folder, epochs, resume=False, build=build, **options):
    run = RunFolder(folder)
    run.start({}, resume)
    # The loss tells the epochs of so short a training apart; the mean IoU stays where it began.
    options = {"batch_size": 2, "learning_rate": 0.02, "monitor": "val_loss", **options}
    return run, train_staged_fcn(build, TRAIN, HELD_OUT, run, epochs=epochs, resume=resume, **options)


def killed_before_8s(monkeypatch, folder, epochs, **options):
    """`train`, but killed when the last stage is to begin."""

    def stop_at_8s(model, train_data, val_data, run, **settings):
        if run.path.name == "8s":
            raise KeyboardInterrupt
        return train_semantic(model, train_data, val_data, run, **settings)

    with monkeypatch.context() as patch:
        patch.setattr("keras_seg.training.staged.train_semantic", stop_at_8s)
        with pytest.raises(KeyboardInterrupt):
            train(folder, epochs, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    keras.config.set_dtype_policy("float32")
    return train(tmp_path_factory.mktemp("staged"), (3, 1, 2))


def held_out_loss(path):
    model = keras.saving.load_model(path)
    return model.evaluate(load(HELD_OUT, batch_size=1), return_dict=True, verbose=0)["loss"]


def test_no_stage_loses_what_the_one_before_had(finished):
    """By the saved models themselves, on the held-out images."""
    run, model = finished
    stages = [RunFolder(run.path / variant) for variant in STAGES]
    losses = [held_out_loss(stage.model) for stage in stages]
    starts = [stage.read_history()[0] for stage in stages]
    assert [row["epoch"] for row in starts] == [1, 0, 0]
    for before, after, start in zip(losses, losses[1:], starts[1:], strict=False):
        # The start is the coarser network's best, up to the interpolation in steps.
        assert start["val_loss"] == pytest.approx(before, abs=0.02)
        assert after <= start["val_loss"] + 1e-5
    assert losses[-1] < losses[0]
    for before, stage in zip(stages, stages[1:], strict=False):
        source, target = (keras.saving.load_model(folder.model) for folder in (before, stage))
        assert len(target.trainable_weights) == len(source.trainable_weights) + 2
    assert model.get_layer("score_pool3").get_weights()[0].any(), "the last stage's own scores were trained"


@pytest.mark.tf_only
def test_learned_upsampling(tmp_path):
    """Each stage has a last kernel of its own size, which starts as bilinear again."""
    run, model = train(tmp_path, 1, build=functools.partial(build, learn_upsampling=True))
    assert model.get_layer("upscore8").kernel.shape[:2] == (16, 16)
    assert len(run.read_history()) == 5


class TestWhatAStageTakesOver:
    @pytest.mark.tf_only
    def test_layers_without_names(self):
        """Keras numbers them on from network to network, as InceptionV3's; equal shapes side by side."""

        def build(variant):
            x = images = keras.Input((None, None, 3))
            for _ in range(5):
                branches = [
                    layers.Conv2D(3, size, strides=2, padding="same", activation="silu")(x)
                    for size in (3, 3, 1)
                ]
                x = layers.Concatenate()(branches)
            return fcn(3, variant=variant, backbone=keras.Model(images, x, name="branches"))

        coarse, fine = build("32s"), build("16s")
        scores = coarse.get_layer("score_fr")
        scores.set_weights([np.random.default_rng(0).normal(size=w.shape) for w in scores.get_weights()])
        _take_over(coarse, fine)
        images = pixels(1, 64, 96, 3)
        expected, received = (
            keras.Model(model.inputs, model.get_layer("score_fr").output).predict(images, verbose=0)
            for model in (coarse, fine)
        )
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(received, expected, rtol=1e-5)

    @pytest.mark.tf_only
    def test_other_layers_are_refused_before_anything_is_trained(self, tmp_path):
        def changing(variant):
            x = images = keras.Input((None, None, 3))
            for _ in range(5):
                x = layers.Conv2D(3 if variant == "32s" else 4, 3, strides=2, padding="same")(x)
            return fcn(3, variant=variant, backbone=keras.Model(images, x, name="small"))

        with pytest.raises(
            ValueError, match="`build` must be a function whose fcn_16s has the layers of its fcn_32s"
        ):
            train(tmp_path, 1, build=changing)
        assert not (tmp_path / "32s").exists()

    @pytest.mark.tf_only
    def test_a_mistake_in_the_last_stage_shows_first(self, tmp_path):
        def failing(variant):
            if variant == "8s":
                raise ValueError("no such network")
            return build(variant)

        with pytest.raises(ValueError, match="no such network"):
            train(tmp_path, 1, build=failing)
        assert not (tmp_path / "32s").exists()


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

    killed_before_8s(monkeypatch, tmp_path, (3, 1, 2))
    written = (tmp_path / "32s" / "model.keras").stat().st_mtime_ns
    run, _ = train(tmp_path, (3, 1, 2), resume=True)
    assert (tmp_path / "32s" / "model.keras").stat().st_mtime_ns == written
    whole, _ = finished
    for row, expected in zip(run.read_history(), whole.read_history(), strict=True):
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.tf_only
def test_a_resumed_run_knows_the_stages_that_ran_out_of_patience(tmp_path, monkeypatch):
    """At a rate of 0 nothing improves: each stage stops long before its epochs, and stays stopped."""
    options = {"patience": 2, "learning_rate": 0.0, "schedule": "constant"}

    killed_before_8s(monkeypatch, tmp_path, 9, **options)
    stages = [RunFolder(tmp_path / variant) for variant in STAGES]
    before = [stage.read_history() for stage in stages[:2]]
    assert [len(rows) for rows in before] == [3, 3]
    train(tmp_path, 9, resume=True, **options)
    assert [stage.read_history() for stage in stages[:2]] == before
    assert len(stages[2].read_history()) == 3


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
    """Four steps of it on one whole image, by hand: the sum over the pixels, and a momentum of 0.99."""
    run = RunFolder(tmp_path)
    run.start({})
    data = "shapes:count=1,size=48,num_classes=3,seed=0"
    model = train_semantic(
        build("32s"), data, HELD_OUT, run, epochs=1, steps_per_epoch=4, **recipe("fcn-heavy")
    )
    _, mask = open_source(data).read(0)
    # All logits stay 0 but for some 1e-6, so a pixel's gradient is 1/3, less 1 where its class is meant.
    gradient = 48 * 48 / 3 - np.bincount(mask.ravel(), minlength=3)
    velocity = bias = np.zeros(3)
    for _ in range(4):
        velocity = 0.99 * velocity - 1e-10 * gradient
        bias = bias + velocity
    np.testing.assert_allclose(model.get_layer("score_fr").get_weights()[1], bias, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"epochs": (1, 2)},
            r"`epochs` must be one value, or 3, for 32s, 16s, 8s. Received: epochs=\(1, 2\)",
        ),
        ({"epochs": 1, "rate_factors": (1.0,)}, "`rate_factors` must be one value, or 3"),
        ({"epochs": (1, 2, 0)}, "`epochs` must be an integer of at least 1. Received: epochs=0"),
        ({"epochs": 1, "rate_factors": (1, 1, -1)}, "`rate_factors` must be a number within"),
        ({"epochs": 1, "recipe": "fcn-heavy", "rate_factors": 1.0}, "`rate_factors` must be None with a rec"),
        ({"epochs": 1, "recipe": "light"}, "`name` must be one of 'fcn-heavy'"),
    ],
)
def test_errors(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(tmp_path, **options)
    assert not (tmp_path / "32s").exists()
