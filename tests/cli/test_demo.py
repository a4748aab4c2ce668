"""The demo, whole: the first thing that a new user runs."""

import pytest

from keras_seg.cli.main import main


@pytest.mark.slow
@pytest.mark.tf_only
@pytest.mark.timeout(900)
def test_demo_learns_and_serves(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    text = capsys.readouterr().out
    mean_iou = float(text.split("mean IoU ")[1].split(",")[0])
    assert mean_iou > 0.85
    served = float(text.split("mask: ")[1].split(" %")[0])
    assert served > 90
    folder = tmp_path / "keras-seg-demo"
    for name in ("predictions.png", "sent.png", "answer.png", "served/1/saved_model.pb", "run/model.keras"):
        assert (folder / name).is_file(), name
