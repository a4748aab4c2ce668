"""What users copy runs as it stands: the examples, and the Python block of the README."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_seg.data import open_source

pytestmark = [pytest.mark.tf_only, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]


def run(folder, *command):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def write_folder(path, spec):
    source = open_source(spec)
    for part in ("images", "masks"):
        (path / part).mkdir(parents=True)
    for index in range(len(source)):
        for part, array in zip(("images", "masks"), source.read(index), strict=True):
            Image.fromarray(array).save(path / part / f"{index}.png")


def test_readme(tmp_path):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    code = code.replace("epochs=50", "epochs=1").replace("filters=32", "filters=4")
    assert len([line for line in code.splitlines() if line]) <= 10
    write_folder(tmp_path / "my" / "train", "shapes:count=9,size=96,num_classes=3")
    write_folder(tmp_path / "my" / "val", "shapes:count=2,size=96,num_classes=3,seed=1")
    assert "serve_bytes" in run(tmp_path, "-c", code)


def test_train_unet(tmp_path):
    text = run(tmp_path, ROOT / "examples" / "train_unet.py")
    assert float(re.findall(r"val_mean_iou: ([\d.]+)", text)[-1]) > 0.8
    assert (tmp_path / "served" / "shapes_unet" / "1" / "saved_model.pb").is_file()


def test_train_mask_rcnn(tmp_path):
    text = run(tmp_path, ROOT / "examples" / "train_mask_rcnn.py")
    assert float(re.search(r"'mask_ap50': ([\d.]+)", text).group(1)) > 0.5
    assert (tmp_path / "shapes_mask_rcnn.keras").is_file() and (tmp_path / "shapes_mask_rcnn.png").is_file()


def test_predict_large_image(tmp_path):
    text = run(tmp_path, ROOT / "examples" / "predict_large_image.py")
    assert float(re.search(r"held at most ([\d.]+) GiB", text).group(1)) < 2
    with Image.open(tmp_path / "classes.tif") as image:
        assert image.size == (6000, 6000)


@pytest.mark.data
def test_train_isbi(tmp_path, real_data):
    command = ("--epochs", 1, "--steps-per-epoch", 2, "--filters", 4)
    text = run(tmp_path, ROOT / "examples" / "train_isbi.py", real_data / "isbi2012", *command)
    assert 0 <= float(re.search(r"v_rand_thinned +([\d.]+)", text).group(1)) <= 1


@pytest.mark.data
@pytest.mark.parametrize(
    ("script", "epochs"), [("train_camvid.py", ("1",)), ("train_fcn.py", ("1", "1", "1"))]
)
def test_train_camvid(tmp_path, real_data, script, epochs):
    for part in ("train", "val"):
        for kind in ("images", "masks"):
            folder = tmp_path / "camvid" / part / kind
            folder.mkdir(parents=True)
            for path in sorted((real_data / "camvid" / part / kind).iterdir())[:8]:
                (folder / path.name).symlink_to(path)
    command = ("--epochs", *epochs, "--steps-per-epoch", 2)
    text = run(tmp_path, ROOT / "examples" / script, tmp_path / "camvid", *command)
    assert np.isfinite(float(re.search(r"iou/sky +([\d.]+)", text).group(1)))


def test_train_deconvnet(tmp_path):
    data = ("--data", "shapes:count=4,size=256", "--val", "shapes:count=2,size=256,seed=1")
    small = ("--width", 0.02, "--epochs", 1, "--steps-per-epoch", 2)
    text = run(tmp_path, ROOT / "examples" / "train_deconvnet.py", *data, *small)
    assert len(re.findall(r"mean IoU 0\.\d{4}", text)) == 3
    assert (tmp_path / "runs" / "deconvnet" / "served" / "1" / "saved_model.pb").is_file()
