"""`keras-seg train mask_rcnn`: options to builder and training, and a run from end to end."""

import json

import pytest

from keras_seg.cli.main import main, make_parser
from keras_seg.cli.train import _options
from keras_seg.data import open_source

pytestmark = pytest.mark.tf_only

SMALL = (
    "--backbone resnet18_fpn --image-size 64x96 --pyramid-filters 8 --head-units 16 --mask-filters 8 "
    "--anchor-sizes 8 16 32 48 64 --pre-nms 30 30 --max-proposals 30 20 --roi-samples 8 --max-detections 8"
)


def options_of(text):
    arguments = make_parser().parse_args(["train", "mask_rcnn", *text.split()])
    # As they come back from a run's config.json.
    return arguments.network, json.loads(json.dumps(_options(arguments)))


def test_options_become_the_model():
    network, options = options_of(f"--data shapes:2 {SMALL} --seed 5 --roi-layer pool --rpn-convolutions 2")
    model = network.build(open_source("shapes:2,num_classes=6"), options)
    assert model.image_size == (64, 96) and model.num_classes == 5
    settings = model.settings
    assert settings.anchor_sizes == (8, 16, 32, 48, 64) and settings.pre_nms == (30, 30)
    assert settings.seed == 5 and settings.roi_layer == "pool"
    assert settings.nms_threshold == 0.5 and settings.anchor_ratios == (0.5, 1.0, 2.0)
    assert model.features.output["P2"].shape == (None, 16, 24, 8)


def test_defaults_suit_a_detector():
    _, options = options_of("--data shapes:2")
    assert (
        options["batch_size"] == 2 and options["monitor"] == "val_mask_ap" and options["augment"] == "default"
    )
    assert "crop" not in options and "loss" not in options
    _, options = options_of("--data shapes:2 --augment none --batch-size 3")
    assert options["augment"] == "none" and options["batch_size"] == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("--data shapes:4 --val shapes:2,num_classes=6", "--data and --val differ"),
        ("--data isbi:absent", "There is no folder"),
        ("", "Give the training data"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, data, message):
    assert main(["train", "mask_rcnn", *data.split(), "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


def test_data_without_objects_are_refused_before_anything_is_built(tmp_path, capsys):
    from ..data.files import write_folder

    spec = f"folder:{write_folder(tmp_path / 'data')}"
    assert main(["train", "mask_rcnn", "--data", spec, "--out", str(tmp_path / "run")]) == 2
    assert "`folder` have no objects" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_from_end_to_end(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    out = tmp_path / "run"
    command = (
        f"train mask_rcnn --data shapes:count=6,size=64 {SMALL} --epochs 1 --steps-per-epoch 2 --out {out}"
    )
    assert main([*command.split(), "--val-fraction", "0.34", "--score-limit", "1"]) == 0
    shown = capsys.readouterr().out
    assert "val_mask_ap of the best epoch: 0." in shown and f"keras-seg evaluate {out}" in shown
    config = json.loads((out / "config.json").read_text())
    assert config["object_names"] == ["circle", "rectangle", "triangle"]
    file = tmp_path / "scores.json"
    assert main(["evaluate", str(out), "--data", "shapes:count=2,size=64", "--json", str(file)]) == 0
    assert 0 <= json.loads(file.read_text())["mask_ap"] <= 1
    assert main(["train", "mask_rcnn", "--resume", "--out", str(out)]) == 0
    assert "val_mask_ap of the best epoch" in capsys.readouterr().out
