"""The commands from end to end on drawn shapes, as a user types them, in this process."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_seg import unet
from keras_seg.cli.main import main
from keras_seg.training import RunFolder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run of one epoch, shared by the tests that only read it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    keras.config.set_dtype_policy("float32")
    command = (
        "train unet --data shapes:count=6,size=24,num_classes=3 "
        "--val shapes:count=2,size=24,num_classes=3,seed=1 "
        f"--filters 2 --depth 1 --epochs 1 --batch-size 2 --seed 4 --out {folder}"
    )
    assert main(command.split()) == 0
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder with images of three modes and odd sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (17, 23, 3), dtype="uint8")).save(folder / "a.png")
    Image.fromarray(rng.integers(0, 256, (31, 20), dtype="uint8")).save(folder / "b.jpg")
    Image.fromarray(rng.integers(0, 256, (12, 12, 4), dtype="uint8"), "RGBA").save(folder / "c.tif")
    return folder


def size_and_mode(path):
    with Image.open(path) as image:
        return image.size, image.mode


def test_train_records_what_was_asked(run_folder):
    config = RunFolder(run_folder).read_config()
    assert config["options"]["filters"] == 2
    assert config["class_names"] == ["background", "circle", "rectangle"]
    assert config["backend"] == keras.backend.backend()
    assert (run_folder / "model.keras").is_file()


def test_evaluate_writes_every_metric(run_folder, tmp_path, capsys):
    file = tmp_path / "scores.json"
    data = "shapes:count=3,size=24,num_classes=3,seed=2"
    assert main(["evaluate", str(run_folder), "--data", data, "--json", str(file)]) == 0
    scores = json.loads(file.read_text())
    assert {"pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou", "iou/circle"} <= set(
        scores
    )
    assert f"{scores['mean_iou']:.4f}" in capsys.readouterr().out


def test_predict_writes_class_ids_at_each_images_size(run_folder, photos, tmp_path):
    out = tmp_path / "out"
    assert main(["predict", str(run_folder), str(photos), "--out", str(out), "--overlay"]) == 0
    expected = {"a.png": (23, 17), "b.png": (20, 31), "c.png": (12, 12)}
    assert {path.name for path in out.glob("*.png")} == set(expected)
    for name, size in expected.items():
        assert size_and_mode(out / name) == (size, "L")
        assert size_and_mode(out / "overlays" / name) == (size, "RGB")
        assert np.asarray(Image.open(out / name)).max() < 3


def test_predict_probability_of_a_class_by_name_or_number(run_folder, photos, tmp_path):
    for name, text in (("by_name", "circle"), ("by_number", "1")):
        command = ["predict", str(run_folder / "model.keras"), str(photos / "a.png"), "--probability", text]
        assert main([*command, "--out", str(tmp_path / name)]) == 0
    first, second = (np.asarray(Image.open(tmp_path / name / "a.png")) for name in ("by_name", "by_number"))
    np.testing.assert_array_equal(first, second)
    model = keras.saving.load_model(run_folder / "model.keras", compile=False)
    logits = model.predict(np.asarray(Image.open(photos / "a.png"))[None], verbose=0)[0].astype("float64")
    probability = np.exp(logits[..., 1]) / np.exp(logits).sum(-1)
    # Rounding to 8 bits, and a float32 softmax beside a float64 one at a half.
    assert np.abs(first - 255 * probability).max() <= 0.5 + 1e-3


def test_predict_instances_has_16_bits(run_folder, photos, tmp_path):
    command = ["predict", str(run_folder), str(photos / "a.png"), "--instances", "--out", str(tmp_path)]
    assert main(command) == 0
    assert size_and_mode(tmp_path / "a.png")[1] == "I;16"


def test_one_bad_file_does_not_cost_the_others(run_folder, photos, tmp_path, capsys):
    (photos / "bad.png").write_bytes(b"")
    assert main(["predict", str(run_folder), str(photos), "--out", str(tmp_path / "out")]) == 2
    assert "bad.png is empty" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


@pytest.mark.tf_only
def test_export(run_folder, tmp_path, capsys):
    assert main(["export", str(run_folder), str(tmp_path / "served")]) == 0
    assert (tmp_path / "served" / "1" / "saved_model.pb").is_file()
    assert "serve_bytes" in capsys.readouterr().out


@pytest.mark.tf_only
def test_export_of_a_file_compared_on_the_users_images(run_folder, photos, tmp_path, capsys):
    pytest.importorskip("tf2onnx", reason="needs the extra `onnx`")
    out = tmp_path / "tiny.onnx"
    images = [str(photos / name) for name in ("a.png", "b.jpg", "c.tif")]
    assert main(["export", str(run_folder), str(out), "--format", "onnx", "--images", *images]) == 0
    assert out.is_file()
    assert "3 images (17x23, 31x20, 12x12)" in capsys.readouterr().out
    assert main(["export", str(run_folder), str(out), "--format", "onnx"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_check_data(tmp_path, capsys):
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
        Image.fromarray(np.eye(20, dtype="uint8")).save(tmp_path / "data" / part / "a.png")
    spec = f"folder:{tmp_path / 'data'}"
    assert main(["check-data", spec, "--pictures", str(tmp_path / "look")]) == 0
    assert (tmp_path / "look" / "a.png").is_file()
    Image.fromarray(np.eye(20, dtype="uint8")).save(tmp_path / "data" / "images" / "b.png")
    assert main(["check-data", spec]) == 2
    assert "b.png" in capsys.readouterr().out


class TestErrors:
    """One line for a user's mistake, with what to do; no traceback."""

    def check(self, capsys, command, message):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error

    def test_unknown_format(self, capsys, tmp_path):
        self.check(
            capsys, ["train", "unet", "--data", "cityscapes:x", "--out", str(tmp_path / "r")], "camvid"
        )

    def test_no_data(self, capsys, tmp_path):
        self.check(capsys, ["train", "unet", "--out", str(tmp_path / "r")], "--data FORMAT:PATH")

    def test_a_run_is_not_overwritten(self, capsys, run_folder):
        command = ["train", "unet", "--data", "shapes:4", "--out", str(run_folder)]
        self.check(capsys, command, "holds a run already")

    def test_no_model(self, capsys, tmp_path):
        command = ["predict", str(tmp_path), "x.png", "--out", str(tmp_path)]
        self.check(capsys, command, "x.png does not exist")
        (tmp_path / "x.png").write_bytes(b"")
        self.check(capsys, ["predict", str(tmp_path), str(tmp_path / "x.png"), "--out", "o"], "No model at")

    def test_two_images_of_one_name(self, capsys, run_folder, photos, tmp_path):
        Image.fromarray(np.zeros((4, 4), "uint8")).save(photos / "a.jpg")
        self.check(
            capsys, ["predict", str(run_folder), str(photos), "--out", str(tmp_path)], "both be written"
        )

    def test_unknown_class(self, capsys, run_folder, photos, tmp_path):
        command = ["predict", str(run_folder), str(photos), "--out", str(tmp_path), "--probability", "dog"]
        self.check(capsys, command, "0 background, 1 circle")

    def test_data_of_other_classes(self, capsys, run_folder):
        self.check(
            capsys, ["evaluate", str(run_folder), "--data", "shapes:count=2,num_classes=5"], "3 classes"
        )


def test_weights_of_a_file_start_a_training(tmp_path):
    keras.utils.set_random_seed(0)
    unet(3, filters=2, depth=1, dropout=0).save(tmp_path / "start.keras")
    command = (
        "train unet --data shapes:count=4,size=16,num_classes=3 "
        f"--weights {tmp_path / 'start.keras'} --filters 2 "
        f"--depth 1 --dropout 0 --epochs 1 --learning-rate 0 --schedule constant --out {tmp_path / 'run'}"
    )
    assert main(command.split()) == 0
    first, second = (
        keras.saving.load_model(path, compile=False)
        for path in (tmp_path / "start.keras", tmp_path / "run" / "model.keras")
    )
    for weight, other in zip(first.weights, second.weights, strict=True):
        if "seed" not in weight.path:
            np.testing.assert_array_equal(np.array(weight), np.array(other))


@pytest.mark.tf_only
@pytest.mark.parametrize(
    "command",
    ["", "train unet", "evaluate", "predict", "export", "serve", "import-weights", "check-data", "demo"],
)
def test_help_shows_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    assert "examples:\n  keras-seg" in capsys.readouterr().out


@pytest.mark.tf_only
def test_python_m_is_the_command():
    run = subprocess.run(
        [sys.executable, "-m", "keras_seg", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "0.1.0"


@pytest.mark.tf_only
def test_deconvnet_in_two_stages_by_proposals(tmp_path, photos, capsys):
    """propose, train, evaluate and predict by the same files of boxes, and a CRF at the end."""
    data, val = (f"shapes:count=2,size=96,num_classes=3,seed={seed}" for seed in (0, 1))
    boxes, val_boxes = tmp_path / "boxes.json", tmp_path / "val.npz"
    for spec, file in ((data, boxes), (val, val_boxes)):
        propose = f"propose --data {spec} --min-side 12 --enlarge 1 --count 500 --out {file}"
        assert main(propose.split()) == 0
    assert set(json.loads(boxes.read_text())) == {"shapes_00000", "shapes_00001"}
    run = tmp_path / "run"
    train = (
        f"train deconvnet --two-stage --data {data} --val {val} --width 0.002 --proposals {boxes} "
        f"--val-proposals {val_boxes} --stage-epochs 1 1 --steps-per-epoch 1 --batch-size 2 "
        f"--statistics-steps 2 --out {run}"
    )
    assert main(train.split()) == 0
    assert str(run / "proposals" / "pictures") in capsys.readouterr().out
    options = RunFolder(run).read_config()["options"]
    assert (options["crop"], options["learning_rate"]) == ([224, 224], 0.01)
    assert main(["train", "deconvnet", "--resume", "--out", str(run)]) == 0
    assert [len(RunFolder(run / stage).read_history()) for stage in ("instances", "proposals")] == [1, 2]
    assert main(f"train deconvnet --data {data} --proposals {boxes} --out {tmp_path / 'no'}".split()) == 2
    assert "--proposals does not go with a training in one stage" in capsys.readouterr().err
    scores = tmp_path / "scores.json"
    evaluate = f"evaluate {run} --data {val} --aggregate mean --proposals {val_boxes} --crf --json {scores}"
    assert main(evaluate.split()) == 0
    assert 0 <= json.loads(scores.read_text())["mean_iou"] <= 1
    out = tmp_path / "out"
    predict = ["predict", str(run), str(photos / "a.png"), "--proposals", "selective_search", "--crf"]
    assert main([*predict, "--out", str(out)]) == 0
    assert size_and_mode(out / "a.png") == ((23, 17), "L")
    assert main([*predict[:4], str(boxes), "--out", str(out)]) == 2
    assert "no proposals for the image a" in capsys.readouterr().err
