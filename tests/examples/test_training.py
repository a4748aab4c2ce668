"""The examples that train on drawn data run as they stand, and learn."""

import re

import pytest

from tests.examples.scripts import EXAMPLES, run

pytestmark = [pytest.mark.tf_only, pytest.mark.slow, pytest.mark.timeout(900)]


def test_train_unet(tmp_path):
    text = run(tmp_path, EXAMPLES / "train_unet.py")
    assert float(re.findall(r"val_mean_iou: ([\d.]+)", text)[-1]) > 0.8
    assert (tmp_path / "served" / "shapes_unet" / "1" / "saved_model.pb").is_file()


def test_train_mask_rcnn(tmp_path):
    text = run(tmp_path, EXAMPLES / "train_mask_rcnn.py")
    assert float(re.search(r"'mask_ap50': ([\d.]+)", text).group(1)) > 0.5
    assert (tmp_path / "shapes_mask_rcnn.keras").is_file() and (tmp_path / "shapes_mask_rcnn.png").is_file()


def test_train_deconvnet(tmp_path):
    data = ("--data", "shapes:count=4,size=256", "--val", "shapes:count=2,size=256,seed=1")
    small = ("--width", 0.02, "--epochs", 1, "--steps-per-epoch", 2)
    text = run(tmp_path, EXAMPLES / "train_deconvnet.py", *data, *small)
    assert len(re.findall(r"mean IoU 0\.\d{4}", text)) == 3
    assert (tmp_path / "runs" / "deconvnet" / "served" / "1" / "saved_model.pb").is_file()
