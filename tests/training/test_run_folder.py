import json

import pytest

from keras_seg.training import RunFolder

pytestmark = pytest.mark.tf_only


def test_history_round_trip(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start({"a": 1})
    assert run.read_history() == []
    run.write_history([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 1.0}])
    assert run.read_history() == [{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": 0.25, "val_loss": 1.0}]
    assert run.history.read_text().startswith("epoch,loss,val_loss")


def test_a_run_is_not_overwritten(tmp_path):
    run = RunFolder(tmp_path)
    run.start({"a": 1})
    with pytest.raises(FileExistsError, match="holds a run already. Go on with it"):
        run.start({"a": 2})
    assert run.read_config() == {"a": 1}
    run.start({"a": 2}, resume=True)
    assert json.loads(run.config.read_text()) == {"a": 2}


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        RunFolder(tmp_path).read_config()
