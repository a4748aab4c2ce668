"""`keras-seg import-weights`: a file of PyTorch in, a model file and a report out."""

import keras
import numpy as np
import pytest

from keras_seg.cli.main import main
from keras_seg.inference import is_detector
from keras_seg.models.weights import layers_by_name
from tests.harness import pixels
from tests.models.tiny_detector import SIDE, tiny

pytestmark = pytest.mark.tf_only
torch = pytest.importorskip("torch")
from tests.weights.torch_resnet import normalized, random_resnet18  # noqa: E402, needs torch


@pytest.fixture(scope="module")
def network():
    return random_resnet18(num_classes=3)


@pytest.fixture
def checkpoint(network, tmp_path):
    path = tmp_path / "mine.pth"
    torch.save(network.state_dict(), path)
    return path


def test_writes_a_model_and_says_what_went_where(network, checkpoint, tmp_path, capsys):
    out = tmp_path / "models" / "mine.keras"
    assert main(["import-weights", "resnet18", str(checkpoint), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "resnet18 from mine.pth" in said
    assert "102 tensors into 41 layers: 11,178,051 parameters and 9,600 batch statistics" in said
    assert "any x any x 3 to any x any x 3" in said
    assert "load_encoder" in said
    images = pixels(1, 224, 224, 3)
    with torch.no_grad():
        expected = network(normalized(images)).numpy()
    received = keras.saving.load_model(out).predict(images, verbose=0)[:, 0, 0]
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_input_shape(checkpoint, tmp_path):
    out = tmp_path / "grey.keras"
    command = ["import-weights", "resnet18", str(checkpoint), "--out", str(out)]
    assert main([*command, "--input-shape", "224", "any", "1"]) == 0
    assert keras.saving.load_model(out).input_shape == (None, 224, None, 1)


def test_into_the_encoder_of_a_network_that_is_trained(network, checkpoint, tmp_path, capsys):
    run, data = tmp_path / "run", "--data shapes:count=2,size=64 --val shapes:count=1,size=64,seed=1"
    command = (
        f"train fcn {data} --backbone resnet18 --epochs 1 --steps-per-epoch 1 --batch-size 1 --out {run}"
    )
    assert (
        main([*command.split(), "--learning-rate", "0", "--encoder-weights", f"resnet18={checkpoint}"]) == 0
    )
    assert "resnet18 from mine.pth" in capsys.readouterr().out
    kernel = layers_by_name(keras.saving.load_model(run / "model.keras"))["conv1"].kernel
    np.testing.assert_array_equal(kernel, network.conv1.weight.detach().numpy().transpose(2, 3, 1, 0))


def test_checkpoints_for_training_that_cannot_be_had(tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", "fcn", "--data", "shapes:2", "--backbone", "resnet18", "--out", str(run)]
    assert main([*command, "--encoder-weights", f"resnet18={tmp_path / 'no.pth'}"]) == 2
    assert "no.pth" in capsys.readouterr().err and not (run / "config.json").exists()
    with pytest.raises(SystemExit):
        main([*command, "--encoder-weights", "no.pth"])
    assert "'no.pth' is not NAME=FILE with a name of alexnet, " in capsys.readouterr().err


def test_the_advice_repeats_what_was_asked(tmp_path, capsys, monkeypatch):
    """The encoder's channels, and GoogLeNet's pixels; the import itself is tested elsewhere."""
    images = keras.Input((None, None, 1))
    network = keras.Model(images, keras.layers.Conv2D(4, 1)(images))
    monkeypatch.setattr("keras_seg.weights.from_torchvision", lambda *args, **kwargs: (network, "the report"))
    command = ["import-weights", "googlenet", "mine.pth", "--input-shape", "any", "any", "1"]
    assert main([*command, "--transform-input", "--out", str(tmp_path / "a.keras")]) == 0
    said = capsys.readouterr().out
    assert 'keras_seg.fcn(21, (None, None, 1), backbone="googlenet")' in said
    assert "load_encoder(model, \"googlenet\", 'mine.pth', transform_input=True)" in said
    assert main([*command, "--out", str(tmp_path / "b.keras")]) == 0
    assert "load_encoder(model, \"googlenet\", 'mine.pth')" in capsys.readouterr().out


def test_a_detector(tmp_path, capsys, monkeypatch):
    """What follows the import itself, whose 44 million weights other tests bring in."""
    asked = []

    def imported(name, file, input_shape, **options):
        asked.append((name, input_shape))
        return tiny(), "the report"

    monkeypatch.setattr("keras_seg.weights.from_torchvision", imported)
    out = tmp_path / "mine.keras"
    assert main(["import-weights", "maskrcnn_resnet50_fpn", "mine.pth", "--out", str(out)]) == 0
    # Detectors have a size of their own where none is given.
    assert asked == [("maskrcnn_resnet50_fpn", None)]
    said = capsys.readouterr().out
    assert "the report" in said and f"{SIDE} x {SIDE} x 3 to detections" in said
    assert f"keras-seg predict {out}" in said
    assert is_detector(keras.saving.load_model(out))


class TestErrors:
    def check(self, capsys, command, message):
        assert main(["import-weights", *map(str, command)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error

    def test_another_network(self, capsys, checkpoint, tmp_path):
        self.check(capsys, ["resnet34", checkpoint, "--out", tmp_path / "m.keras"], "does not fit resnet34")
        assert not list(tmp_path.glob("*.keras"))

    def test_a_model_is_not_overwritten(self, capsys, checkpoint, tmp_path):
        (tmp_path / "m.keras").write_bytes(b"trained")
        self.check(capsys, ["resnet18", checkpoint, "--out", tmp_path / "m.keras"], "exists already")
        assert (tmp_path / "m.keras").read_bytes() == b"trained"

    def test_names_of_files(self, capsys, checkpoint, tmp_path):
        self.check(capsys, ["resnet18", checkpoint, "--out", tmp_path / "m.h5"], "must end in .keras")
        self.check(capsys, ["resnet18", tmp_path / "no.pth", "--out", tmp_path / "m.keras"], "that exists")

    def test_unknown_network(self, capsys, checkpoint):
        with pytest.raises(SystemExit):
            main(["import-weights", "resnet19", str(checkpoint)])
        assert "resnet18" in capsys.readouterr().err

    def test_a_size_that_is_none(self, capsys, checkpoint):
        with pytest.raises(SystemExit):
            main(["import-weights", "resnet18", str(checkpoint), "--input-shape", "0", "any", "3"])
        assert 'or "any"' in capsys.readouterr().err
