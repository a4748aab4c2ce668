"""`keras-seg train fcn`: what its options come to, in stages, by a recipe, and where they contradict."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_seg
from keras_seg.cli.main import main
from keras_seg.training import RunFolder

pytestmark = pytest.mark.tf_only
DATA = "--data shapes:count=4,size=32,num_classes=3 --val shapes:count=2,size=32,num_classes=3,seed=1"
QUICK = f"{DATA} --batch-size 2 --steps-per-epoch 1"


@pytest.fixture
def built(monkeypatch):
    """The builder's arguments, call by call; what it builds has a backbone of a few weights."""
    calls = []
    build = keras_seg.fcn

    def small_fcn(num_classes, input_shape, **options):
        calls.append({"num_classes": num_classes, "input_shape": input_shape, **options})
        x = images = keras.Input((None, None, 3))
        for level in range(1, 6):
            x = layers.Conv2D(3, 3, strides=2, padding="same", name=f"level{level}")(x)
        small = keras.Model(images, x, name="small")
        return build(num_classes, input_shape, **{**options, "backbone": small})

    monkeypatch.setattr(keras_seg, "fcn", small_fcn)
    return calls


@pytest.fixture
def settings(monkeypatch):
    """The arguments of each training by its folder's name; nothing is trained."""
    seen = {}

    def note(model, train_data, val_data, run, **options):
        seen[run.path.name] = options
        run.save_model(model, run.model)
        run.write_history([{"epoch": 1, "val_mean_iou": 0.25}])
        return model

    for module in ("keras_seg.training", "keras_seg.training.staged"):
        monkeypatch.setattr(f"{module}.train_semantic", note)
    return seen


def test_in_stages(built, tmp_path, capsys):
    run = tmp_path / "run"
    command = f"train fcn {QUICK} --staged --stage-epochs 2 1 1 --learn-upsampling yes --out {run}"
    assert main(command.split()) == 0
    # Two stages have a row for their start.
    assert [len(RunFolder(run / stage).read_history()) for stage in ("32s", "16s", "8s")] == [2, 2, 2]
    assert len(RunFolder(run).read_history()) == 6
    assert all(call["learn_upsampling"] is True for call in built)
    assert str(run / "8s" / "pictures") in capsys.readouterr().out
    model = keras.saving.load_model(run / "model.keras")
    assert model.get_layer("upscore8").learned
    # Resumed, it has nothing left to do.
    assert main(["train", "fcn", "--staged", "--resume", "--out", str(run)]) == 0
    assert len(RunFolder(run).read_history()) == 6


def test_rates_and_epochs_of_the_stages(built, settings, tmp_path):
    command = f"train fcn {QUICK} --staged --epochs 7 --learning-rate 0.5 --out"
    assert main([*command.split(), str(tmp_path / "a")]) == 0
    assert [settings[v]["learning_rate"] for v in ("32s", "16s", "8s")] == [0.5, 0.05, 0.05]
    assert [settings[v]["epochs"] for v in ("32s", "16s", "8s")] == [7, 7, 7]
    rates = ["--stage-rates", "1", "0.5", "0.25", "--stage-epochs", "3", "2", "1"]
    assert main([*command.split(), str(tmp_path / "b"), *rates]) == 0
    assert [settings[v]["learning_rate"] for v in ("32s", "16s", "8s")] == [0.5, 0.25, 0.125]
    assert [settings[v]["epochs"] for v in ("32s", "16s", "8s")] == [3, 2, 1]


def test_the_recipe(built, settings, tmp_path):
    command = f"train fcn {DATA} --epochs 1 --recipe fcn-heavy --out"
    assert main([*command.split(), str(tmp_path / "8s")]) == 0
    assert main([*command.split(), str(tmp_path / "at-once"), "--at-once"]) == 0
    assert main([*command.split(), str(tmp_path / "coarse"), "--variant", "32s"]) == 0
    rates = {"8s": 1e-14, "at-once": 1e-10, "coarse": 1e-10}
    for name, rate in rates.items():
        assert settings[name]["learning_rate"] == rate
        assert (settings[name]["loss"], settings[name]["batch_size"]) == ("cross_entropy_sum", 1)
    assert [call.get("variant", "8s") for call in built] == ["8s", "8s", "32s"]
    assert [call["at_once"] for call in built] == [False, True, False]
    assert main([*command.split(), str(tmp_path / "staged"), "--staged"]) == 0
    assert [settings[v]["learning_rate"] for v in ("32s", "16s", "8s")] == [1e-10, 1e-12, 1e-14]


@pytest.mark.parametrize(("text", "value"), [("no", False), ("yes", True), ("intermediate", "intermediate")])
def test_upsampling(built, settings, text, value, tmp_path):
    assert main(f"train fcn {DATA} --learn-upsampling {text} --out {tmp_path / 'run'}".split()) == 0
    assert built[0]["learn_upsampling"] is value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--staged --variant 16s", "--variant does not go with --staged"),
        ("--staged --at-once", "--at-once does not go with --staged"),
        ("--stage-rates 1 1 1", "--stage-rates does not go with a training in one stage"),
        ("--stage-epochs 1 1 1", "--stage-epochs does not go with a training in one stage"),
        ("--staged --recipe fcn-heavy --stage-rates 1 1 1", "--stage-rates does not go with --recipe"),
        ("--variant 32s --at-once", "`at_once` must be False with variant='32s'"),
        ("--staged --stage-epochs 1 0 1", "`epochs` must be an integer of at least 1"),
        (
            "--staged --padding paper --backbone resnet18",
            "`padding` must be \"same\" with backbone='resnet18'",
        ),
    ],
)
def test_options_that_contradict(options, message, tmp_path, capsys):
    assert main(f"train fcn {QUICK} {options} --out {tmp_path / 'run'}".split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("unet --filters 2 --depth 0", "unet --filters 2 --depth 1"),
        ("unet --filters 2 --depth 1 --momentum 1 --optimizer sgd", "unet --filters 2 --depth 1"),
        ("fcn --backbone resnet19", "fcn --backbone resnet18"),
        ("fcn --staged --backbone resnet19", "fcn --staged --backbone resnet18"),
        ("deconvnet --width 2", "deconvnet --width 0.002"),
        ("deconvnet --two-stage --width 2", "deconvnet --two-stage --width 0.002"),
        ("mask_rcnn --image-size 32 --roi-layer pool --backbone resnet19", "mask_rcnn --image-size 32"),
    ],
)
def test_a_corrected_command_may_have_the_folder(wrong, right, tmp_path, monkeypatch, capsys):
    """A mistake in the options leaves no run behind; the right training itself is tested elsewhere."""

    def note(*arguments, **options):
        run = next(argument for argument in arguments if isinstance(argument, RunFolder))
        run.write_history([{"epoch": 1, "val_mean_iou": 0.25, "val_mask_ap": 0.25}])

    out = f"{QUICK} --epochs 1 --out {tmp_path / 'run'}"
    assert main(f"train {wrong} {out}".split()) == 2
    assert "Traceback" not in capsys.readouterr().err
    with monkeypatch.context() as patch:
        for name in ("train_semantic", "train_instances", "train_two_stage", "train_staged_fcn"):
            patch.setattr(f"keras_seg.training.{name}", note)
        patch.setattr("keras_seg.cli.networks.Network.build", lambda *args, **kwargs: None)
        patch.setattr("keras_seg.cli.detector_network.DetectorNetwork.build", lambda *args, **kwargs: None)
        assert main(f"train {right} {out}".split()) == 0
        # A run that was trained is kept from the next command, as ever.
        assert main(f"train {right} {out}".split()) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_what_was_trained_is_not_withdrawn(tmp_path, monkeypatch, capsys):
    def stop(model, train_data, val_data, run, **options):
        run.write_history([{"epoch": 1, "val_mean_iou": 0.25}])
        raise ValueError("a bad file in the second epoch")

    monkeypatch.setattr("keras_seg.training.train_semantic", stop)
    command = f"train unet --filters 2 --depth 1 {QUICK} --out {tmp_path / 'run'}".split()
    assert main(command) == 2
    assert RunFolder(tmp_path / "run").read_config()["options"]["filters"] == 2
    assert np.allclose([row["val_mean_iou"] for row in RunFolder(tmp_path / "run").read_history()], 0.25)
    capsys.readouterr()
    assert main(command) == 2
    assert "holds a run already" in capsys.readouterr().err
