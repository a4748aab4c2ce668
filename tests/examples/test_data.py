"""What users copy runs as it stands: the README's Python block, and the examples for data sets and files."""

import re

import numpy as np
import pytest
from PIL import Image

from keras_seg.data import open_source
from tests.examples.scripts import EXAMPLES, ROOT, run

pytestmark = [pytest.mark.tf_only, pytest.mark.slow, pytest.mark.timeout(900)]


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


def test_predict_large_image(tmp_path):
    text = run(tmp_path, EXAMPLES / "predict_large_image.py")
    assert float(re.search(r"held at most ([\d.]+) GiB", text).group(1)) < 2
    with Image.open(tmp_path / "classes.tif") as image:
        assert image.size == (6000, 6000)


@pytest.mark.data
def test_train_isbi(tmp_path, real_data):
    command = ("--epochs", 1, "--steps-per-epoch", 2, "--filters", 4)
    text = run(tmp_path, EXAMPLES / "train_isbi.py", real_data / "isbi2012", *command)
    assert 0 <= float(re.search(r"v_rand_thinned +([\d.]+)", text).group(1)) <= 1


@pytest.mark.data
def test_train_nuclei(tmp_path, real_data):
    for part in ("images", "instances"):
        (tmp_path / "nuclei" / part).mkdir(parents=True)
        for path in sorted((real_data / "nuclei" / part).iterdir())[:6]:
            (tmp_path / "nuclei" / part / path.name).symlink_to(path)
    command = ("--minutes", 0.001, "--steps-per-epoch", 1, "--batch-size", 1, "--out", tmp_path / "run")
    text = run(tmp_path, EXAMPLES / "train_nuclei.py", tmp_path / "nuclei", *command)
    assert 0 <= float(re.search(r"mask_ap50 +([\d.]+)", text).group(1)) <= 1
    assert (tmp_path / "run" / "model.keras").is_file()


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
    text = run(tmp_path, EXAMPLES / script, tmp_path / "camvid", *command)
    assert np.isfinite(float(re.search(r"iou/sky +([\d.]+)", text).group(1)))
